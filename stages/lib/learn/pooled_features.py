"""One matrix of the frozen features of images: which statistics over the patch tokens it has, side by side."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import params
from stages.lib.core.errors import ModelError
from stages.lib.core.feature_tables import STATISTICS

PREFIX = "prefix"
NAMES = (*STATISTICS, PREFIX)
BLOCK = 4096  # rows that are converted at a time


def problems(pool: Sequence[str]) -> Iterator[str]:
    """A sentence for each pooling that is not made of known statistics.

    >>> list(problems(["largest+smalest"]))
    ["pool largest+smalest: smalest: unknown; did you mean 'smallest'?"]
    """
    if not pool:
        yield f"pool is empty, wanted one or more, each of {', '.join(NAMES)}, joined by +"
    for one in pool:
        parts = one.split("+")
        yield from (f"pool {one}: {params.unknown(part, NAMES)}" for part in parts if part not in NAMES)
        if len(set(parts)) < len(parts):
            yield f"pool {one}: found a statistic twice, wanted each once"


def matrix(features: Mapping[str, NDArray[np.generic]], pool: str, row: str) -> NDArray[np.float32]:
    """Statistics of a pooling side by side.

    Args:
        features: By statistic, shape (n, features).
        pool: Statistics joined by +.
        row: Name of the row, for the error.

    Returns:
        Float32 of shape (n, features of all).

    Raises:
        ModelError: If a statistic has no feature, as the prefix of a model without prefix tokens.

    >>> matrix({"mean": np.ones((1, 2)), "largest": np.zeros((1, 2))}, "largest+mean", "probe").tolist()
    [[0.0, 0.0, 1.0, 1.0]]
    """
    parts = [features[name] for name in pool.split("+")]
    empty = [name for name, part in zip(pool.split("+"), parts, strict=True) if not part.shape[-1]]
    if empty:
        raise ModelError(f"{row}: its model has no {', '.join(empty)} tokens, wanted a pool of {', '.join(STATISTICS)}")
    made = np.empty((len(parts[0]), sum(part.shape[-1] for part in parts)), np.float32)
    at = 0
    for part in parts:
        made[:, at : at + part.shape[-1]] = part
        at += part.shape[-1]
    return made


def spread(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation (divisor n) of each column, shape (features,); 1 in the place of a deviation of 0.

    The columns are gone through in blocks of rows, in double precision.

    >>> spread(np.array([[0.0, 1.0], [2.0, 1.0]], np.float32))
    (array([1., 1.], dtype=float32), array([1., 1.], dtype=float32))
    """
    total = np.zeros(values.shape[1])
    for start in range(0, len(values), BLOCK):
        total += values[start : start + BLOCK].sum(axis=0, dtype=np.float64)
    mean = total / max(len(values), 1)
    square = np.zeros(values.shape[1])
    for start in range(0, len(values), BLOCK):
        away = values[start : start + BLOCK].astype(np.float64) - mean
        square += np.einsum("nf,nf->f", away, away)
    deviation = np.sqrt(square / max(len(values), 1))
    return mean.astype(np.float32), np.where(deviation > 0, deviation, 1.0).astype(np.float32)


def standardized(
    values: NDArray[np.float32], centre: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Values less their centre, in units of their spread; the array that is given is changed and returned."""
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        block -= centre
        block /= scale
    return values
