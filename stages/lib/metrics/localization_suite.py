"""Measures of one localizer: what it found on images with nodules, of which kind, and what it did on negative ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics import evaluation_sets, froc, strata
from stages.lib.metrics import localization as loc
from stages.lib.metrics.bootstrap import Outcome, attempt, replicate, resamples
from stages.lib.metrics.catalog import FALSE_POINT_RATES
from stages.lib.metrics.matching import distances
from stages.lib.metrics.measures import Estimate, Key, estimate, estimates
from stages.lib.metrics.sources import Sources, of_images

K = TypeVar("K")


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
class Examined:
    """One image that a localizer was run on.

    Attributes:
        image: Its nodules, and the predictions that are shown.
        ranked: Every prediction, shown or not: x and y, shape (n, 2), pixels.
        confidence: Of each of these, shape (n,); NaN where the localizer gives none.
        label: 1 nodule, 0 no finding, None not labelled.
        split: Part of the study; None if it is in none.
        source: Where it is from.
    """

    image: loc.Image
    ranked: NDArray[np.float64]
    confidence: NDArray[np.float64]
    label: int | None
    split: str | None
    source: str

    @property
    def located(self) -> bool:
        """Whether it is known where its nodules are."""
        return len(self.image.points) > 0

    @property
    def negative(self) -> bool:
        """Whether it is known to have no nodule."""
        return evaluation_sets.is_negative(self.label, len(self.image.points))


def subset(examined: Sequence[Examined], name: str) -> list[Examined]:
    """Images of one evaluation set, see `evaluation_sets.localizer_sets`."""
    return [
        one for one in examined if name in evaluation_sets.localizer_sets(one.split, one.label, len(one.image.points))
    ]


def sources(examined: Sequence[Examined]) -> Sources:
    """Sources of some images, those with nodules and negative ones apart."""
    return of_images((one.source, one.located, one.negative) for one in examined)


def within(examined: Sequence[Examined], source: str) -> tuple[list[Examined], str | None]:
    """Images of one source, and why nothing can be measured within it; None if it can."""
    inside = [one for one in examined if one.source == source]
    found = sources(inside)
    lacking = [what for what, counts in (("marked", found.marked), ("negative", found.negative)) if not counts]
    return inside, f"no {' and no '.join(lacking)} image is of the source {source}" if lacking else None


def undefined(keys: Iterable[Key], examined: Sequence[Examined], reason: str) -> dict[Key, Estimate]:
    """Each of these measures without a value, for one reason."""
    facts = {
        "n": len(examined),
        "n_patients": len({one.image.patient_id for one in examined}),
        "n_negative": sum(one.negative for one in examined),
        "n_points": sum(len(one.image.points) for one in examined),
    }
    return {key: estimate(UndefinedMetricError(reason), **facts) for key in keys}


def measure(examined: Sequence[Examined], positives: Mapping[Key, Estimate], settings: Settings) -> dict[Key, Estimate]:
    """Measures of a localizer on all of some images, where a point on a negative image is a false one.

    Args:
        examined: Images it was run on, whatever it answered, each with nodules or known to have none.
        positives: What `measure_positives` found on them.
        settings: How.

    Returns:
        Of `positives` those that no negative image changes, with the images with nodules as their n. Over all images:
        at each tolerance false_positives, precision, f1 and non_lesion_fraction (false points per image); at none,
        count_exact, count_error and count_bias. FROC. Means over images, such as f1_macro, are undefined on a negative
        image without a point, and left out.
    """
    located = [one.image for one in examined if one.located]
    negatives = [one.image for one in examined if one.negative]
    images = [*located, *negatives]
    predictions, points = (
        np.array([len(getattr(image, name)) for image in images], np.int64) for name in ("predictions", "points")
    )
    facts = {"n_negative": len(negatives), "n_points": int(points.sum()), "n_predictions": int(predictions.sum())}
    made = {key: one for key, one in positives.items() if not key.metric.endswith("_macro")}
    for name, fraction in settings.tolerances.items():
        found = np.append(loc.find_pairs(located, fraction).true_positives, np.zeros(len(negatives), np.int64))
        trials = {"precision": (int(found.sum()), int(predictions.sum()))}
        call = partial(loc.measure_false_points, found, predictions, points)
        made |= {Key(metric, name): one for metric, one in _table(images, call, settings, facts, trials).items()}
    exact = {"count_exact": (int((predictions == points).sum()), len(images))}
    call = partial(loc.measure_numbers, predictions, points)
    made |= {Key(metric): one for metric, one in _table(images, call, settings, facts, exact).items()}
    return made | _froc(examined, settings)


def measure_positives(examined: Sequence[Examined], settings: Settings) -> dict[Key, Estimate]:
    """Measures of a localizer on the images with nodules alone, so that points on negative images count nowhere.

    Arguments as of `measure`.

    Returns:
        At each tolerance the measures of `loc.measure_hits`, in mm where the spacing is known; at none, those of
        `loc.measure_counts`.
    """
    located = [one.image for one in examined if one.located]
    n_predictions = sum(len(image.predictions) for image in located)
    counts = {"n_points": sum(len(image.points) for image in located), "n_predictions": n_predictions}
    spacing = np.array([np.nan if image.spacing_mm is None else image.spacing_mm for image in located])
    told = _spaced(located)
    made: dict[Key, Estimate] = {}
    for name, fraction in settings.tolerances.items():
        rng = np.random.default_rng(settings.seed)
        hits = loc.find(located, fraction, throws=settings.draws, rng=rng)
        found, n_points = int(hits.true_positives.sum()), int(hits.points.sum())
        proportions = {"precision": (found, n_predictions), "recall": (found, n_points), "pck": (found, n_points)}
        near = _table(located, partial(loc.measure_hits, hits), settings, counts, proportions)
        no_pair = "no predicted point is near enough to a nodule on an image whose spacing is known"
        in_mm = _table(
            located, partial(loc.measure_mm, hits.radial_error_px, hits.image, spacing, no_pair), settings, told
        )
        near |= {f"{kind}_radial_error_mm": one for kind, one in in_mm.items()}
        made |= {Key(metric, name): one for metric, one in near.items()}
    counted = loc.count(located)
    trials = {"count_exact": (int((counted.predictions == counted.points).sum()), len(located))}
    free = _table(located, partial(loc.measure_counts, counted), settings, counts, trials)
    silent = "no point was predicted on an image whose spacing is known"
    in_mm = _table(located, partial(loc.measure_mm, counted.nearest_px, counted.image, spacing, silent), settings, told)
    free |= {"nearest_point_mm": in_mm["median"], "mean_nearest_point_mm": in_mm["mean"]}
    return made | {Key(metric): one for metric, one in free.items()}


def measure_negatives(examined: Sequence[Examined], settings: Settings) -> dict[Key, Estimate]:
    """Measures of a localizer on the negative ones of some images, as `loc.measure_negatives`."""
    negatives = [one.image for one in examined if one.negative]
    points = np.array([len(image.predictions) for image in negatives], np.int64)
    made = _table(
        negatives,
        partial(loc.measure_negatives, points),
        settings,
        {"n_predictions": int(points.sum())},
        {"fraction_with_point": (int((points > 0).sum()), len(negatives))},
    )
    return {Key(metric): one for metric, one in made.items()}


def _spaced(images: Sequence[loc.Image]) -> dict[str, int]:
    """Counts behind a distance in mm: images whose spacing is known, patients, nodules, predictions."""
    spaced = [image for image in images if image.spacing_mm is not None]
    return {
        "n": len(spaced),
        "n_patients": len({image.patient_id for image in spaced}),
        "n_points": sum(len(image.points) for image in spaced),
        "n_predictions": sum(len(image.predictions) for image in spaced),
    }


@dataclass(frozen=True)
class Stratum:
    """Recall on nodules of one kind: which division, its name there, its bounds, and the recall at each tolerance."""

    division: str
    name: str
    low: float | None
    high: float | None
    measured: dict[Key, Estimate]


@dataclass(frozen=True)
class Strata:
    """Recall on nodules by kind, and what there is to say of each division of the nodules."""

    divisions: dict[str, strata.Division]
    strata: tuple[Stratum, ...]


def measure_strata(examined: Sequence[Examined], settings: Settings) -> Strata:
    """Recall on each kind of nodule of some images, at each tolerance, or why there is none."""
    images = [one.image for one in examined if one.located]
    divisions = strata.divide(images, size_edges_mm=settings.size_edges_mm, contrast_edges=settings.contrast_edges)
    owner = np.repeat(np.arange(len(images)), [len(image.points) for image in images])
    patients = np.array([image.patient_id for image in images], str)
    kinds = {(division, part.key): part for division, found in divisions.items() for part in found.parts}
    totals = {kind: np.bincount(owner[part.members], minlength=len(images)) for kind, part in kinds.items()}
    measured: dict[tuple[str, str], dict[Key, Estimate]] = {kind: {} for kind in kinds}
    for tolerance, fraction in settings.tolerances.items():
        found_ = loc.find_pairs(images, fraction).found
        hit = {kind: np.bincount(owner[part.members & found_], minlength=len(images)) for kind, part in kinds.items()}
        call = partial(_recalls, hit, totals)
        draws = replicate(call, patients, draws=settings.draws, seed=settings.seed)
        for kind, outcome in call(np.ones(len(images), np.int64)).items():
            whole = totals[kind]
            n_points = int(whole.sum())
            facts = {"n": int((whole > 0).sum()), "n_patients": len(set(patients[whole > 0])), "n_points": n_points}
            trials = {kind: (int(hit[kind].sum()), n_points)}
            if 0 < n_points < settings.min_stratum_nodules:
                least = settings.min_stratum_nodules
                outcome, trials = UndefinedMetricError(f"too few nodules: {n_points}, wanted at least {least}"), {}
            made = estimates({kind: outcome}, draws, facts, confidence=settings.confidence, trials=trials)
            measured[kind][Key("recall", tolerance)] = made[kind]
    return Strata(
        divisions,
        tuple(Stratum(*kind, part.low, part.high, measured[kind]) for kind, part in kinds.items()),
    )


def _recalls(
    found: Mapping[K, NDArray[np.int64]], totals: Mapping[K, NDArray[np.int64]], weights: NDArray[Any]
) -> dict[K, Outcome]:
    return {
        kind: attempt(loc.ratio, np.dot(weights, found[kind]), np.dot(weights, whole), "there is no such nodule")
        for kind, whole in totals.items()
    }


def _table(
    images: Sequence[loc.Image],
    call: Callable[[NDArray[Any]], Mapping[str, Outcome]],
    settings: Settings,
    facts: Mapping[str, Any],
    trials: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Estimate]:
    """Metrics that `call` gives for weights of images, with intervals over their patients."""
    patients = np.array([image.patient_id for image in images], dtype=object)
    draws = replicate(call, patients.astype(str), draws=settings.draws, seed=settings.seed)
    known = {"n": len(images), "n_patients": len(set(patients)), **facts}
    return estimates(call(np.ones(len(images), np.int64)), draws, known, confidence=settings.confidence, trials=trials)


def _froc(examined: Sequence[Examined], settings: Settings) -> dict[Key, Estimate]:
    """Sensitivities at fixed rates of false points and their mean (CPM), or why there are none."""
    confidences = np.concatenate([np.zeros(0), *(one.confidence for one in examined)])
    points = np.array([len(one.image.points) for one in examined])
    facts = {"n_points": int(points.sum()), "n_predictions": len(confidences)}
    images = [one.image for one in examined]
    why = no_curve(confidences)
    made: dict[Key, Estimate] = {}
    for name, fraction in settings.tolerances.items():
        if why is not None:
            known = {"n": len(images), "n_patients": len({image.patient_id for image in images}), **facts}
            made[Key("cpm", name)] = estimate(why, **known)
            continue
        verdicts, owner = judged(examined, fraction)
        call = partial(_operating_points, confidences, verdicts, owner, points)
        whole = call(np.ones(len(images), np.int64))
        # each sensitivity is so many of the nodules; their mean is no such fraction
        trials = {
            rate: (round(one * points.sum()), int(points.sum()))
            for rate, one in whole.items()
            if rate != "cpm" and not isinstance(one, UndefinedMetricError)
        }
        for metric, one in _table(images, call, settings, facts, trials).items():
            made[Key("cpm", name) if metric == "cpm" else Key("froc_sensitivity", f"{name}/{metric}")] = one
    return made


def no_curve(confidences: NDArray[np.float64]) -> UndefinedMetricError | None:
    """Reason why predictions of these confidences have no FROC curve; None if they have one."""
    if not len(confidences):
        return UndefinedMetricError("no point was predicted")
    if np.isnan(confidences).any():
        return UndefinedMetricError("not every point has a confidence: there is one operating point and no curve")
    return None


def judged(examined: Sequence[Examined], fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Verdict on every prediction as `froc.judge` has it, and the number of its image, each of shape (predictions,)."""
    verdicts = [
        froc.judge(one.ranked, one.confidence, one.image.points, one.image.threshold_px(fraction)) for one in examined
    ]
    owner = np.repeat(np.arange(len(examined)), [len(one.confidence) for one in examined])
    return np.concatenate([np.zeros(0, np.int64), *verdicts]), owner


