"""The classification part of metrics.json: one model on the images of one split, and two models against each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics import binary as c
from stages.lib.metrics.bootstrap import Outcome, attempt, replicate
from stages.lib.metrics.comparison import delong, mcnemar
from stages.lib.metrics.scorecard import Entry, difference, entries, entry, paired
from stages.lib.metrics.thresholds import HALF


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The images of one split with a model's scores.

    Attributes:
        labels: 0 or 1, shape (n,).
        patients: Patient of each image, shape (n,).
        scores: As the model gave them, [0, 1], shape (n,).
        calibrated: As calibrated, [0, 1], shape (n,); None if nothing was fitted.
        thresholds: Chosen on validation, by name; on calibrated scores. None where there is none.
        reason: Why there is no threshold or calibrated score.
    """

    labels: NDArray[np.int64]
    patients: NDArray[Any]
    scores: NDArray[np.float64]
    calibrated: NDArray[np.float64] | None
    thresholds: Mapping[str, float | None]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it is measured: resamples, their seed, confidence, bins, and the prevalence of another world."""

    draws: int
    seed: int
    confidence: float
    ece_bins: int
    other_prevalence: float


Measured = tuple[dict[str, Entry], dict[str, NDArray[np.float64]]]


def measure(images: Scored, settings: Settings) -> Measured:
    """Return every metric of a model on some images, and its values on the resamples of their patients."""
    calls = _calls(images)
    call = partial(_evaluate, images, calls, _ranking(images), _bins(images, settings), settings.other_prevalence)
    n, n_positive = len(images.labels), int(images.labels.sum())
    facts = {"n": n, "n_positive": n_positive, "n_patients": len(np.unique(images.patients))}
    draws = replicate(
        partial(_unless_one_class, call, images.labels), images.patients, draws=settings.draws, seed=settings.seed
    )
    confusions = {suffix: c.confusion(images.labels, called) for suffix, (_, called) in calls.items()}
    trials = {
        name + suffix: pair for suffix, confusion in confusions.items() for name, pair in c.trials(confusion).items()
    }
    outcomes = call(np.ones(n))
    document = entries(
        outcomes, draws, facts, confidence=settings.confidence, trials={**trials, "prevalence": (n_positive, n)}
    )
    for suffix, (threshold, _) in calls.items():
        for name, count in vars(confusions[suffix]).items():
            document[name + suffix] = entry(int(count), facts)
        for name in (*c.THRESHOLD_METRICS, *vars(confusions[suffix])):
            document[name + suffix]["threshold"] = threshold
        for name in ("ppv_by_bayes", "npv_by_bayes"):
            document[name + suffix].update(threshold=threshold, prevalence=settings.other_prevalence)
    for name in document.keys() & _missing(images).keys():
        document[name]["reason"] = images.reason
    return document, draws


def _calls(images: Scored) -> dict[str, tuple[float, NDArray[np.bool_]]]:
    """Return for the suffix of each threshold its value and the images it calls positive."""
    calls = {"": (HALF, images.scores >= HALF)}
    for name, threshold in images.thresholds.items():
        if name != "half" and threshold is not None and images.calibrated is not None:
            calls[f"_at_{name}"] = (threshold, images.calibrated >= threshold)
    return calls


def _missing(images: Scored) -> dict[str, Outcome]:
    """Return the metrics that have no value because nothing was fitted, or a threshold was not chosen."""
    names = ["brier_calibrated", "ece_calibrated"] if images.calibrated is None else []
    for name, threshold in images.thresholds.items():
        if name != "half" and (threshold is None or images.calibrated is None):
            names += [f"{metric}_at_{name}" for metric in c.THRESHOLD_METRICS]
    return {name: UndefinedMetricError(images.reason) for name in names}


def _ranking(images: Scored) -> c.Ranking | UndefinedMetricError:
    try:
        return c.Ranking(images.labels, images.scores)
    except UndefinedMetricError as reason:
        return reason


def _bins(images: Scored, settings: Settings) -> dict[str, tuple[NDArray[np.float64], NDArray[np.intp]]]:
    """Return for the suffix of each kind of score the scores and their bins; the bins stay the same in resamples."""
    kinds = {"": images.scores, "_calibrated": images.calibrated}
    return {
        suffix: (scores, c.equal_mass_bins(scores, settings.ece_bins))
        for suffix, scores in kinds.items()
        if scores is not None
    }


def _evaluate(
    images: Scored,
    calls: Mapping[str, tuple[float, NDArray[np.bool_]]],
    ranking: c.Ranking | UndefinedMetricError,
    bins: Mapping[str, tuple[NDArray[np.float64], NDArray[np.intp]]],
    prevalence: float,
    weights: NDArray[Any],
) -> dict[str, Outcome]:
    """Return every metric of the images, each counted as often as its weight says."""
    outcomes: dict[str, Outcome] = {}
    if isinstance(ranking, UndefinedMetricError):
        outcomes.update(roc_auc=ranking, pr_auc=ranking)
    else:
        outcomes["roc_auc"] = attempt(ranking.roc_auc, weights)
        outcomes["pr_auc"] = attempt(ranking.average_precision, weights)
    for suffix, (scores, where) in bins.items():
        outcomes[f"brier{suffix}"] = attempt(c.brier, images.labels, scores, weights)
        outcomes[f"ece{suffix}"] = attempt(c.calibration_error, images.labels, scores, where, weights)
    outcomes["prevalence"] = attempt(_fraction, images.labels, weights)
    for suffix, (_, called) in calls.items():
        confusion = c.confusion(images.labels, called, weights)
        for name, metric in c.THRESHOLD_METRICS.items():
            outcomes[name + suffix] = attempt(metric, confusion)
        for number, name in enumerate(("ppv_by_bayes", "npv_by_bayes")):
            outcomes[name + suffix] = attempt(_by_bayes, number, confusion, prevalence)
    return {**outcomes, **_missing(images)}


def _fraction(labels: NDArray[np.int64], weights: NDArray[Any]) -> float:
    if not weights.sum():
        raise UndefinedMetricError("there is no image")
    return float(np.dot(labels, weights) / weights.sum())


def _by_bayes(number: int, confusion: c.Confusion, prevalence: float) -> float:
    return c.predictive_values(c.sensitivity(confusion), c.specificity(confusion), prevalence)[number]


def _unless_one_class(call: Any, labels: NDArray[np.int64], weights: NDArray[Any]) -> dict[str, Outcome]:
    """Return the metrics of a resample, all undefined if it lost a class that the sample has."""
    outcomes: dict[str, Outcome] = call(weights)
    positives, images = np.dot(labels, weights), weights.sum()
    lost = (positives == 0 and labels.any()) or (positives == images and not labels.all())
    return dict.fromkeys(outcomes, UndefinedMetricError("the resample has one class")) if lost else outcomes


def compare(
    tuned: Measured, zero_shot: Measured, images: tuple[Scored, Scored], settings: Settings
) -> dict[str, dict[str, Any]]:
    """Return each metric of the tuned model minus that of the other, on the same images and resamples of patients.

    Beside them stand DeLong's test of the ROC areas and McNemar's of the calls at 0.5, which take images as
    independent.
    """
    names = [name for name, document in tuned[0].items() if "low" in document and name in zero_shot[0]]
    names = [name for name in names if name != "prevalence"]
    facts = {key: tuned[0]["roc_auc"][key] for key in ("n", "n_positive", "n_patients")}
    document: dict[str, dict[str, Any]] = entries(
        {name: difference(tuned[0], zero_shot[0], name) for name in names},
        paired(tuned[1], zero_shot[1], names),
        facts,
        confidence=settings.confidence,
    )
    assumption = {"assumes": "images are independent", **facts}
    try:
        test = delong(images[0].labels, images[0].scores, images[1].scores)
        document["delong"] = {"value": test.difference, "z": test.z, "p": test.p, **assumption}
    except UndefinedMetricError as reason:
        document["delong"] = {"value": None, "z": None, "p": None, **assumption, "reason": str(reason)}
    right = [(scored.scores >= HALF) == (scored.labels == 1) for scored in images]
    only_tuned, only_zero_shot = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    document["mcnemar"] = {
        "only_tuned_right": only_tuned,
        "only_zero_shot_right": only_zero_shot,
        "p": mcnemar(only_tuned, only_zero_shot),
        "threshold": HALF,
        **assumption,
    }
    return document
