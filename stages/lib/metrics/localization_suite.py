"""The localization part of metrics.json: what one localizer found, and what it did on healthy films.

Two views of it. `test` is the chief one: prompts, thresholds and combinations are chosen on other films. `all` has
every film with marked nodules, whatever its split, as published studies measured; films that a prompt was chosen on are
among them, and no healthy film is.
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

FILMS_NAMES = (
    "count_exact",
    "count_exact_with_healthy",
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
        tolerances: Share of the diagonal, by name.
        size_edges_mm: Diameters between two strata.
        contrast_edges: Contrasts between two strata.
        stratum_nodules_min: Nodules below which a stratum has no recall.
    """

    draws: int
    seed: int
    confidence: float
    tolerances: Mapping[str, float]
    size_edges_mm: Sequence[float] = ()
    contrast_edges: Sequence[float] = ()
    stratum_nodules_min: int = 1


@dataclass(frozen=True)
class Asked:
    """One film that a localizer was asked about.

    Attributes:
        film: Its nodules, and the predictions that are shown.
        ranked: Every prediction, shown or not: x and y, shape (n, 2), pixels.
        confidence: Of each of these, shape (n,); NaN where the localizer gives none.
        label: 1 nodule, 0 no finding, None not labelled.
        split: Part of the study; None if it is in none.
    """

    film: loc.Film
    ranked: NDArray[np.float64]
    confidence: NDArray[np.float64]
    label: int | None
    split: str | None

    @property
    def located(self) -> bool:
        """Whether it is known where its nodules are."""
        return len(self.film.points) > 0

    @property
    def healthy(self) -> bool:
        """Whether it is known to have no nodule."""
        return self.label == 0 and not self.located


def views(asked: Sequence[Asked]) -> dict[str, list[Asked]]:
    """Return the films of each view: `test`, with and without nodules, and `all` with marked nodules of any split."""
    return {
        "test": [one for one in asked if one.split == "test" and (one.located or one.healthy)],
        "all": [one for one in asked if one.located],
    }


def measure(asked: Sequence[Asked], settings: Settings, *, healthy_too: bool = True) -> dict[str, Any]:
    """Return the measures of a localizer on some films.

    Args:
        asked: Films it was asked about, whatever it answered; those of which nothing is known count for nothing.
        settings: How.
        healthy_too: Whether to measure what needs films without a nodule.

    Returns:
        For each tolerance the measures of `loc.measure_hits` on films with points, with counts, and in mm where the
        spacing is known; `films`, as `loc.measure_counts`; `strata`, the recall on nodules of a kind. With healthy
        films also the false points per film over these and those (in each tolerance); the share of all films with the
        right number of points (in `films`); `healthy`, as `loc.measure_healthy`; and `froc`.
    """
    located = [one.film for one in asked if one.located]
    healthy = [one.film for one in asked if one.healthy]
    document: dict[str, Any] = {}
    n_predictions = sum(len(film.predictions) for film in located)
    counts = {"n_points": sum(len(film.points) for film in located), "n_predictions": n_predictions}
    spacing = np.array([np.nan if film.spacing_mm is None else film.spacing_mm for film in located])
    told = _spaced(located)
    all_hits: dict[str, loc.Hits] = {}
    for name, share in settings.tolerances.items():
        rng = np.random.default_rng(settings.seed)
        all_hits[name] = hits = loc.find(located, share, throws=settings.draws, rng=rng)
        found, n_points = int(hits.true_positives.sum()), int(hits.points.sum())
        proportions = {"precision": (found, n_predictions), "recall": (found, n_points), "pck": (found, n_points)}
        section = _table(located, partial(loc.measure_hits, hits), settings, counts, proportions)
        no_pair = "no predicted point is near enough to a nodule on a film whose spacing is known"
        in_mm = _table(
            located, partial(loc.measure_mm, hits.radial_error_px, hits.film, spacing, no_pair), settings, told
        )
        section |= {f"{kind}_radial_error_mm": measured for kind, measured in in_mm.items()}
        if healthy_too:
            false = np.append(hits.predictions - hits.true_positives, [len(film.predictions) for film in healthy])
            call = partial(_false_points, false)
            section |= _table([*located, *healthy], call, settings, {"n_healthy": len(healthy)})
        document[name] = section
    counted = loc.count(located)
    exact = counted.predictions == counted.points
    trials = {"count_exact": (int(exact.sum()), len(located))}
    document["films"] = _table(located, partial(loc.measure_counts, counted), settings, counts, trials)
    silent = "no point was predicted on a film whose spacing is known"
    in_mm = _table(located, partial(loc.measure_mm, counted.nearest_px, counted.film, spacing, silent), settings, told)
    document["films"] |= {"nearest_point_mm": in_mm["median"], "mean_nearest_point_mm": in_mm["mean"]}
    document["strata"] = _strata(located, all_hits, settings)
    if healthy_too:
        points = np.array([len(film.predictions) for film in healthy], np.int64)
        right = np.append(exact, points == 0)
        document["films"] |= _table(
            [*located, *healthy],
            partial(_shares, right, {"count_exact_with_healthy": np.ones(len(right), bool)}),
            settings,
            {"n_healthy": len(healthy)},
            {"count_exact_with_healthy": (int(right.sum()), len(right))},
        )
        document["healthy"] = _table(
            healthy,
            partial(loc.measure_healthy, points),
            settings,
            {"n_predictions": int(points.sum())},
            {"share_with_point": (int((points > 0).sum()), len(healthy))},
        )
        document["froc"] = _froc([one for one in asked if one.located or one.healthy], settings)
    document["films"] = {key: document["films"][key] for key in FILMS_NAMES if key in document["films"]}
    return document


