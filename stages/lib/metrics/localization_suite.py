"""The localization part of metrics.json: what one localizer found, and what it did on negative images.

Two views of it. `test` is the headline one: prompts, thresholds and combinations are chosen on other images. `all` has
every image with marked nodules, whatever its split, as published studies measured; images that a prompt was chosen on
are among them, and no negative image is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics import froc, strata
from stages.lib.metrics import localization as loc
from stages.lib.metrics.bootstrap import Outcome, attempt, replicate
from stages.lib.metrics.matching import distances
from stages.lib.metrics.scorecard import Entry, entries

IMAGES_NAMES = (
    "count_exact",
    "count_exact_with_negatives",
    "count_error",
    "count_bias",
    "nearest_point_px",
    "nearest_point_mm",
    "mean_nearest_point_mm",
)
FROC_NAMES = tuple(f"sensitivity_at_{rate}" for rate in ("1_8", "1_4", "1_2", "1", "2", "4", "8"))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it is measured.

    Attributes:
        draws: Resamples of patients, and throws of chance.
        seed: Of both.
        confidence: Of the intervals.
        tolerances: Fraction of the diagonal, by name.
        size_edges_mm: Diameters between two strata.
        contrast_edges: Contrasts between two strata.
        min_stratum_nodules: Nodules below which a stratum has no recall.
    """

    draws: int
    seed: int
    confidence: float
    tolerances: Mapping[str, float]
    size_edges_mm: Sequence[float] = ()
    contrast_edges: Sequence[float] = ()
    min_stratum_nodules: int = 1


@dataclass(frozen=True)
class Asked:
    """One image that a localizer was asked about.

    Attributes:
        image: Its nodules, and the predictions that are shown.
        ranked: Every prediction, shown or not: x and y, shape (n, 2), pixels.
        confidence: Of each of these, shape (n,); NaN where the localizer gives none.
        label: 1 nodule, 0 no finding, None not labelled.
        split: Part of the study; None if it is in none.
    """

    image: loc.Image
    ranked: NDArray[np.float64]
    confidence: NDArray[np.float64]
    label: int | None
    split: str | None

    @property
    def located(self) -> bool:
        """Whether it is known where its nodules are."""
        return len(self.image.points) > 0

    @property
    def negatives(self) -> bool:
        """Whether it is known to have no nodule."""
        return self.label == 0 and not self.located


def views(asked: Sequence[Asked]) -> dict[str, list[Asked]]:
    """Return the images of each view: `test`, with and without nodules, and `all` with marked nodules of any split."""
    return {
        "test": [one for one in asked if one.split == "test" and (one.located or one.negatives)],
        "all": [one for one in asked if one.located],
    }


def measure(asked: Sequence[Asked], settings: Settings, *, negatives_too: bool = True) -> dict[str, Any]:
    """Return the measures of a localizer on some images.

    Args:
        asked: Images it was asked about, whatever it answered; those of which nothing is known count for nothing.
        settings: How.
        negatives_too: Whether to measure what needs images without a nodule.

    Returns:
        For each tolerance the measures of `loc.measure_hits` on images with points, with counts, and in mm where the
        spacing is known; `images`, as `loc.measure_counts`; `strata`, the recall on nodules of a kind. With negative
        images also the false points per image over these and those (in each tolerance); the fraction of all images
        with the right number of points (in `images`); `negatives`, as `loc.measure_negatives`; and `froc`.
    """
    located = [one.image for one in asked if one.located]
    negatives = [one.image for one in asked if one.negatives]
    document: dict[str, Any] = {}
    n_predictions = sum(len(image.predictions) for image in located)
    counts = {"n_points": sum(len(image.points) for image in located), "n_predictions": n_predictions}
    spacing = np.array([np.nan if image.spacing_mm is None else image.spacing_mm for image in located])
    told = _spaced(located)
    all_hits: dict[str, loc.Hits] = {}
    for name, fraction in settings.tolerances.items():
        rng = np.random.default_rng(settings.seed)
        all_hits[name] = hits = loc.find(located, fraction, throws=settings.draws, rng=rng)
        found, n_points = int(hits.true_positives.sum()), int(hits.points.sum())
        proportions = {"precision": (found, n_predictions), "recall": (found, n_points), "pck": (found, n_points)}
        section = _table(located, partial(loc.measure_hits, hits), settings, counts, proportions)
        no_pair = "no predicted point is near enough to a nodule on an image whose spacing is known"
        in_mm = _table(
            located, partial(loc.measure_mm, hits.radial_error_px, hits.image, spacing, no_pair), settings, told
        )
        section |= {f"{kind}_radial_error_mm": measured for kind, measured in in_mm.items()}
        if negatives_too:
            false = np.append(hits.predictions - hits.true_positives, [len(image.predictions) for image in negatives])
            call = partial(_false_points, false)
            section |= _table([*located, *negatives], call, settings, {"n_negative": len(negatives)})
        document[name] = section
    counted = loc.count(located)
    exact = counted.predictions == counted.points
    trials = {"count_exact": (int(exact.sum()), len(located))}
    document["images"] = _table(located, partial(loc.measure_counts, counted), settings, counts, trials)
    silent = "no point was predicted on an image whose spacing is known"
    in_mm = _table(located, partial(loc.measure_mm, counted.nearest_px, counted.image, spacing, silent), settings, told)
    document["images"] |= {"nearest_point_mm": in_mm["median"], "mean_nearest_point_mm": in_mm["mean"]}
    document["strata"] = _strata(located, all_hits, settings)
    if negatives_too:
        points = np.array([len(image.predictions) for image in negatives], np.int64)
        right = np.append(exact, points == 0)
        document["images"] |= _table(
            [*located, *negatives],
            partial(_fractions, right, {"count_exact_with_negatives": np.ones(len(right), bool)}),
            settings,
            {"n_negative": len(negatives)},
            {"count_exact_with_negatives": (int(right.sum()), len(right))},
        )
        document["negatives"] = _table(
            negatives,
            partial(loc.measure_negatives, points),
            settings,
            {"n_predictions": int(points.sum())},
            {"fraction_with_point": (int((points > 0).sum()), len(negatives))},
        )
        document["froc"] = _froc([one for one in asked if one.located or one.negatives], settings)
    document["images"] = {key: document["images"][key] for key in IMAGES_NAMES if key in document["images"]}
    return document