def _operating_points(
    confidence: NDArray[np.float64],
    verdicts: NDArray[np.int64],
    owner: NDArray[np.int64],
    points: NDArray[np.int64],
    weights: NDArray[Any],
) -> dict[str, Outcome]:
    """Sensitivity at each rate, by its name in the catalog, and their mean under "cpm"."""
    times = weights[owner]
    try:
        found = froc.sensitivities(
            np.repeat(confidence, times),
            np.repeat(verdicts, times),
            float(weights.sum()),
            float(weights @ points),
        )
    except UndefinedMetricError as reason:
        return dict.fromkeys((*FALSE_POINT_RATES, "cpm"), reason)
    return {**dict(zip(FALSE_POINT_RATES, found, strict=True)), "cpm": float(np.mean(found))}


def joint(
    examined: Sequence[Examined],
    scores: Mapping[str, float],
    threshold: float,
    settings: Settings,
    redrawn: NDArray[np.float64] | None = None,
) -> dict[Key, Estimate]:
    """How often label and points of an image are both right, at each tolerance.

    An image with nodules is right if it was called positive and a point lies on one of them. A negative image is right
    if it was called negative and no point was predicted.

    Args:
        examined: Images of one evaluation set that the localizer was run on.
        scores: Of the classifier, by image_id.
        threshold: Score from which it calls an image positive.
        settings: How.
        redrawn: This threshold chosen anew on resamples of the validation patients, see `binary_suite.redraw`; None if
            it was not chosen.

    Returns:
        joint_right (fraction of all images), joint_right_nodule (fraction of images with points) and
        joint_right_negative.
    """
    images = [one for one in examined if one.image.image_id in scores]
    nodule = np.array([one.located for one in images], bool)
    score = np.array([scores[one.image.image_id] for one in images], np.float64)
    positive = score >= threshold
    patients = np.array([one.image.patient_id for one in images], str)
    made: dict[Key, Estimate] = {}
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
        parts = {
            "joint_right": np.ones(len(images), bool),
            "joint_right_nodule": nodule,
            "joint_right_negative": ~nodule,
        }
        trials = {part: (int((right & use).sum()), int(use.sum())) for part, use in parts.items()}
        facts = {"n": len(images), "n_patients": len(set(patients)), "n_positive": int(nodule.sum())}
        call = partial(_fractions, right, parts)
        known = replicate(call, patients, draws=settings.draws, seed=settings.seed)
        found = estimates(
            call(np.ones(len(images), np.int64)),
            known if redrawn is None else _nested(hit, nodule, score, parts, patients, redrawn, settings),
            {**facts, "threshold": threshold},
            confidence=settings.confidence,
            trials=trials,
            known=None if redrawn is None else known,
        )
        made |= {Key(metric, name): one for metric, one in found.items()}
    return made


