"""Agreement of ratings on a scale of few grades: confusion matrix, Cohen's kappa, Krippendorff's alpha."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.lib.core.errors import MetricInputError, UndefinedMetricError

MISSING = -1  # instead of a grade
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Weights = Literal["none", "linear", "quadratic"]
Level = Literal["nominal", "ordinal"]


def confusion(first: ArrayLike, second: ArrayLike, grades: int) -> Counts:
    """Units by grade of the first pass (rows) and of the second (columns), of those that both rated.

    Args:
        first: Grade of each unit, 0 .. grades - 1, or `MISSING`, shape (n,).
        second: The same of the second pass.
        grades: Number of grades.

    Returns:
        Counts, shape (grades, grades).

    Raises:
        MetricInputError: If the shapes differ, or a grade is out of range.

    >>> confusion([0, 2, 2], [0, 1, -1], 3).tolist()
    [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    """
    one, other = np.asarray(first, np.int64), np.asarray(second, np.int64)
    if one.shape != other.shape:
        raise MetricInputError(f"found {one.shape} and {other.shape} ratings, wanted one of each unit by both")
    for ratings in (one, other):
        if ratings.size and not ((ratings >= MISSING) & (ratings < grades)).all():
            raise MetricInputError(f"found grades up to {ratings.max()} and down to {ratings.min()}, wanted {grades}")
    both = (one != MISSING) & (other != MISSING)
    pairs = one[both] * grades + other[both]
    return np.bincount(pairs, minlength=grades * grades).reshape(grades, grades)


def cohen_kappa(table: ArrayLike, weights: Weights = "none") -> float:
    """Cohen's kappa of two passes: 1 - observed / expected disagreement, at most 1; 0 is agreement by chance.

    Args:
        table: Confusion matrix, shape (k, k).
        weights: Disagreement of two grades: none, any is 1; linear, their distance; quadratic, its square.

    Raises:
        MetricInputError: If the matrix is not square, or has a count below 0.
        UndefinedMetricError: If no unit is rated by both, or both give one grade to all.

    Source: Cohen, Educational and Psychological Measurement 20: 37, 1960; for weights Psychological Bulletin 70: 213,
    1968.

    >>> cohen_kappa([[2, 0], [1, 1]])
    0.5
    """
    counts = np.asarray(table, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or (counts < 0).any():
        raise MetricInputError(f"found a table of shape {counts.shape}, wanted a square one of counts")
    n = counts.sum()
    if not n:
        raise UndefinedMetricError("no answer is rated by both")
    distance = np.abs(np.subtract.outer(np.arange(len(counts)), np.arange(len(counts)))).astype(np.float64)
    cost = {"none": (distance > 0).astype(np.float64), "linear": distance, "quadratic": distance**2}[weights]
    expected = float((cost * np.outer(counts.sum(axis=1), counts.sum(axis=0))).sum() / n)
    if not expected:
        raise UndefinedMetricError("both give the same grade to every answer")
    return float(1 - (cost * counts).sum() / expected)


def krippendorff_alpha(ratings: ArrayLike, grades: int, level: Level) -> float:
    """Krippendorff's alpha of several passes, some of whose ratings may be missing: at most 1; 0 is chance.

    A unit with one rating says nothing and is left out.

    Args:
        ratings: Grade of each unit by each pass, 0 .. grades - 1, or `MISSING`, shape (passes, n).
        grades: Number of grades.
        level: nominal, any two grades are equally far; ordinal, as far as ratings lie between them.

    Raises:
        MetricInputError: If a grade is out of range.
        UndefinedMetricError: If no unit is rated twice, or all such ratings are one grade.

    Source: Krippendorff, Content Analysis, 2004, chapter 11, by the matrix of coincidences.

    >>> round(krippendorff_alpha([[0, 0, 1, 1], [0, 1, 1, -1]], 2, "nominal"), 6)
    0.444444
    """
    found = np.asarray(ratings, np.int64)
    if found.size and not ((found >= MISSING) & (found < grades)).all():
        raise MetricInputError(f"found grades up to {found.max()} and down to {found.min()}, wanted {grades}")
    by_unit = np.stack([(found == grade).sum(axis=0) for grade in range(grades)], axis=1).astype(np.float64)  # (n, k)
    times = by_unit.sum(axis=1)
    by_unit, times = by_unit[times > 1], times[times > 1]
    if not len(times):
        raise UndefinedMetricError("no answer is rated twice")
    scaled = by_unit / (times - 1)[:, None]
    coincidences = by_unit.T @ scaled - np.diag(scaled.sum(axis=0))
    totals = coincidences.sum(axis=1)
    n = totals.sum()
    cost = _distances(totals, level)
    expected = float((cost * np.outer(totals, totals)).sum() / (n - 1))
    if not expected:
        raise UndefinedMetricError("every rating is the same grade")
    return float(1 - (cost * coincidences).sum() / expected)


def _distances(totals: Floats, level: Level) -> Floats:
    """Squared distance of each two grades, shape (k, k)."""
    k = len(totals)
    if level == "nominal":
        return 1 - np.eye(k)
    reached = np.cumsum(totals) - totals / 2  # ratings below the middle of each grade
    return np.subtract.outer(reached, reached) ** 2
