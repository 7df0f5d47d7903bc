"""Declared pairs of arms on the same items: differences, tests, and what the judge's failures leave open."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.findings.measuring.ratings import JUDGED, NONE, Rated
from stages.findings.notes import Verdict
from stages.lib.metrics.comparison import mcnemar
from stages.lib.metrics.measures import Estimate, Key, estimates
from stages.lib.metrics.parts import Floats, Measured, Part, difference, drawn_difference, fraction, measure


@dataclass(frozen=True)
class Both:
    """Ratings of one judge on the answers of two arms about the same items."""

    first: Rated
    second: Rated

    @property
    def known(self) -> NDArray[np.bool_]:
        """Items whose answers are rated for both, shape (n,)."""
        return self.first.known & self.second.known

    @property
    def order(self) -> NDArray[np.int64]:
        """1 where the first is rated better, -1 where it is rated worse, else 0. Shape (n,)."""
        return np.where(self.known, np.sign(self.first.grades - self.second.grades), 0)

    def discordant(self, *, failures_poor: bool) -> tuple[int, int]:
        """Items of which the answer of the first alone is good, and of the second alone.

        Args:
            failures_poor: Whether an answer without a rating counts as poor; else its item is left out.
        """
        among = np.ones_like(self.known) if failures_poor else self.known
        first, second = self.first.good & among, self.second.good & among
        return int((first & ~second).sum()), int((second & ~first).sum())

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest difference of the good fractions that any rating of the judge's failures could make."""
        n = len(self.known)
        least = self.first.good.sum() - (self.second.good | ~self.second.known).sum()
        greatest = (self.first.good | ~self.first.known).sum() - self.second.good.sum()
        return float(least / n), float(greatest / n)


def of_ratings(both: Both, at: str | None, weights: Floats, confidence: float, n_cases: int) -> dict[Key, Estimate]:
    """Measures of two arms by one judge: complete pairs, failures as poor, and the bounds.

    Args:
        both: The ratings.
        at: The judge; None for the primary one.
        weights: How often each item stands in each resample of cases, shape (draws, n).
        confidence: Of the intervals.
        n_cases: Cases of the items.
    """
    why = "the judge rated no answer of both arms"
    good = both.first.good.astype(np.float64) - both.second.good
    said = (both.first.found != NONE) & (both.second.found != NONE)
    found = (both.first.found - both.second.found).astype(np.float64)
    shares: dict[Key, Part] = {
        Key("good_fraction", at): Part(np.where(both.known, good, 0.0), both.known.astype(np.float64), why),
        Key("good_failures_poor", at): Part(good, np.ones_like(good), why),
        Key("key_finding_rate", at): Part(np.where(said, found, 0.0), said.astype(np.float64), why),
        Key("better_fraction", at): fraction(both.order > 0, both.known, why),
        Key("equal_fraction", at): fraction((both.order == 0) & both.known, both.known, why),
        Key("worse_fraction", at): fraction(both.order < 0, both.known, why),
        Key("ordinal_effect", at): Part(both.order.astype(np.float64), both.known.astype(np.float64), why),
    }
    facts: dict[str, Any] = {"n": int(both.known.sum()), "n_patients": n_cases}
    made = dict(measure(shares, weights, facts, confidence).estimates)
    made[Key("good_failures_poor", at)] = Estimate(
        **{**vars(made[Key("good_failures_poor", at)]), "n": len(both.known)}
    )
    low, high = both.bounds
    everyone: dict[str, Any] = {"n": len(both.known), "n_patients": n_cases}
    made[Key("good_least", at)] = Estimate(value=low, **everyone)
    made[Key("good_most", at)] = Estimate(value=high, **everyone)
    for suffix, failures_poor, behind in (("", False, facts), ("_failures_poor", True, everyone)):
        only = both.discordant(failures_poor=failures_poor)
        made[Key(f"only_first_good{suffix}", at)] = Estimate(value=float(only[0]), **behind)
        made[Key(f"only_second_good{suffix}", at)] = Estimate(value=float(only[1]), **behind)
        made[Key(f"mcnemar_good{suffix}_p", at)] = Estimate(value=mcnemar(*only), **behind)
    # With ties left out the sign test is the same binomial.
    made[Key("sign_test_p", at)] = Estimate(
        value=mcnemar(int((both.order > 0).sum()), int((both.order < 0).sum())), **facts
    )
    return made


def of_texts(first: Measured, second: Measured, confidence: float, n: int, n_cases: int) -> dict[Key, Estimate]:
    """Differences of what is measured without a judge, each on the same resamples.

    Args:
        first: Measures of the first arm.
        second: Those of the second, on the same items.
        confidence: Of the intervals.
        n: Items.
        n_cases: Their cases.
    """
    keys = [key for key in first.estimates if key in second.estimates and key.metric not in JUDGED]
    outcomes = {key: difference(first, second, key) for key in keys}
    return estimates(outcomes, drawn_difference(first, second), {"n": n, "n_patients": n_cases}, confidence=confidence)


def corrected(verdict: Verdict, both: Both, at: str | None) -> dict[Key, Estimate]:
    """P of the comparison after Holm, and the cases that the wanted power would take."""
    n: dict[str, Any] = {"n": verdict.n_both, "n_patients": verdict.n}
    made = {Key("mcnemar_good_p_holm", at): Estimate(value=verdict.p_holm, **n)}
    whole: dict[str, Any] = {"n": len(both.known), "n_patients": verdict.n}
    made[Key("mcnemar_good_failures_poor_p_holm", at)] = Estimate(value=verdict.p_failures_poor_holm, **whole)
    needed = verdict.cases_needed
    made[Key("power_cases", at)] = (
        Estimate(value=float(needed), **n)
        if needed is not None
        else Estimate(value=None, reason="no number of cases up to the stated one has that power", **n)
    )
    return made
