"""The localization part of metrics.json: what one localizer found, and what it did on healthy films."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib import froc
from stages.lib import localization as loc
from stages.lib.bootstrap import Outcome, attempt, replicate
from stages.lib.errors import UndefinedMetricError
from stages.lib.matching import distances
from stages.lib.scorecard import Entry, entries, entry

FROC_NAMES = tuple(f"sensitivity_at_{rate}" for rate in ("1_8", "1_4", "1_2", "1", "2", "4", "8"))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it is measured: resamples (and throws of chance), their seed, confidence, tolerances by name."""

    draws: int
    seed: int
    confidence: float
    tolerances: Mapping[str, float]


@dataclass(frozen=True)
class Asked:
    """One film that a localizer was asked about.

    Attributes:
        film: Its nodules and predictions.
        confidence: Of each prediction, shape (n,); NaN where the localizer gives none.
        label: 1 nodule, 0 no finding, None not labelled.
        split: Part of the study; None if it is in none.
    """

    film: loc.Film
    confidence: NDArray[np.float64]
    label: int | None
    split: str | None

    @property
    def located(self) -> bool:
        """Whether it is known where its nodules are."""
        return len(self.film.points) > 0

    @property
    def healthy(self) -> bool:
        """Whether it is a test film without a nodule."""
        return self.label == 0 and self.split == "test" and not self.located


def measure(asked: Sequence[Asked], settings: Settings) -> dict[str, Any]:
    """Return the measures of a localizer.

    Args:
        asked: Every film it was asked about, whatever it answered.
        settings: How.

    Returns:
        For each tolerance the measures of `loc.measure_hits` on films with points (of all splits), with counts and the
        share of false points per film over these and the healthy ones; `films`, as `loc.measure_counts`; `healthy`, as
        `loc.measure_healthy`, on test films without a nodule; and `froc`.
    """
    located = [one.film for one in asked if one.located]
    healthy = [one.film for one in asked if one.healthy]
    document: dict[str, Any] = {}
    n_predictions = sum(len(film.predictions) for film in located)
    counts = {"n_points": sum(len(film.points) for film in located), "n_predictions": n_predictions}
    for name, share in settings.tolerances.items():
        rng = np.random.default_rng(settings.seed)
        hits = loc.find(located, share, throws=settings.draws, rng=rng)
        found, n_points = int(hits.true_positives.sum()), int(hits.points.sum())
        proportions = {"precision": (found, n_predictions), "recall": (found, n_points), "pck": (found, n_points)}
        section = _table(located, partial(loc.measure_hits, hits), settings, counts, proportions)
        facts = {"n": len(located), **counts}
        section["true_positives"] = entry(found, facts)
        section["false_positives"] = entry(n_predictions - found, facts)
        section["false_negatives"] = entry(n_points - found, facts)
        false = np.append(hits.predictions - hits.true_positives, [len(film.predictions) for film in healthy])
        section |= _table([*located, *healthy], partial(_false_points, false), settings, {"n_healthy": len(healthy)})
        document[name] = section
    counted = loc.count(located)
    exact = int((counted.predictions == counted.points).sum())
    document["films"] = _table(
        located, partial(loc.measure_counts, counted), settings, counts, {"count_exact": (exact, len(located))}
    )
    points = np.array([len(film.predictions) for film in healthy], np.int64)
    document["healthy"] = _table(
        healthy,
        partial(loc.measure_healthy, points),
        settings,
        {"n_predictions": int(points.sum())},
        {"share_with_point": (int((points > 0).sum()), len(healthy))},
    )
    document["froc"] = _froc([one for one in asked if one.located or one.healthy], settings)
    return document


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
            froc.judge(one.film.predictions, one.confidence, one.film.points, one.film.threshold_px(share))
            for one in asked
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
