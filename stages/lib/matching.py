"""Which predicted point belongs to which nodule of a film."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.lib.errors import MetricInputError


def distances(predictions: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """Return the distance of every prediction to every point.

    Args:
        predictions: x and y, shape (n, 2), pixels.
        points: x and y, shape (m, 2), pixels of the same film.

    Returns:
        Shape (n, m), pixels.

    Raises:
        MetricInputError: If an array is not of that shape, or a coordinate is not finite.
    """
    both = []
    for name, given in (("predictions", predictions), ("points", points)):
        array = np.asarray(given, np.float64)
        array = array.reshape(0, 2) if array.size == 0 else array
        if array.ndim != 2 or array.shape[1] != 2:
            raise MetricInputError(f"{name}: found shape {array.shape}, wanted (n, 2)")
        if not np.isfinite(array).all():
            raise MetricInputError(f"{name}: found a coordinate that is not finite")
        both.append(array)
    gaps = both[0][:, None, :] - both[1][None, :, :]
    return np.hypot(gaps[..., 0], gaps[..., 1])


def match(gaps: NDArray[np.float64], threshold: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs of predictions and points: as many as can be, and of those the ones least far apart in all.

    Nearest-first is not that: with predictions at 2 and 4.9, points at 0 and 3 and a threshold of 2 it pairs 2 with 3
    and finds one pair where there are two.

    Args:
        gaps: Distances, shape (n predictions, m points), as `distances` gives them.
        threshold: Greatest distance of a pair, inclusive, same unit.

    Returns:
        Number of the prediction and number of the point of each pair, each of shape (pairs,).

    Raises:
        MetricInputError: If the threshold is negative or not finite.

    >>> match(np.array([[2.0, 1.0], [4.9, 1.9]]), 2.0)
    (array([0, 1]), array([0, 1]))
    """
    if not 0 <= threshold < np.inf:
        raise MetricInputError(f"found the threshold {threshold!r}, wanted a finite number from 0 on")
    near = gaps <= threshold
    rows, columns = np.nonzero(near)
    if len(rows) <= 1 or (len(set(rows.tolist())) == len(rows) == len(set(columns.tolist()))):
        return rows, columns
    from scipy.optimize import linear_sum_assignment

    # With k the most pairs there can be, one pair more is worth at least (k + 1 - k) thresholds more than any saving.
    most = (min(gaps.shape) + 1) * threshold or 1.0
    profit = np.where(near, most - gaps, 0.0)
    rows, columns = linear_sum_assignment(profit, maximize=True)
    kept = profit[rows, columns] > 0
    return rows[kept], columns[kept]
