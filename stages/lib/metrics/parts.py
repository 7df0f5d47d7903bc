"""Measures as ratios of sums over items, so that all resamples of cases are one product of matrices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics.bootstrap import Outcome, attempt
from stages.lib.metrics.measures import Estimate, Key, estimates
from stages.lib.metrics.ratios import ratio

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """A measure: the sum of what each item adds to the numerator, over that of the denominator.

    Attributes:
        over: What each item adds to the numerator, shape (n,).
        under: What it adds to the denominator, shape (n,).
        why: Why there is no value where the denominator is 0.
        proportion: Whether items are counted, so that Wilson's interval holds.
        of_items: Whether each item is 1 or 0 of the denominator, which then is the number of them.
    """

    over: Floats
    under: Floats
    why: str
    proportion: bool = False
    of_items: bool = False


def mean(values: ArrayLike, among: ArrayLike | None = None, why: str = "there is no answer") -> Part:
    """Mean of a value over items.

    Args:
        values: Value of each item, shape (n,).
        among: Whether each item is counted at all; None for all.
        why: Why there is no value where none is.

    >>> found = mean([1.0, 2.0, 9.0], [True, True, False])
    >>> found.over.sum(), found.under.sum()
    (np.float64(3.0), np.float64(2.0))
    """
    inside = np.ones(np.shape(values)) if among is None else np.asarray(among, np.float64)
    return Part(np.where(inside > 0, np.asarray(values, np.float64), 0.0), inside, why, of_items=True)


def fraction(members: ArrayLike, among: ArrayLike | None = None, why: str = "there is no answer") -> Part:
    """Fraction of items that are something.

    Args:
        members: Whether each item is, shape (n,).
        among: Whether each item is counted at all; None for all.
        why: Why there is no value where none is.

    >>> found = fraction([True, False, True], [True, True, False])
    >>> found.over.sum(), found.under.sum()
    (np.float64(1.0), np.float64(2.0))
    """
    inside = np.ones(np.shape(members), bool) if among is None else np.asarray(among, bool)
    found = (np.asarray(members, bool) & inside).astype(np.float64)
    return Part(found, inside.astype(np.float64), why, proportion=True, of_items=True)


@dataclass(frozen=True)
class Measured:
    """Measures on some items, and their values on resamples of cases, shape (draws,) each."""

    estimates: Mapping[Key, Estimate]
    draws: Mapping[Key, Floats]


def measure(parts: Mapping[Key, Part], weights: Floats, facts: Mapping[str, Any], confidence: float) -> Measured:
    """Each measure with its interval over cases.

    Args:
        parts: The measures, each over the same n items.
        weights: How often each item stands in each resample, shape (draws, n).
        facts: What stands behind all of them, such as n.
        confidence: Of the intervals.
    """
    if not parts:
        return Measured({}, {})
    over = np.stack([part.over for part in parts.values()], axis=1)  # (n, k)
    under = np.stack([part.under for part in parts.values()], axis=1)
    drawn = ratio(weights @ over, weights @ under, "")  # (draws, k)
    draws = {key: drawn[:, place] for place, key in enumerate(parts)}
    outcomes = {key: value(part) for key, part in parts.items()}
    trials = {key: (float(part.over.sum()), float(part.under.sum())) for key, part in parts.items() if part.proportion}
    made = estimates(outcomes, draws, facts, confidence=confidence, trials=trials)
    counted = {
        key: Estimate(**{**vars(one), "n": int(parts[key].under.sum())}) if parts[key].of_items else one
        for key, one in made.items()
    }
    return Measured(counted, draws)


def value(part: Part) -> Outcome:
    """Value of a measure, or why it has none."""
    return attempt(ratio, float(part.over.sum()), float(part.under.sum()), part.why)


def within(parts: Mapping[Key, Part], members: NDArray[np.bool_]) -> dict[Key, Part]:
    """The measures on some of the items."""
    return {key: replace(part, over=part.over[members], under=part.under[members]) for key, part in parts.items()}


def refused(keys: Sequence[Key], reason: str, facts: Mapping[str, Any]) -> dict[Key, Estimate]:
    """Measures that are not made, with the reason."""
    return {key: Estimate(value=None, reason=reason, **facts) for key in keys}


def drawn_difference(first: Measured, second: Measured) -> dict[Key, Floats]:
    """Difference of two systems on each resample, of the measures that both have."""
    return {key: first.draws[key] - second.draws[key] for key in first.draws if key in second.draws}


def difference(first: Measured, second: Measured, key: Key) -> Outcome:
    """Value of a measure in the first less that in the second, or why one has none."""
    values = []
    for one in (first.estimates[key], second.estimates[key]):
        if one.value is None:
            return UndefinedMetricError(one.reason or "not measured")
        values.append(one.value)
    return values[0] - values[1]
