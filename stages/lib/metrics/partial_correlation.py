"""Rank correlation of two quantities with a third one held."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stages.lib.core.errors import MetricInputError, UndefinedMetricError


@dataclass(frozen=True)
class Correlation:
    """Partial rank correlation, [-1, 1], its two-sided p, and the number of units behind it."""

    value: float
    p: float
    n: int


def partial_spearman(first: ArrayLike, second: ArrayLike, held: ArrayLike) -> Correlation:
    """Spearman's correlation of two quantities with a third one held: Pearson's of what a line leaves of their ranks.

    Whether a judge rates long answers better: of rating and length, with finding F1 held.

    Args:
        first: One value per unit, shape (n,).
        second: The same.
        held: The same, of what is held.

    Raises:
        MetricInputError: If the shapes differ, or a value is not finite.
        UndefinedMetricError: If there are fewer than four units, or the third one leaves nothing of one of the two.

    Source: Conover, Practical Nonparametric Statistics, 1999, section 5.4; p by t with n - 3 degrees of freedom.
    """
    from scipy.stats import rankdata, t

    values = [np.asarray(one, np.float64) for one in (first, second, held)]
    if len({one.shape for one in values}) > 1 or not all(np.isfinite(one).all() for one in values):
        raise MetricInputError(f"found shapes {[one.shape for one in values]}, wanted a finite value per unit of each")
    n = len(values[0])
    if n < 4:
        raise UndefinedMetricError(f"found {n} answers, wanted four or more")
    ranks = [rankdata(one) - (n + 1) / 2 for one in values]
    held_ranks = ranks[2]
    spread = float(held_ranks @ held_ranks)
    left = [one - (one @ held_ranks / spread * held_ranks if spread else 0.0) for one in ranks[:2]]
    lengths = [float(one @ one) for one in left]
    if min(lengths) <= 1e-9 * n**3:
        raise UndefinedMetricError("one of the two does not vary, or only with what is held")
    value = float(np.clip(left[0] @ left[1] / np.sqrt(lengths[0] * lengths[1]), -1, 1))
    if abs(value) == 1:
        return Correlation(value, 0.0, n)
    score = value * np.sqrt((n - 3) / (1 - value**2))
    return Correlation(value, float(2 * t.sf(abs(score), n - 3)), n)