def _spaced(images: Sequence[loc.Image]) -> dict[str, int]:
    """Return how much stands behind a distance in mm: images whose spacing is known, patients, nodules, predictions."""
    spaced = [image for image in images if image.spacing_mm is not None]
    return {
        "n": len(spaced),
        "n_patients": len({image.patient_id for image in spaced}),
        "n_points": sum(len(image.points) for image in spaced),
        "n_predictions": sum(len(image.predictions) for image in spaced),
    }


def _strata(images: Sequence[loc.Image], hits: Mapping[str, loc.Hits], settings: Settings) -> dict[str, Any]:
    """Return for each division of the nodules the recall on each part, at each tolerance, or why there is none."""
    divisions = strata.divide(images, size_edges_mm=settings.size_edges_mm, contrast_edges=settings.contrast_edges)
    owner = np.repeat(np.arange(len(images)), [len(image.points) for image in images])
    patients = np.array([image.patient_id for image in images], str)
    document: dict[str, Any] = {}
    parts = {f"{kind}.{part.key}": part for kind, division in divisions.items() for part in division.parts}
    totals = {name: np.bincount(owner[part.members], minlength=len(images)) for name, part in parts.items()}
    measured: dict[str, dict[str, Entry]] = {name: {} for name in parts}
    for tolerance, found in hits.items():
        hit = {
            name: np.bincount(owner[part.members & found.found], minlength=len(images)) for name, part in parts.items()
        }
        call = partial(_recalls, hit, totals)
        draws = replicate(call, patients, draws=settings.draws, seed=settings.seed)
        for name, outcome in call(np.ones(len(images), np.int64)).items():
            whole = totals[name]
            n_points = int(whole.sum())
            facts = {"n": int((whole > 0).sum()), "n_patients": len(set(patients[whole > 0])), "n_points": n_points}
            trials = {name: (int(hit[name].sum()), n_points)}
            if 0 < n_points < settings.min_stratum_nodules:
                least = settings.min_stratum_nodules
                outcome, trials = UndefinedMetricError(f"too few nodules: {n_points}, wanted at least {least}"), {}
            made = entries({name: outcome}, draws, facts, confidence=settings.confidence, trials=trials)
            measured[name][tolerance] = made[name]
    for kind, division in divisions.items():
        document[kind] = {"n_unknown": division.unknown, "reason": division.reason, "note": division.note}
        document[kind]["parts"] = {
            part.key: {"from": part.low, "to": part.high, **measured[f"{kind}.{part.key}"]} for part in division.parts
        }
    return document


def _recalls(
    found: Mapping[str, NDArray[np.int64]], totals: Mapping[str, NDArray[np.int64]], weights: NDArray[Any]
) -> dict[str, Outcome]:
    return {
        name: attempt(loc.ratio, np.dot(weights, found[name]), np.dot(weights, whole), "there is no such nodule")
        for name, whole in totals.items()
    }


