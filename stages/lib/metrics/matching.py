"""Which predicted point belongs to which nodule of an image."""

import math
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.lib.core.errors import MetricInputError

TRIED = 120  # ways to pair the points of one image up to which all are tried: 5 predictions on 5 nodules
AT_ONCE = 1 << 20  # ways that are in memory at once, of all images together


def distances(predictions: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """Distance of every prediction to every point.

    Args:
        predictions: x and y, shape (n, 2), pixels; or of several images, shape (images, n, 2).
        points: x and y, shape (m, 2), pixels of the same image; or shape (images, m, 2).

    Returns:
        Shape (n, m) or (images, n, m), pixels.

    Raises:
        MetricInputError: If an array is not of that shape, or a coordinate is not finite.
    """
    both = []
    for name, given in (("predictions", predictions), ("points", points)):
        array = np.asarray(given, np.float64)
        array = array.reshape(0, 2) if array.ndim < 2 and array.size == 0 else array
        if array.ndim not in (2, 3) or array.shape[-1] != 2:
            raise MetricInputError(f"{name}: found shape {array.shape}, wanted (n, 2)")
        if not np.isfinite(array).all():
            raise MetricInputError(f"{name}: found a coordinate that is not finite")
        both.append(array)
    gaps = both[0][..., :, None, :] - both[1][..., None, :, :]
    return np.hypot(gaps[..., 0], gaps[..., 1])


def match(gaps: NDArray[np.float64], threshold: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of predictions and points: as many as can be, and of those the ones least far apart in all.

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

    profit = _profit(gaps[None], np.array([threshold]))[0]
    rows, columns = linear_sum_assignment(profit, maximize=True)
    kept = near[rows, columns]
    return rows[kept], columns[kept]


def match_many(gaps: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Pairs of `match` on many images that have equally many predictions and equally many points.

    Where there are at most `TRIED` ways to pair them, all are tried, on all images at once; else each image is matched
    by itself. Of ways that are equally good it may take another one than `match`.

    Args:
        gaps: Distances, shape (images, n predictions, m points).
        thresholds: Greatest distance of a pair on each image, inclusive, shape (images,).

    Returns:
        Whether a prediction and a point are a pair, shape (images, n, m).

    Raises:
        MetricInputError: If a threshold is negative or not finite.

    >>> match_many(np.array([[[2.0, 1.0], [4.9, 1.9]]]), np.array([2.0])).tolist()
    [[[True, False], [False, True]]]
    """
    if not ((thresholds >= 0) & (thresholds < np.inf)).all():
        raise MetricInputError("found a threshold that is negative or not finite, wanted finite numbers from 0 on")
    images, n, m = gaps.shape
    if n > m:
        return match_many(gaps.swapaxes(1, 2), thresholds).swapaxes(1, 2)
    pairs = np.zeros(gaps.shape, bool)
    if math.perm(m, n) > TRIED:
        for image in range(images):
            pairs[image][match(gaps[image], float(thresholds[image]))] = True
        return pairs
    ways = np.array(list(permutations(range(m), n)), np.intp)
    each = max(AT_ONCE // len(ways), 1)
    for start in range(0, images, each):
        part = slice(start, start + each)
        profit = _profit(gaps[part], thresholds[part])
        totals = np.zeros((len(profit), len(ways)))
        for row in range(n):
            totals += profit[:, row, ways[:, row]]
        best = ways[totals.argmax(axis=1)]
        np.put_along_axis(pairs[part], best[:, :, None], True, axis=2)
    return pairs & (gaps <= thresholds[:, None, None])


def _profit(gaps: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each pair of each image is worth, so that the worthiest set of pairs is the one wanted."""
    # With k the most pairs there can be, one pair more is worth at least (k + 1 - k) thresholds more than any saving.
    most = (min(gaps.shape[1:]) + 1) * thresholds
    most = np.where(most > 0, most, 1.0)[:, None, None]
    return np.where(gaps <= thresholds[:, None, None], most - gaps, 0.0)
