"""Audits of judges: what ratings of changed answers say of a judge, and whether an audit passes.

A grade is the place of a rating from the worst: 0 poor, 1 partial, 2 good. All intervals are over cases: all
judgements of a case are drawn together.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.lib.core.case_tables import RATINGS
from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics.agreement import cohen_kappa
from stages.lib.metrics.audits import Settings, Verdict
from stages.lib.metrics.bootstrap import Outcome, attempt, replicate
from stages.lib.metrics.measures import Estimate, Key, estimates
from stages.lib.metrics.ratios import ratio

Floats = NDArray[np.float64]
NO_JUDGEMENT = "nothing was rated"
EXPECTED, GRADE_CHANGE = Key("expected_fraction"), Key("grade_change")
AGREEMENT, KAPPA = Key("rating_agreement"), Key("rating_kappa_quadratic")
LENGTH, LENGTH_RULES = Key("length_rating_correlation"), Key("length_rating_correlation_rules")
LENGTH_EXCESS, GOOD_DIFFERENCE = Key("length_rating_excess"), Key("good_difference")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What passes.

    Attributes:
        min_cases: Cases below which there is no outcome.
        min_agreement: Least fraction of answers that two passes rate the same.
        min_expected: Least fraction of changed answers that are rated as expected.
        max_grade_change: Mean change of the grade, up or down, that still passes.
        max_length_excess: Correlation of rating and length beyond that of rules, up or down, that still passes.
    """

    min_cases: int
    min_agreement: float
    min_expected: float
    max_grade_change: float
    max_length_excess: float


def expected(cases: NDArray[Any], right: NDArray[np.bool_], settings: Settings) -> dict[Key, Estimate]:
    """Fraction of the changed answers that are rated as they should be.

    Args:
        cases: Case of each, shape (n,).
        right: Whether each is, shape (n,).
        settings: See `Settings`.
    """

    def measure(weights: NDArray[np.int64]) -> dict[Key, Outcome]:
        return {EXPECTED: _mean(weights, right)}

    trials = {EXPECTED: (float(right.sum()), float(len(right)))}
    return _estimates(measure, cases, settings, trials)


def agreement(
    cases: NDArray[Any], first: NDArray[np.int64], second: NDArray[np.int64], settings: Settings
) -> dict[Key, Estimate]:
    """Fraction of the answers that two passes rate the same, and Cohen's kappa with quadratic weights.

    Args:
        cases: Case of each answer, shape (n,).
        first: Grade of the first pass, shape (n,).
        second: Grade of the second, shape (n,).
        settings: See `Settings`.

    Source: Cohen, Psychological Bulletin 70: 213, 1968.
    """
    size = len(RATINGS)
    pairs = first * size + second

    def measure(weights: NDArray[np.int64]) -> dict[Key, Outcome]:
        table = np.bincount(pairs, weights=weights, minlength=size * size).reshape(size, size)
        return {AGREEMENT: _mean(weights, first == second), KAPPA: attempt(cohen_kappa, table, "quadratic")}

    return _estimates(measure, cases, settings, {AGREEMENT: (float((first == second).sum()), float(len(first)))})


def change(
    cases: NDArray[Any], before: NDArray[np.int64], after: NDArray[np.int64], settings: Settings
) -> dict[Key, Estimate]:
    """Mean change of the grade of the same answers, in grades.

    Args:
        cases: Case of each answer, shape (n,).
        before: Grade as it is, shape (n,).
        after: Grade when changed, shape (n,).
        settings: See `Settings`.
    """
    return _estimates(lambda weights: {GRADE_CHANGE: _mean(weights, after - before)}, cases, settings)


