"""Measures of a classifier on the images of one split, and of two classifiers against each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics import binary as c
from stages.lib.metrics import thresholds as choices
from stages.lib.metrics.bootstrap import Outcome, attempt, resamples
from stages.lib.metrics.calibration import Calibration, column, evidence
from stages.lib.metrics.comparison import delong, mcnemar
from stages.lib.metrics.measures import Estimate, Key, difference, estimate, estimates, paired
from stages.lib.metrics.ratios import ratio
from stages.lib.metrics.thresholds import HALF

Floats = NDArray[np.float64]
BY_BAYES = ("ppv_by_bayes", "npv_by_bayes")


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The images of one split with a model's scores.

    Attributes:
        ids: image_id of each image, shape (n,).
        labels: 0 or 1, shape (n,).
        patients: Patient of each image, shape (n,).
        scores: As the model gave them, [0, 1], shape (n,).
        evidence: What the images are ranked by, in the order of the scores and with fewer ties among those near 1, see
            `calibration.evidence`; shape (n,).
        calibrated: As calibrated, [0, 1], shape (n,); None if nothing was fitted.
        thresholds: Chosen on validation, by name; on calibrated scores. None where there is none.
        reason: Why there is no threshold or calibrated score.
    """

    ids: Sequence[str]
    labels: NDArray[np.int64]
    patients: NDArray[Any]
    scores: Floats
    evidence: Floats
    calibrated: Floats | None
    thresholds: Mapping[str, float | None]
    reason: str

    def on(self, threshold: str) -> Floats:
        """Scores that a threshold is applied to, shape (n,)."""
        calibrated = column(threshold, calibrated=self.calibrated is not None) == "score_calibrated"
        return self.calibrated if calibrated and self.calibrated is not None else self.scores


