"""Power of the exact McNemar test, and the number of cases that a wanted power takes."""

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import MetricInputError, UndefinedMetricError

Floats = NDArray[np.float64]


def mcnemar_power(n: int, only_first: float, only_second: float, *, alpha: float) -> float:
    """Probability that the exact two-sided test finds a difference at level alpha in n pairs, [0, 1].

    It is summed over the number of discordant pairs and over how they fall: nothing is simulated.

    Args:
        n: Pairs.
        only_first: Fraction of pairs in which only the first is right, in the population.
        only_second: The same of the second.
        alpha: Level of the test.

    Raises:
        MetricInputError: If the fractions are none, or add up to more than 1.

    Source: Duffy, Biometrics 40: 1005, 1984: exact power of McNemar's test.

    >>> round(mcnemar_power(6, 1.0, 0.0, alpha=0.05), 3), round(mcnemar_power(5, 1.0, 0.0, alpha=0.05), 3)
    (1.0, 0.0)
    """
    _check(only_first, only_second)
    return _power(n, only_first + only_second, _found(n, only_first, only_second, alpha))


def cases_for_power(only_first: float, only_second: float, *, power: float, alpha: float, most: int) -> int:
    """Least number of pairs for which the exact test has the wanted power.

    Power rises with the number of pairs but for ripples of some thousandths, so it is searched by halves.

    Args:
        only_first: Fraction of pairs in which only the first is right.
        only_second: The same of the second.
        power: Such as 0.8.
        alpha: Level of the test.
        most: Pairs beyond which the search ends.

    Raises:
        MetricInputError: As `mcnemar_power`.
        UndefinedMetricError: If the fractions are equal, or more than `most` pairs would be needed.

    >>> cases_for_power(1.0, 0.0, power=0.8, alpha=0.05, most=100)
    6
    """
    _check(only_first, only_second)
    if only_first == only_second:
        raise UndefinedMetricError("the two are right on as many cases each: no number of cases shows a difference")
    discordant = only_first + only_second
    found = _found(most, only_first, only_second, alpha)
    if _power(most, discordant, found) < power:
        raise UndefinedMetricError(f"more than {most} cases")
    low, high = 0, most  # power is too low at low, enough at high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(middle, discordant, found) >= power else (middle, high)
    return high


def _check(only_first: float, only_second: float) -> None:
    if min(only_first, only_second) < 0 or only_first + only_second > 1:
        raise MetricInputError(f"found the fractions {only_first} and {only_second}, wanted two of at most 1 together")


def _found(most: int, only_first: float, only_second: float, alpha: float) -> Floats:
    """Probability of a p of at most alpha for each number of discordant pairs, shape (most + 1,)."""
    from scipy.stats import binom

    discordant = np.arange(most + 1)
    if not only_first + only_second:
        return np.zeros(most + 1)
    # Greatest number on one side for which 2 P(X <= k) <= alpha; -1 if there is none.
    least = binom.ppf(alpha / 2, discordant, 0.5).astype(np.int64)
    least -= 2 * binom.cdf(least, discordant, 0.5) > alpha
    side = only_first / (only_first + only_second)
    return np.asarray(binom.cdf(least, discordant, side) + binom.sf(discordant - least - 1, discordant, side))


def _power(n: int, discordant: float, found: Floats) -> float:
    from scipy.stats import binom

    return float(binom.pmf(np.arange(n + 1), n, discordant) @ found[: n + 1])
