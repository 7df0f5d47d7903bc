"""Whether two models differ on the same images: DeLong's test of two ROC areas, McNemar's of two sets of calls.

Both take the images as independent. With several images of a patient their p values are too small; the interval over
patients of the difference is the one to trust.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.lib.core.errors import MetricInputError, UndefinedMetricError
from stages.lib.metrics.binary import checked


@dataclass(frozen=True)
class AreaTest:
    """DeLong's test: `difference` is the first area minus the second, `z` its standard score, `p` two-sided."""

    difference: float
    standard_error: float
    z: float
    p: float


def delong(labels: ArrayLike, first: ArrayLike, second: ArrayLike) -> AreaTest:
    """DeLong's paired test of the ROC areas of two scores of the same images.

    Args:
        labels: 0 or 1, shape (n,).
        first: Scores of one model, shape (n,).
        second: Scores of the other, shape (n,).

    Raises:
        UndefinedMetricError: If a class has fewer than two images, or the areas do not vary against each other.

    Source: DeLong, DeLong & Clarke-Pearson, Biometrics 44: 837, 1988; by mid-ranks as in Sun & Xu, IEEE Signal
    Processing Letters 21: 1389, 2014.
    """
    from scipy.stats import norm

    y, a = checked(labels, first)
    _, b = checked(labels, second)
    of_a, of_b = _placements(y, a), _placements(y, b)
    difference = float(of_a[0].mean() - of_b[0].mean())
    variance = _variance(of_a[0] - of_b[0], of_a[1] - of_b[1])
    if variance <= 1e-18:
        raise UndefinedMetricError("the two scores rank the images alike: their difference does not vary")
    error = variance**0.5
    z = difference / error
    return AreaTest(difference, error, z, float(2 * norm.sf(abs(z))))


def area_standard_error(labels: ArrayLike, scores: ArrayLike) -> float:
    """DeLong's standard error of the area under the ROC curve; arguments, errors and source as of `delong`."""
    return float(_variance(*_placements(*checked(labels, scores))) ** 0.5)


def _placements(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """For each positive the fraction of negatives below it, and for each negative the fraction of positives
    above.
    """
    from scipy.stats import rankdata

    positive, negative = scores[labels == 1], scores[labels == 0]
    if len(positive) < 2 or len(negative) < 2:
        raise UndefinedMetricError(
            f"found {len(positive)} images with and {len(negative)} without a nodule, wanted 2 each"
        )
    ranks = rankdata(np.concatenate([positive, negative]))
    above = (ranks[: len(positive)] - rankdata(positive)) / len(negative)
    below = 1 - (ranks[len(positive) :] - rankdata(negative)) / len(positive)
    return above, below


def _variance(of_positives: NDArray[np.float64], of_negatives: NDArray[np.float64]) -> float:
    return float(of_positives.var(ddof=1) / len(of_positives) + of_negatives.var(ddof=1) / len(of_negatives))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values after Holm's correction for their number, in their order, each in [0, 1].

    Source: Holm, Scandinavian Journal of Statistics 6: 65, 1979.

    >>> holm([0.25, 0.125])
    [0.25, 0.25]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test.

    Args:
        only_first: Images that only the first model called rightly.
        only_second: Images that only the second called rightly.

    Returns:
        In (0, 1]; 1 if the models never differ.

    Raises:
        MetricInputError: If a count is negative.

    Source: McNemar, Psychometrika 12: 153, 1947, with the binomial distribution instead of its approximation.

    >>> round(mcnemar(1, 8), 7)
    0.0390625
    """
    from scipy.stats import binom

    if only_first < 0 or only_second < 0:
        raise MetricInputError(f"found the counts {only_first} and {only_second}, wanted none below 0")
    discordant = only_first + only_second
    return float(min(1.0, 2 * binom.cdf(min(only_first, only_second), discordant, 0.5)))


def fisher(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Exact two-sided p of Fisher's test of two proportions, which are not paired.

    Args:
        first: Successes and trials of one.
        second: The same of the other.

    Raises:
        MetricInputError: If successes are not in 0 .. trials.

    Source: Fisher, Statistical Methods for Research Workers, 1934, section 21.02.

    >>> round(fisher((4, 16), (7, 16)), 6)
    0.457794
    """
    from scipy.stats import fisher_exact

    for successes, trials in (first, second):
        if not 0 <= successes <= trials:
            raise MetricInputError(f"found {successes} successes in {trials} trials")
    table = [[successes, trials - successes] for successes, trials in (first, second)]
    return float(fisher_exact(table).pvalue)