def _nested(
    hit: NDArray[np.bool_],
    nodule: NDArray[np.bool_],
    score: NDArray[np.float64],
    parts: Mapping[str, NDArray[np.bool_]],
    patients: NDArray[Any],
    redrawn: NDArray[np.float64],
    settings: Settings,
) -> dict[str, NDArray[np.float64]]:
    """Fractions of `joint` on resamples of patients, each with a threshold of its own, shape (draws,)."""
    made: dict[str, list[NDArray[np.float64]]] = {part: [] for part in parts}
    drawn = 0
    for counts in resamples(patients, draws=settings.draws, seed=settings.seed):
        own = redrawn[drawn : drawn + len(counts), None]
        right = counts * (hit & ((score >= own) == nodule))
        for part, use in parts.items():
            found = loc.ratio((right @ use).astype(np.float64), (counts @ use).astype(np.float64), "")
            made[part].append(np.where(np.isnan(own[:, 0]), np.nan, found))
        drawn += len(counts)
    return {part: np.concatenate(blocks) for part, blocks in made.items() if blocks}


def _fractions(
    right: NDArray[np.bool_], parts: Mapping[str, NDArray[np.bool_]], weights: NDArray[Any]
) -> dict[str, Outcome]:
    return {
        part: attempt(loc.ratio, np.dot(weights, right & use), np.dot(weights, use), "there is no such image")
        for part, use in parts.items()
    }
