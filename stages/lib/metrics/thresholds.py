"""Which score calls an image positive: chosen on validation, used on test.

Candidates are the distinct scores; an image is positive if its score reaches the threshold. Of equally good candidates
the highest is taken: it calls the fewest images positive.

A chosen threshold is an estimate: other validation patients give another one. `redraw` has those of resamples.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics.binary import Ranking
from stages.lib.metrics.bootstrap import resamples
from stages.lib.metrics.ratios import f1_score, ratio

HALF = 0.5
TARGET_SPECIFICITY = 0.95
NAMES = ("half", "f1", "youden", "specificity_95")
CHOSEN = NAMES[1:]
TIE = 1e-12  # qualities that rounding alone tells apart

Floats = NDArray[np.float64]


def choose(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> dict[str, float | None]:
    """Every threshold by name; None for one that does not exist on these images.

    Args:
        labels: 0 or 1, shape (n,).
        scores: Finite, shape (n,).
        weights: How much each image counts, shape (n,); once each if None.

    Raises:
        UndefinedMetricError: If a class has no image.

    >>> choose([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9])
    {'half': 0.5, 'f1': 0.4, 'youden': 0.9, 'specificity_95': 0.9}
    """
    ranking = Ranking(labels, scores)
    tp, fp = ranking.curve(weights)
    best = _best(ranking.thresholds, tp, fp)
    return {"half": HALF, **{name: None if np.isnan(found) else float(found) for name, found in best.items()}}


def redraw(
    labels: ArrayLike,
    scores: ArrayLike,
    patients: ArrayLike,
    *,
    world_prevalence: float | None,
    draws: int,
    seed: int,
) -> dict[str, Floats]:
    """Every threshold but `half`, chosen anew on each resample of the validation patients.

    Args:
        labels: 0 or 1, shape (n,).
        scores: Finite, shape (n,).
        patients: Patient of each image, shape (n,).
        world_prevalence: Fraction of images with a nodule that a resample is weighted to; None if it counts as it is.
        draws: Number of resamples.
        seed: Of the draws; those of test patients need another one, or the two are drawn together.

    Returns:
        By name, shape (draws,); NaN where a resample has no such threshold, or one class. Empty without an image.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 8.3: two samples (here validation and
    test patients) are each redrawn, and a resample passes through all steps that made the number.
    """
    try:
        ranking = Ranking(labels, scores)
    except UndefinedMetricError:
        return {}
    found = []
    for weights in resamples(np.asarray(patients), draws=draws, seed=seed):
        tp, fp = ranking.cumulate(weights)
        here = tp[:, -1:] / (tp[:, -1:] + fp[:, -1:])
        of_positive, of_negative = (1.0, 1.0) if world_prevalence is None else world_weights(here, world_prevalence)
        found.append(_best(ranking.thresholds, tp * of_positive, fp * of_negative))
    return {name: np.concatenate([block[name] for block in found]) for name in CHOSEN}


def world_weights(here: Floats, world: float) -> tuple[Floats, Floats]:
    """Weights of an image with and of one without a nodule that turn one prevalence into another.

    Args:
        here: Fraction of images with a nodule, of any shape; NaN results where it is 0 or 1.
        world: Fraction wanted, in (0, 1).

    >>> [weights.round(3).tolist() for weights in world_weights(np.array([0.25]), 0.5)]
    [[2.0], [0.667]]
    """
    why = "one class has no image"
    return ratio(np.full(here.shape, world), here, why), ratio(np.full(here.shape, 1 - world), 1 - here, why)


def _best(thresholds: Floats, tp: Floats, fp: Floats) -> dict[str, Floats]:
    """Thresholds by name, shape (...), NaN where there is none.

    Args:
        thresholds: Distinct scores, falling, shape (u,).
        tp: Images with a nodule that reach each of them, shape (..., u).
        fp: Images without one that do, of the same shape.
    """
    n_positive, n_negative = tp[..., -1:], fp[..., -1:]
    # A score that only images have which a resample lacks is no candidate, and one class has none.
    candidate = (tp + fp > 0) & (n_positive > 0) & (n_negative > 0)
    why = "one class has no image"
    sensitivity, specificity = ratio(tp, n_positive, why), 1 - ratio(fp, n_negative, why)
    return {
        "f1": _highest(thresholds, f1_score(tp, tp + fp, n_positive), candidate),
        "youden": _highest(thresholds, sensitivity + specificity - 1, candidate),
        "specificity_95": _highest(thresholds, sensitivity, candidate & (specificity >= TARGET_SPECIFICITY - TIE)),
    }


def _highest(thresholds: Floats, quality: Floats, candidate: NDArray[np.bool_]) -> Floats:
    """Highest of the candidates whose quality is best, up to rounding, shape (...); NaN without a candidate."""
    known = np.where(candidate, quality, -np.inf)
    best = known.max(axis=-1, keepdims=True)
    found = thresholds[np.argmax(known >= best - TIE, axis=-1)]
    return np.where(np.isfinite(best[..., 0]), found, np.nan)