def _table(
    images: Sequence[loc.Image],
    call: Callable[[NDArray[Any]], Mapping[str, Outcome]],
    settings: Settings,
    facts: Mapping[str, Any],
    trials: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Entry]:
    """Return the metrics that `call` gives for weights of images, with intervals over their patients."""
    patients = np.array([image.patient_id for image in images], dtype=object)
    draws = replicate(call, patients.astype(str), draws=settings.draws, seed=settings.seed)
    known = {"n": len(images), "n_patients": len(set(patients)), **facts}
    return entries(call(np.ones(len(images), np.int64)), draws, known, confidence=settings.confidence, trials=trials)


def _false_points(false: NDArray[np.int64], weights: NDArray[Any]) -> dict[str, Outcome]:
    """Return the non-lesion localization fraction: false points per image, images with and without nodules together."""
    return {
        "non_lesion_fraction": attempt(loc.ratio, np.dot(weights, false), weights.sum(), "no image was asked about")
    }


def _froc(asked: Sequence[Asked], settings: Settings) -> dict[str, Any]:
    """Return sensitivities at fixed rates of false points and their mean (CPM), or why there are none."""
    confidences = np.concatenate([np.zeros(0), *(one.confidence for one in asked)])
    if not len(confidences):
        return {"reason": "no point was predicted"}
    if np.isnan(confidences).any():
        return {"reason": "not every point has a confidence: there is one operating point and no curve"}
    owner = np.repeat(np.arange(len(asked)), [len(one.confidence) for one in asked])
    points = np.array([len(one.image.points) for one in asked])
    document: dict[str, Any] = {}
    for name, fraction in settings.tolerances.items():
        judged = [
            froc.judge(one.ranked, one.confidence, one.image.points, one.image.threshold_px(fraction)) for one in asked
        ]
        call = partial(_operating_points, confidences, np.concatenate(judged), owner, points)
        facts = {"n_points": int(points.sum()), "n_predictions": len(confidences)}
        document[name] = _table([one.image for one in asked], call, settings, facts)
    return document


def _operating_points(
    confidence: NDArray[np.float64],
    verdicts: NDArray[np.int64],
    owner: NDArray[np.int64],
    points: NDArray[np.int64],
    weights: NDArray[Any],
) -> dict[str, Outcome]:
    times = weights[owner]
    try:
        found = froc.sensitivities(
            np.repeat(confidence, times), np.repeat(verdicts, times), float(weights.sum()), float(weights @ points)
        )
    except UndefinedMetricError as reason:
        return dict.fromkeys((*FROC_NAMES, "cpm"), reason)
    return {**dict(zip(FROC_NAMES, found, strict=True)), "cpm": float(np.mean(found))}


def joint(
    asked: Sequence[Asked], called: Mapping[str, bool], threshold: float, settings: Settings
) -> dict[str, dict[str, Entry]]:
    """Return how often label and points of a test image are both right, for each tolerance.

    An image with nodules is right if it was called positive and a point lies on one of them. A negative image is right
    if it was called negative and no point was predicted.

    Args:
        asked: Every image the localizer was asked about.
        called: Whether the classifier calls an image positive, by image_id.
        threshold: Of the calls.
        settings: How.

    Returns:
        By tolerance: right (fraction of all images), nodule_right (fraction of images with points), negative_right.
    """
    images = [one for one in asked if one.split == "test" and (one.located or one.negatives)]
    images = [one for one in images if one.image.image_id in called]
    nodule = np.array([one.located for one in images], bool)
    positive = np.array([called[one.image.image_id] for one in images], bool)
    document = {}
    for name, fraction in settings.tolerances.items():
        hit = np.array(
            [
                bool((distances(one.image.predictions, one.image.points) <= one.image.threshold_px(fraction)).any())
                if one.located
                else len(one.image.predictions) == 0
                for one in images
            ],
            bool,
        )
        right = hit & (positive == nodule)
        parts = {"right": np.ones(len(images), bool), "nodule_right": nodule, "negative_right": ~nodule}
        trials = {part: (int((right & use).sum()), int(use.sum())) for part, use in parts.items()}
        facts = {"n_positive": int(nodule.sum()), "threshold": threshold}
        call = partial(_fractions, right, parts)
        document[name] = _table([one.image for one in images], call, settings, facts, trials)
    return document


def _fractions(
    right: NDArray[np.bool_], parts: Mapping[str, NDArray[np.bool_]], weights: NDArray[Any]
) -> dict[str, Outcome]:
    return {
        part: attempt(loc.ratio, np.dot(weights, right & use), np.dot(weights, use), "there is no such image")
        for part, use in parts.items()
    }