def length(
    cases: NDArray[Any],
    grades: NDArray[np.int64],
    rules: NDArray[np.int64],
    words: NDArray[np.int64],
    f1: Floats,
    settings: Settings,
) -> dict[Key, Estimate]:
    """Partial rank correlation of grade and words of an answer at equal finding F1, [-1, 1]; and how much of it is not
    that of grades by rules, which do not see the length.

    F1 is not all that a grade depends on, and arms differ in both, so that the correlation alone is no fault of a
    judge. Ranks are those among all answers, ties with their mean rank; in a resample they are kept.

    Args:
        cases: Case of each answer, shape (n,).
        grades: Its grade, shape (n,).
        rules: Its grade by rules, shape (n,).
        words: Its words, shape (n,).
        f1: Its structured finding F1, shape (n,).
        settings: See `Settings`.

    Source: Kendall, Biometrika 32: 277, 1942, with Spearman's ranks.
    """
    others = [ranks(words), ranks(f1)]
    ranked = {LENGTH: np.stack([ranks(grades), *others]), LENGTH_RULES: np.stack([ranks(rules), *others])}  # (3, n)

    def measure(weights: NDArray[np.int64]) -> dict[Key, Outcome]:
        theirs, by_rules = (attempt(partial_correlation, ranked[key], weights) for key in (LENGTH, LENGTH_RULES))
        excess: Outcome
        if isinstance(theirs, UndefinedMetricError):
            excess = theirs
        elif isinstance(by_rules, UndefinedMetricError):
            excess = by_rules
        else:
            excess = theirs - by_rules
        return {LENGTH_EXCESS: excess, LENGTH: theirs, LENGTH_RULES: by_rules}

    return _estimates(measure, cases, settings)


