"""Audits: what a change of the images or of the prompt does to a classifier's scores, and whether an audit passes.

A score is the margin, the logit of the positive answer less that of the negative one; NaN where a change could not be
made. Every number has its interval over patients, and numbers before and after are measured on the same images and the
same resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics.binary import Ranking
from stages.lib.metrics.bootstrap import Outcome, attempt, replicate
from stages.lib.metrics.measures import Estimate, Key, Measured, estimates
from stages.lib.metrics.ratios import ratio

Floats = NDArray[np.float64]

BEFORE, AFTER, CHANGE = Key("auc_before"), Key("auc_after"), Key("auc_change")
DROP, CONTROL_DROP, EXCESS = Key("evidence_drop"), Key("evidence_drop_control"), Key("evidence_drop_excess")
AGREEMENT, KAPPA = Key("agreement"), Key("kappa")
CALLED_BEFORE, CALLED_AFTER = Key("called_positive_before"), Key("called_positive_after")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How audits are measured: resamples, their seed, and the confidence of intervals."""

    draws: int
    seed: int
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What passes.

    Attributes:
        max_chance_auc: Upper end of an interval above 0.5 that still passes for chance.
        max_auc_fall: Least fall of the ROC AUC that counts.
        min_images: Images of each class below which there is no outcome.
        min_agreement: Least agreement of two sets of calls.
    """

    max_chance_auc: float
    max_auc_fall: float
    min_images: int
    min_agreement: float


class Verdict(NamedTuple):
    """Outcome of an audit, and why."""

    outcome: Literal["pass", "fail", "null"]
    reason: str


def areas(
    labels: NDArray[Any], patients: NDArray[Any], before: Floats, after: Mapping[str, Floats], settings: Settings
) -> dict[str, dict[Key, Estimate]]:
    """ROC AUC before and after each change, on the images where it could be made, and the paired difference.

    Args:
        labels: 0 or 1, shape (n,).
        patients: Patient of each image, shape (n,).
        before: Scores of the images as they are, shape (n,).
        after: Scores by the name of the change, shape (n,), NaN where it could not be made.
        settings: See `Settings`.
    """
    kept = {name: np.isfinite(scores) for name, scores in after.items()}
    rankings = {
        name: tuple(attempt_ranking(labels[kept[name]], one[kept[name]]) for one in (before, scores))
        for name, scores in after.items()
    }

    def measure(weights: NDArray[np.int64]) -> dict[tuple[str, Key], Outcome]:
        found: dict[tuple[str, Key], Outcome] = {}
        for name, pair in rankings.items():
            first, second = (area(ranking, weights[kept[name]]) for ranking in pair)
            found |= {(name, BEFORE): first, (name, AFTER): second}
            if isinstance(first, UndefinedMetricError):
                found[name, CHANGE] = first
            elif isinstance(second, UndefinedMetricError):
                found[name, CHANGE] = second
            else:
                found[name, CHANGE] = second - first
        return found

    draws = replicate(measure, patients, draws=settings.draws, seed=settings.seed)
    values, made = measure(np.ones(len(labels), np.int64)), {}
    for name, mask in kept.items():
        facts = _facts(labels[mask], patients[mask])
        mine = {key: outcome for (one, key), outcome in values.items() if one == name}
        drawn = {key: draws[name, key] for key in mine if (name, key) in draws}
        made[name] = estimates(mine, drawn, facts, confidence=settings.confidence)
    return made


def attempt_ranking(labels: NDArray[Any], scores: Floats) -> Ranking | UndefinedMetricError:
    """Images in the order of their scores, or why there is no order."""
    try:
        return Ranking(labels, scores)
    except UndefinedMetricError as reason:
        return reason


def area(ranking: Ranking | UndefinedMetricError, weights: NDArray[Any]) -> Outcome:
    """ROC AUC of weighted images, or why there is none."""
    return ranking if isinstance(ranking, UndefinedMetricError) else attempt(ranking.roc_auc, weights)


def drops(
    patients: NDArray[Any], before: Floats, filled: Floats, control: Floats, settings: Settings
) -> dict[Key, Estimate]:
    """Mean fall of the score when nodules are filled, when as large a place elsewhere is, and the difference.

    Args:
        patients: Patient of each image with marked nodules, shape (n,).
        before: Scores as they are, shape (n,).
        filled: With the nodules filled, shape (n,); NaN where it could not be done.
        control: With a place elsewhere filled; the same.
        settings: See `Settings`.
    """
    kept = np.isfinite(filled) & np.isfinite(control)
    falls = {DROP: (before - filled)[kept], CONTROL_DROP: (before - control)[kept], EXCESS: (control - filled)[kept]}

    def measure(weights: NDArray[np.int64]) -> dict[Key, Outcome]:
        return {
            key: attempt(ratio, float(weights @ fall), float(weights.sum()), "no image has marked nodules")
            for key, fall in falls.items()
        }

    draws = replicate(measure, patients[kept], draws=settings.draws, seed=settings.seed)
    facts = _facts(np.ones(kept.sum(), np.int64), patients[kept])
    return estimates(measure(np.ones(kept.sum(), np.int64)), draws, facts, confidence=settings.confidence)


def agreement(
    patients: NDArray[Any], before: NDArray[np.bool_], after: NDArray[np.bool_], settings: Settings
) -> dict[Key, Estimate]:
    """Agreement of two sets of calls of the same images, Cohen's kappa, and the fraction that each calls positive.

    Args:
        patients: Patient of each image, shape (n,).
        before: Whether each is called positive, shape (n,).
        after: The same after a change.
        settings: See `Settings`.

    Source: Cohen, Educational and Psychological Measurement 20: 37, 1960.
    """

    def measure(weights: NDArray[np.int64]) -> dict[Key, Outcome]:
        n = float(weights.sum())
        same, first, second = (float(weights @ one) for one in (before == after, before, after))
        chance = (first * second + (n - first) * (n - second)) / n if n else 0.0
        return {
            AGREEMENT: attempt(ratio, same, n, "there is no image"),
            KAPPA: attempt(ratio, same - chance, n - chance, "both call every image the same"),
            CALLED_BEFORE: attempt(ratio, first, n, "there is no image"),
            CALLED_AFTER: attempt(ratio, second, n, "there is no image"),
        }

    draws = replicate(measure, patients, draws=settings.draws, seed=settings.seed)
    facts = {"n": len(before), "n_patients": len(np.unique(patients))}
    return estimates(measure(np.ones(len(before), np.int64)), draws, facts, confidence=settings.confidence)


def chance(area: Estimate, limits: Limits) -> Verdict:
    """Whether a ROC AUC is near 0.5: its interval contains 0.5, or ends below the limit.

    >>> limits = Limits(max_chance_auc=0.55, max_auc_fall=0.02, min_images=1, min_agreement=0.9)
    >>> facts = {"n": 9, "n_positive": 4}
    >>> chance(Estimate(value=0.52, low=0.45, high=0.6, **facts), limits).outcome
    'pass'
    >>> chance(Estimate(value=0.7, low=0.6, high=0.8, **facts), limits)
    Verdict(outcome='fail', reason='the labels can be told without the lesion: the interval lies above 0.5')
    """
    few = too_few(area, limits)
    if few or area.low is None or area.high is None:
        return few or Verdict("null", "there is no interval")
    if area.low <= 0.5 <= area.high:
        return Verdict("pass", "the interval contains 0.5")
    if area.high <= limits.max_chance_auc:
        return Verdict("pass", f"the interval ends below {limits.max_chance_auc:g}")
    return Verdict("fail", "the labels can be told without the lesion: the interval lies above 0.5")


def fall(change: Estimate, limits: Limits, *, what: str) -> Verdict:
    """Whether a ROC AUC falls clearly: its change lies below 0 with its interval, by more than the limit.

    Args:
        change: AUC after less AUC before.
        limits: See `Limits`.
        what: What a fall means, for the reason.
    """
    few = too_few(change, limits)
    if few or change.value is None or change.high is None:
        return few or Verdict("null", "there is no interval")
    if change.high < 0 and -change.value > limits.max_auc_fall:
        return Verdict("fail", f"the AUC falls: {what}")
    if change.high < 0:
        return Verdict("pass", f"the AUC falls by no more than {limits.max_auc_fall:g}")
    return Verdict("pass", "the interval of the change reaches 0 or above")


def attention(excess: Estimate, limits: Limits) -> Verdict:
    """Whether filling the nodule takes more of the score than filling as large a place elsewhere."""
    few = too_few(excess, limits)
    if few or excess.low is None:
        return few or Verdict("null", "there is no interval")
    if excess.low > 0:
        return Verdict("pass", "without the nodule the score falls by more than without another place")
    if excess.high is not None and excess.high > 0:
        return Verdict("fail", "the interval contains 0: it is not shown that the score bears on the nodule")
    return Verdict("fail", "without the nodule the score falls by less than without another place")


def consistency(agreed: Estimate, kappa: Estimate, limits: Limits) -> Verdict:
    """Whether two prompts call images alike."""
    if agreed.value is None or (agreed.n or 0) < limits.min_images:
        return Verdict("null", agreed.reason or f"fewer than {limits.min_images} images")
    if kappa.value is None:
        return Verdict("null", f"agreement says nothing: {kappa.reason}")
    if agreed.value >= limits.min_agreement:
        return Verdict("pass", f"at least {limits.min_agreement:g} of the calls agree")
    return Verdict("fail", f"fewer than {limits.min_agreement:g} of the calls agree")


def shuffled(measured: Measured, base: Measured | None, limits: Limits) -> Verdict:
    """Whether a model that was trained on shuffled labels knows no more than chance.

    Args:
        measured: Its areas; before is the model that was trained on true labels.
        base: Areas of the untuned base before and the shuffled model after; None without a base.
        limits: See `Limits`.
    """
    verdict = chance(measured[AFTER], limits)
    if verdict.outcome != "fail":
        return verdict
    more = base[CHANGE] if base else None
    if more is not None and more.low is not None and more.low <= 0:
        return Verdict(
            "null", "the AUC is above 0.5, but not above that of the untuned base, which training starts from"
        )
    return Verdict("fail", "a model that never saw a true label tells the labels of test images: something leaks")


def too_few(one: Estimate, limits: Limits) -> Verdict | None:
    """No outcome, if a number is undefined or a class has too few images."""
    if one.value is None:
        return Verdict("null", one.reason or "not measured")
    positive = one.n_positive or 0
    classes = [count for count in (positive, (one.n or 0) - positive) if count]
    if min(classes, default=0) < limits.min_images:
        return Verdict("null", f"fewer than {limits.min_images} images of a class")
    return None


def _facts(labels: NDArray[Any], patients: NDArray[Any]) -> dict[str, int]:
    return {"n": len(labels), "n_positive": int(labels.sum()), "n_patients": len(np.unique(patients))}
