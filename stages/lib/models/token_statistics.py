"""Statistics of patch tokens: what is kept of an image when its tokens are pooled, and of an image at several places.

Prefix tokens (CLS, registers) are never among the patch tokens.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import ModelError
from stages.lib.core.feature_tables import STATISTICS

MAX_HALF = float(np.finfo(np.float16).max)


def of_tokens(patches: NDArray[np.float32]) -> dict[str, NDArray[np.float16]]:
    """Mean, largest, smallest and standard deviation (divisor n) of each feature over the patch tokens of an image.

    Args:
        patches: Patch tokens, float32 of shape (rows, columns, features).

    Returns:
        By name of `feature_tables.STATISTICS`, float16 of shape (features,).

    Raises:
        ModelError: As `halves`.

    >>> found = of_tokens(np.array([[[1.0, 0.0], [3.0, 0.0]]], np.float32))
    >>> {name: values.tolist() for name, values in found.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'mean': [2.0, 0.0], 'largest': [3.0, 0.0], 'smallest': [1.0, 0.0], 'deviation': [1.0, 0.0]}
    """
    cells = patches.reshape(-1, patches.shape[-1])  # (rows * columns, features)
    mean = cells.mean(axis=0)
    away = cells - mean
    deviation = np.sqrt(np.einsum("cf,cf->f", away, away) / len(cells))
    found = dict(zip(STATISTICS, (mean, cells.max(axis=0), cells.min(axis=0), deviation), strict=True))
    return {name: halves(values, name) for name, values in found.items()}


def halves(values: NDArray[np.float32], what: str) -> NDArray[np.float16]:
    """Numbers in half precision, of the same shape.

    Args:
        values: Numbers; the last axis counts features.
        what: What they are, for the error.

    Raises:
        ModelError: If a number is not finite, or larger than half precision holds.

    >>> halves(np.array([1.5], np.float32), "mean").dtype
    dtype('float16')
    """
    with np.errstate(over="ignore"):
        found = values.astype(np.float16)
    bad = ~np.isfinite(found)
    if bad.any():
        where = np.argwhere(bad)[0]
        value = float(values[tuple(where)])
        why = f"wanted at most {MAX_HALF:g}, as half precision holds" if np.isfinite(value) else "wanted a number"
        raise ModelError(
            f"{what}: feature {where[-1]} is {value:g}, {why}; its tokens cannot be kept: take another model"
        )
    return found


def over_places(found: Mapping[str, NDArray[np.float16]]) -> dict[str, NDArray[np.float32]]:
    """Statistics over the tokens of all places of an image together, from those of each place; nothing is lost by it.

    Each place has as many tokens, so the mean is that of the means, and the mean square, of which the deviation is
    made, is that of the places' deviation ** 2 + mean ** 2.

    Args:
        found: By statistic, shape (n, places, features); prefix tokens are averaged, as there is one of each a place.

    Returns:
        By the same names, float32 of shape (n, features).

    >>> one = {"mean": [[[1], [3]]], "deviation": [[[0], [0]]], "largest": [[[1], [3]]], "smallest": [[[1], [3]]]}
    >>> joined = over_places({name: np.array(values, np.float16) for name, values in one.items()})
    >>> {name: values.item() for name, values in joined.items()}
    {'mean': 2.0, 'deviation': 1.0, 'largest': 3.0, 'smallest': 1.0}
    """
    return {name: _joined(name, found).astype(np.float32) for name in found}


def _joined(name: str, found: Mapping[str, NDArray[np.float16]]) -> NDArray[np.float64]:
    values = found[name]  # (n, places, features)
    if name == "largest":
        return values.max(axis=1).astype(np.float64)
    if name == "smallest":
        return values.min(axis=1).astype(np.float64)
    if name == "deviation":
        means, places = found["mean"], values.shape[1]
        mean = means.mean(axis=1, dtype=np.float64)
        square = np.zeros_like(mean)
        for place in range(places):  # one at a time: all of them in double precision would take four times the memory
            away = means[:, place].astype(np.float64) - mean
            square += values[:, place].astype(np.float64) ** 2 + away**2
        return np.sqrt(square / places)
    return values.mean(axis=1, dtype=np.float64)
