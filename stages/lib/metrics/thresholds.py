"""Which score calls an image positive: chosen on validation, used on test.

Candidates are the distinct scores; an image is positive if its score reaches the threshold. Of equally good candidates
the highest is taken: it calls the fewest images positive.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.lib.metrics.binary import Ranking
from stages.lib.metrics.ratios import f1_score

HALF = 0.5
TARGET_SPECIFICITY = 0.95
NAMES = ("half", "f1", "youden", "specificity_95")


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
    sensitivity, specificity = tp / tp[-1], 1 - fp / fp[-1]
    f1 = f1_score(tp, tp + fp, tp[-1])
    allowed = specificity >= TARGET_SPECIFICITY - 1e-12
    return {
        "half": HALF,
        "f1": _highest(ranking.thresholds, f1),
        "youden": _highest(ranking.thresholds, sensitivity + specificity - 1),
        "specificity_95": _highest(ranking.thresholds[allowed], sensitivity[allowed]),
    }


def _highest(thresholds: NDArray[np.float64], quality: NDArray[np.float64]) -> float | None:
    """Highest of the thresholds whose quality is best, up to rounding."""
    if not len(quality):
        return None
    return float(thresholds[np.argmax(quality >= quality.max() - 1e-12)])