def ranks(values: ArrayLike) -> Floats:
    """Rank of each value, from 1; equal ones have their mean rank.

    >>> ranks([0.5, 0.1, 0.5]).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found: Floats = (last - (counts - 1) / 2)[place]
    return found


def partial_correlation(values: Floats, weights: ArrayLike) -> float:
    """Correlation of the first two of three variables, the third held equal.

    Args:
        values: The variables, shape (3, n).
        weights: How often each value counts, shape (n,).

    Raises:
        UndefinedMetricError: If one of them does not vary, or the third decides one of the others.

    >>> round(partial_correlation(np.array([[1.0, 2, 3, 4], [2.0, 1, 4, 3], [1.0, 1, 1, 2]]), np.ones(4)), 3)
    0.655
    """
    counts = np.asarray(weights, np.float64)
    n = counts.sum()
    if not n:
        raise UndefinedMetricError(NO_JUDGEMENT)
    centred = values - (values @ counts / n)[:, None]
    covariance = (centred * counts) @ centred.T
    spread = np.sqrt(np.diag(covariance))
    for name, one in zip(("rating", "length", "finding F1"), spread, strict=True):
        if one < 1e-9:
            raise UndefinedMetricError(f"all answers have the same {name}")
    r = covariance / np.outer(spread, spread)
    rest = (1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2)
    if rest < 1e-9:
        raise UndefinedMetricError("finding F1 decides the rating, or the length")
    return float((r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt(rest))


def difference(
    cases: NDArray[Any], first: NDArray[np.bool_], second: NDArray[np.bool_], settings: Settings
) -> dict[Key, Estimate]:
    """Fraction of the same answers that one judge calls good less that of another.

    Args:
        cases: Case of each answer, shape (n,).
        first: Whether the one calls each good, shape (n,).
        second: Whether the other does, shape (n,).
        settings: See `Settings`.
    """
    more = first.astype(np.int64) - second.astype(np.int64)
    return _estimates(lambda weights: {GOOD_DIFFERENCE: _mean(weights, more)}, cases, settings)


def as_expected(one: Estimate, limits: Limits, *, what: str) -> Verdict:
    """Whether enough changed answers are rated as expected.

    Args:
        one: Their fraction.
        limits: See `Limits`.
        what: What those do that are not.
    """
    few = too_few(one, limits)
    if few or one.value is None:
        return few or Verdict("null", NO_JUDGEMENT)
    if one.value >= limits.min_expected:
        return Verdict("pass", f"at least {limits.min_expected:g} are rated as expected")
    return Verdict("fail", f"fewer than {limits.min_expected:g} are rated as expected: {what}")


def consistent(one: Estimate, limits: Limits, *, floor: bool = False) -> Verdict:
    """Whether two passes rate enough answers the same.

    Args:
        one: Their agreement.
        limits: See `Limits`.
        floor: Whether one of them is by rules, which are no second reader.
    """
    few = too_few(one, limits)
    if few or one.value is None:
        return few or Verdict("null", NO_JUDGEMENT)
    if one.value >= limits.min_agreement:
        return Verdict("pass", f"at least {limits.min_agreement:g} of the ratings are the same")
    said = f"fewer than {limits.min_agreement:g} of the ratings are the same"
    return Verdict("null", f"{said}; rules are a floor, and no second reader") if floor else Verdict("fail", said)


def unmoved(one: Estimate, limits: Limits) -> Verdict:
    """Whether sentences without a finding leave the grade where it is."""
    few = too_few(one, limits)
    if few or one.value is None or one.low is None or one.high is None:
        return few or Verdict("null", "there is no interval")
    if abs(one.value) <= limits.max_grade_change:
        return Verdict("pass", f"the mean grade changes by no more than {limits.max_grade_change:g}")
    if one.low <= 0 <= one.high:
        return Verdict("pass", "the interval of the change contains 0")
    way = "better" if one.value > 0 else "worse"
    return Verdict("fail", f"an answer is rated {way} for words that hold no finding")


def independent(one: Estimate, limits: Limits) -> Verdict:
    """Whether the rating goes with the length of answers no more than a rating by rules does.

    Args:
        one: Correlation of rating and length, less that of the rating by rules.
        limits: See `Limits`.
    """
    few = too_few(one, limits)
    if few or one.value is None or one.low is None or one.high is None:
        return few or Verdict("null", "there is no interval")
    if one.low <= 0 <= one.high:
        return Verdict("pass", "it is not shown that the rating goes with length more than one by rules does")
    if abs(one.value) <= limits.max_length_excess:
        return Verdict("pass", f"beyond rules, the correlation is no more than {limits.max_length_excess:g}")
    way = "longer" if one.value > 0 else "shorter"
    return Verdict("fail", f"of answers with the same finding F1 the {way} ones are rated better than by rules")


def impartial(one: Estimate, limits: Limits, *, common: str) -> Verdict:
    """Whether a judge calls no more answers of its own family good than another judge does.

    Args:
        one: Its fraction less the other's.
        limits: See `Limits`.
        common: What judge and arm have in common.
    """
    few = too_few(one, limits)
    said = f"judge and arm are of one family, {common}"
    if few or one.low is None:
        return Verdict("null", f"{said}; {few.reason if few else 'there is no interval'}")
    if one.low > 0:
        return Verdict("fail", f"{said}, and it calls more of the answers good than a judge of another")
    return Verdict("pass", f"{said}; it is not shown that it calls more of the answers good than another judge")


def too_few(one: Estimate, limits: Limits) -> Verdict | None:
    """No outcome, if a number is undefined or of too few cases."""
    if one.value is None:
        return Verdict("null", one.reason or NO_JUDGEMENT)
    if (one.n_patients or 0) < limits.min_cases:
        return Verdict("null", f"fewer than {limits.min_cases} cases")
    return None


def _mean(weights: NDArray[np.int64], values: NDArray[Any]) -> Outcome:
    return attempt(ratio, float(weights @ values), float(weights.sum()), NO_JUDGEMENT)


def _estimates(
    measure: Callable[[NDArray[np.int64]], Mapping[Key, Outcome]],
    cases: NDArray[Any],
    settings: Settings,
    trials: Mapping[Key, tuple[float, float]] | None = None,
) -> dict[Key, Estimate]:
    draws = replicate(measure, cases, draws=settings.draws, seed=settings.seed)
    facts = {"n": len(cases), "n_patients": len(np.unique(cases))}
    whole = measure(np.ones(len(cases), np.int64))
    return estimates(whole, draws, facts, confidence=settings.confidence, trials=trials)