def with_scores(images: pa.Table, fitted: Calibration | None) -> Scored:
    """Images of an evaluation set with a classifier's scores, as raw and as calibrated.

    Args:
        images: Rows of `tables.INFER` with patient_id.
        fitted: The classifier's calibration; None if the scores are looked at as they are.
    """
    calibrated = images["score_calibrated"]
    known = fitted is not None and fitted.fitted and not calibrated.null_count
    return Scored(
        ids=images["image_id"].to_pylist(),
        labels=images["label"].to_numpy().astype(np.int64),
        patients=np.array(images["patient_id"].to_pylist(), str),
        scores=images["score"].to_numpy(),
        evidence=evidence(images),
        calibrated=calibrated.to_numpy() if known else None,
        thresholds=fitted.thresholds if fitted else {},
        reason=(fitted.reason if fitted else None) or "no score of a validation image fulfils it",
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it is measured: resamples, their seed, confidence, bins, and the prevalence of another world."""

    draws: int
    seed: int
    confidence: float
    ece_bins: int
    other_prevalence: float


@dataclass(frozen=True)
class Result:
    """Measures of a classifier, and its values on the resamples of patients.

    Attributes:
        measured: The measures.
        draws: Their values on resamples; at a chosen threshold each resample has its own.
        known: Values at a chosen threshold on the same resamples, the threshold taken as known.
    """

    measured: dict[Key, Estimate]
    draws: dict[Key, Floats]
    known: dict[Key, Floats] = field(default_factory=dict)


@dataclass(frozen=True)
class Calls:
    """Images called positive at one threshold: its value, and the calls, shape (n,)."""

    threshold: float
    positive: NDArray[np.bool_]


def redraw(images: Scored, fitted: Calibration | None, settings: Settings) -> dict[str, Floats]:
    """Thresholds of a classifier, chosen anew on each resample of its validation patients.

    The validation images are weighted to the world's prevalence as they were for the chosen thresholds. The fit of the
    calibration is not redrawn: it keeps the order of the images, so that a threshold chosen after it calls the same.

    Args:
        images: The validation images.
        fitted: The classifier's calibration; None if the scores are looked at as they are.
        settings: Draws and seed.

    Returns:
        As `thresholds.redraw`; empty if nothing was fitted.
    """
    if fitted is None or images.calibrated is None or fitted.world_prevalence is None:
        return {}
    own = fitted.n > 0 and fitted.world_prevalence == fitted.n_positive / fitted.n  # validation's, so a resample's own
    return choices.redraw(
        images.labels,
        images.calibrated,
        images.patients,
        world_prevalence=None if own else fitted.world_prevalence,
        draws=settings.draws,
        seed=settings.seed,
    )


def measure(images: Scored, settings: Settings, redrawn: Mapping[str, Floats] | None = None) -> Result:
    """Every metric of a classifier on some images, with intervals over patients.

    Args:
        images: The images.
        settings: How.
        redrawn: Thresholds chosen anew on resamples of the validation patients, see `redraw`. A metric at a threshold
            that is not among them has the interval with the threshold taken as known, and no other.
    """
    at = calls(images)
    call = partial(_evaluate, images, at, _ranking(images), _bins(images, settings), settings.other_prevalence)
    n, n_positive = len(images.labels), int(images.labels.sum())
    facts = {"n": n, "n_positive": n_positive, "n_patients": len(np.unique(images.patients))}
    draws = _everywhere(images, _ranking(images), _bins(images, settings), settings)
    nested, known = _at_thresholds(images, at, redrawn or {}, settings)
    draws |= nested
    confusions = {name: c.confusion(images.labels, one.positive) for name, one in at.items()}
    trials = {Key(metric, name): pair for name, found in confusions.items() for metric, pair in c.trials(found).items()}
    trials[Key("prevalence")] = (n_positive, n)
    measured = estimates(call(np.ones(n)), draws, facts, confidence=settings.confidence, trials=trials, known=known)
    for name, found in confusions.items():
        measured |= {Key(metric, name): estimate(count, **facts) for metric, count in vars(found).items()}
    for key, one in measured.items():
        if key.at in at:
            measured[key] = replace(one, threshold=at[key.at].threshold)
    return Result(measured, draws, known)


def calls(images: Scored) -> dict[str, Calls]:
    """Images called positive at each threshold that was chosen, by its name; at 0.5 by the score as it was given."""
    found = {"half": Calls(HALF, images.on("half") >= HALF)}
    for name, threshold in images.thresholds.items():
        if name != "half" and threshold is not None and images.calibrated is not None:
            found[name] = Calls(threshold, images.on(name) >= threshold)
    return found


def _at_thresholds(
    images: Scored, at: Mapping[str, Calls], redrawn: Mapping[str, Floats], settings: Settings
) -> tuple[dict[Key, Floats], dict[Key, Floats]]:
    """Metrics at each threshold on resamples of patients, shape (draws,): nested, and with the threshold as known.

    `half` is not chosen: its values are in the first. A threshold that is not in `redrawn` is in the second alone.
    """
    nested = [name for name in at if name != "half" and name in redrawn]
    ranking = c.Ranking(images.labels, images.on(nested[0])) if nested and len(images.labels) else None
    own: dict[str, list[c.Confusion[Floats]]] = {}
    fixed: dict[str, list[c.Confusion[Floats]]] = {}
    drawn = 0
    for counts in resamples(images.patients, draws=settings.draws, seed=settings.seed):
        weights = np.where(_lost_a_class(images.labels, counts)[:, None], np.nan, counts)
        for name, one in at.items():
            fixed.setdefault(name, []).append(c.confusions(images.labels, one.positive, weights))
        if ranking is not None:
            reached = ranking.cumulate(weights)
            for name in nested:
                confusion = ranking.confusions(redrawn[name][drawn : drawn + len(weights)], *reached)
                own.setdefault(name, []).append(confusion)
        drawn += len(weights)
    plain = {"half": fixed.pop("half")} if "half" in fixed else {}
    return _of_resamples({**plain, **own}, settings), _of_resamples(fixed, settings)


def _of_resamples(found: Mapping[str, Sequence[c.Confusion[Floats]]], settings: Settings) -> dict[Key, Floats]:
    """Metrics at each threshold from the confusions of the resamples, some at a time; shape (draws,) each."""
    made: dict[Key, Floats] = {}
    for name, blocks in found.items():
        confusion = c.joined(blocks)
        made |= {Key(metric, name): function(confusion) for metric, function in c.THRESHOLD_METRICS.items()}
        rates = c.sensitivity(confusion), c.specificity(confusion)
        values = c.predictive_values(*rates, settings.other_prevalence)
        made |= {Key(metric, name): value for metric, value in zip(BY_BAYES, values, strict=True)}
    return made


def _missing(images: Scored) -> dict[Key, Outcome]:
    """Metrics without a value because nothing was fitted, or a threshold was not chosen."""
    keys = [Key("brier_calibrated"), Key("ece_calibrated")] if images.calibrated is None else []
    for name, threshold in images.thresholds.items():
        if name != "half" and (threshold is None or images.calibrated is None):
            keys += [Key(metric, name) for metric in c.THRESHOLD_METRICS]
    return {key: UndefinedMetricError(images.reason) for key in keys}


def _ranking(images: Scored) -> c.Ranking | UndefinedMetricError:
    try:
        return c.Ranking(images.labels, images.evidence)
    except UndefinedMetricError as reason:
        return reason


def _bins(images: Scored, settings: Settings) -> dict[str, tuple[Floats, NDArray[np.intp]]]:
    """Scores and their bins, by the ending of the metrics' names; the bins stay the same in resamples."""
    kinds = {"": images.scores, "_calibrated": images.calibrated}
    return {
        ending: (scores, c.equal_mass_bins(scores, settings.ece_bins))
        for ending, scores in kinds.items()
        if scores is not None
    }


def _evaluate(
    images: Scored,
    at: Mapping[str, Calls],
    ranking: c.Ranking | UndefinedMetricError,
    bins: Mapping[str, tuple[Floats, NDArray[np.intp]]],
    prevalence: float,
    weights: NDArray[Any],
) -> dict[Key, Outcome]:
    """Every metric of the images, each counted as often as its weight says."""
    outcomes: dict[Key, Outcome] = {}
    if isinstance(ranking, UndefinedMetricError):
        outcomes |= {Key("roc_auc"): ranking, Key("pr_auc"): ranking}
    else:
        outcomes[Key("roc_auc")] = attempt(ranking.roc_auc, weights)
        outcomes[Key("pr_auc")] = attempt(ranking.average_precision, weights)
    for ending, (scores, where) in bins.items():
        outcomes[Key(f"brier{ending}")] = attempt(c.brier, images.labels, scores, weights)
        outcomes[Key(f"ece{ending}")] = attempt(c.calibration_error, images.labels, scores, where, weights)
    outcomes[Key("prevalence")] = attempt(_fraction, images.labels, weights)
    for name, one in at.items():
        confusion = c.confusion(images.labels, one.positive, weights)
        for metric, function in c.THRESHOLD_METRICS.items():
            outcomes[Key(metric, name)] = attempt(function, confusion)
        for number, metric in enumerate(BY_BAYES):
            outcomes[Key(metric, name)] = attempt(_by_bayes, number, confusion, prevalence)
    return {**outcomes, **_missing(images)}


def _fraction(labels: NDArray[np.int64], weights: NDArray[Any]) -> float:
    if not weights.sum():
        raise UndefinedMetricError("there is no image")
    return float(np.dot(labels, weights) / weights.sum())


def _by_bayes(number: int, confusion: c.Confusion, prevalence: float) -> float:
    return c.predictive_values(c.sensitivity(confusion), c.specificity(confusion), prevalence)[number]


def _everywhere(
    images: Scored,
    ranking: c.Ranking | UndefinedMetricError,
    bins: Mapping[str, tuple[Floats, NDArray[np.intp]]],
    settings: Settings,
) -> dict[Key, Floats]:
    """Metrics without a threshold on resamples of patients, shape (draws,); NaN where a class was lost."""
    blocks: list[dict[Key, Floats]] = []
    for counts in resamples(images.patients, draws=settings.draws, seed=settings.seed):
        whole, none = counts.sum(axis=1).astype(np.float64), np.full(len(counts), np.nan)
        made = {Key("roc_auc"): none, Key("pr_auc"): none}
        if isinstance(ranking, c.Ranking):
            reached = ranking.cumulate(counts)
            made = {Key("roc_auc"): c.areas(*reached), Key("pr_auc"): c.average_precisions(*reached)}
        for ending, (scores, where) in bins.items():
            made[Key(f"brier{ending}")] = ratio(counts @ (scores - images.labels) ** 2, whole, "there is no image")
            made[Key(f"ece{ending}")] = c.calibration_errors(images.labels, scores, where, counts)
        made[Key("prevalence")] = ratio((counts @ images.labels).astype(np.float64), whole, "there is no image")
        made |= dict.fromkeys(_missing(images), none)
        lost = _lost_a_class(images.labels, counts)
        blocks.append({key: np.where(lost, np.nan, values) for key, values in made.items()})
    return {key: np.concatenate([block[key] for block in blocks]) for key in (blocks[0] if blocks else {})}


def _lost_a_class(labels: NDArray[np.int64], weights: NDArray[Any]) -> Any:
    """Whether a resample, or each of several, lost a class that the sample has; weights of shape (..., n)."""
    positives, images = weights @ labels, weights.sum(axis=-1)
    return ((positives == 0) & labels.any()) | ((positives == images) & (not labels.all()))


def compare(first: Result, second: Result, images: tuple[Scored, Scored], settings: Settings) -> dict[Key, Estimate]:
    """Each metric of the first classifier minus that of the second, on the same images and resamples of patients.

    At chosen thresholds the validation patients are the same too: each classifier chooses anew on each resample.

    Beside them stand DeLong's test of the ROC areas and McNemar's of the calls at 0.5, which take images as
    independent.
    """
    resampled = [key for key, one in first.measured.items() if one.skipped_draws is not None]
    keys = [key for key in resampled if key in second.measured and key.metric != "prevalence"]
    area = first.measured[Key("roc_auc")]
    facts = {"n": area.n, "n_positive": area.n_positive, "n_patients": area.n_patients}
    made = estimates(
        {key: difference(first.measured, second.measured, key) for key in keys},
        paired(first.draws, second.draws, keys),
        facts,
        confidence=settings.confidence,
        known=paired(first.known, second.known, keys),
    )
    try:
        test = delong(images[0].labels, images[0].evidence, images[1].evidence)
        made |= {Key("delong_z"): estimate(test.z, **facts), Key("delong_p"): estimate(test.p, **facts)}
    except UndefinedMetricError as reason:
        made |= {Key("delong_z"): estimate(reason, **facts), Key("delong_p"): estimate(reason, **facts)}
    right = [(scored.scores >= HALF) == (scored.labels == 1) for scored in images]
    only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    for metric, value in zip(
        ("only_first_right", "only_second_right", "mcnemar_p"), (*only, mcnemar(*only)), strict=True
    ):
        made[Key(metric, "half")] = estimate(value, **facts, threshold=HALF)
    return made