def _spaced(films: Sequence[loc.Film]) -> dict[str, int]:
    """Return how much stands behind a distance in mm: films whose spacing is known, patients, nodules, predictions."""
    spaced = [film for film in films if film.spacing_mm is not None]
    return {
        "n": len(spaced),
        "n_patients": len({film.patient_id for film in spaced}),
        "n_points": sum(len(film.points) for film in spaced),
        "n_predictions": sum(len(film.predictions) for film in spaced),
    }


def _strata(films: Sequence[loc.Film], hits: Mapping[str, loc.Hits], settings: Settings) -> dict[str, Any]:
    """Return for each division of the nodules the recall on each part, at each tolerance, or why there is none."""
    divisions = strata.divide(films, size_edges_mm=settings.size_edges_mm, contrast_edges=settings.contrast_edges)
    owner = np.repeat(np.arange(len(films)), [len(film.points) for film in films])
    patients = np.array([film.patient_id for film in films], str)
    document: dict[str, Any] = {}
    parts = {f"{kind}.{part.key}": part for kind, division in divisions.items() for part in division.parts}
    totals = {name: np.bincount(owner[part.members], minlength=len(films)) for name, part in parts.items()}
    measured: dict[str, dict[str, Entry]] = {name: {} for name in parts}
    for tolerance, found in hits.items():
        hit = {
            name: np.bincount(owner[part.members & found.found], minlength=len(films)) for name, part in parts.items()
        }
        call = partial(_recalls, hit, totals)
        draws = replicate(call, patients, draws=settings.draws, seed=settings.seed)
        for name, outcome in call(np.ones(len(films), np.int64)).items():
            whole = totals[name]
            n_points = int(whole.sum())
            facts = {"n": int((whole > 0).sum()), "n_patients": len(set(patients[whole > 0])), "n_points": n_points}
            trials = {name: (int(hit[name].sum()), n_points)}
            if 0 < n_points < settings.stratum_nodules_min:
                least = settings.stratum_nodules_min
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
    films: Sequence[loc.Film],
    call: Callable[[NDArray[Any]], Mapping[str, Outcome]],
    settings: Settings,
    facts: Mapping[str, Any],
    trials: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Entry]:
    """Return the metrics that `call` gives for weights of films, with intervals over their patients."""
    patients = np.array([film.patient_id for film in films], dtype=object)
    draws = replicate(call, patients.astype(str), draws=settings.draws, seed=settings.seed)
    known = {"n": len(films), "n_patients": len(set(patients)), **facts}
    return entries(call(np.ones(len(films), np.int64)), draws, known, confidence=settings.confidence, trials=trials)


def _false_points(false: NDArray[np.int64], weights: NDArray[Any]) -> dict[str, Outcome]:
    """Return the non-lesion localization fraction: false points per film, films with and without nodules together."""
    return {"non_lesion_fraction": attempt(loc.ratio, np.dot(weights, false), weights.sum(), "no film was asked about")}


def _froc(asked: Sequence[Asked], settings: Settings) -> dict[str, Any]:
    """Return sensitivities at fixed rates of false points and their mean (CPM), or why there are none."""
    confidences = np.concatenate([np.zeros(0), *(one.confidence for one in asked)])
    if not len(confidences):
        return {"reason": "no point was predicted"}
    if np.isnan(confidences).any():
        return {"reason": "not every point has a confidence: there is one operating point and no curve"}
    owner = np.repeat(np.arange(len(asked)), [len(one.confidence) for one in asked])
    points = np.array([len(one.film.points) for one in asked])
    document: dict[str, Any] = {}
    for name, share in settings.tolerances.items():
        judged = [
            froc.judge(one.ranked, one.confidence, one.film.points, one.film.threshold_px(share)) for one in asked
        ]
        call = partial(_operating_points, confidences, np.concatenate(judged), owner, points)
        facts = {"n_points": int(points.sum()), "n_predictions": len(confidences)}
        document[name] = _table([one.film for one in asked], call, settings, facts)
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
    """Return how often label and points of a test film are both right, for each tolerance.

    A film with nodules is right if it was called positive and a point lies on one of them. A healthy film is right if
    it was called negative and no point was predicted.

    Args:
        asked: Every film the localizer was asked about.
        called: Whether the classifier calls a film positive, by image_id.
        threshold: Of the calls.
        settings: How.

    Returns:
        By tolerance: right (share of all films), nodule_right (share of films with points), healthy_right.
    """
    films = [one for one in asked if one.split == "test" and (one.located or one.healthy)]
    films = [one for one in films if one.film.image_id in called]
    nodule = np.array([one.located for one in films], bool)
    positive = np.array([called[one.film.image_id] for one in films], bool)
    document = {}
    for name, share in settings.tolerances.items():
        hit = np.array(
            [
                bool((distances(one.film.predictions, one.film.points) <= one.film.threshold_px(share)).any())
                if one.located
                else len(one.film.predictions) == 0
                for one in films
            ],
            bool,
        )
        right = hit & (positive == nodule)
        parts = {"right": np.ones(len(films), bool), "nodule_right": nodule, "healthy_right": ~nodule}
        trials = {part: (int((right & use).sum()), int(use.sum())) for part, use in parts.items()}
        facts = {"n_positive": int(nodule.sum()), "threshold": threshold}
        call = partial(_shares, right, parts)
        document[name] = _table([one.film for one in films], call, settings, facts, trials)
    return document


def _shares(
    right: NDArray[np.bool_], parts: Mapping[str, NDArray[np.bool_]], weights: NDArray[Any]
) -> dict[str, Outcome]:
    return {
        part: attempt(loc.ratio, np.dot(weights, right & use), np.dot(weights, use), "there is no such film")
        for part, use in parts.items()
    }
