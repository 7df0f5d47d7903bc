"""How well points are found at each confidence, and from which confidence on they are worth showing.

One question, asked on validation images alone: of the prompts of a bank, which one; and of a localizer's points, which.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.lib.metrics.matching import distances, match
from stages.lib.metrics.ratios import f1_score


@dataclass(frozen=True)
class Shown:
    """One image: what was found on it, and what is there.

    Attributes:
        points: Predicted x and y, shape (n, 2), pixels of the original.
        confidence: Of each point, shape (n,); NaN where there is none, and such a point is always shown.
        nodules: True x and y, shape (m, 2).
        threshold_px: Greatest distance of a hit, pixels.
    """

    points: NDArray[np.float64]
    confidence: NDArray[np.float64]
    nodules: NDArray[np.float64]
    threshold_px: float


@dataclass(frozen=True)
class Counts:
    """What is found if points from some confidence on are shown.

    Attributes:
        cutoff: Least confidence of a point that is shown; None if all are.
        hits: Points on a nodule, one to one.
        points: Points shown.
        nodules: Nodules there are.
    """

    cutoff: float | None
    hits: int
    points: int
    nodules: int

    @property
    def f1(self) -> float:
        """F1 of the points; 0 without points or nodules."""
        return f1_score(self.hits, self.points, self.nodules) if self.points + self.nodules else 0.0


def best(images: Sequence[Shown]) -> Counts:
    """Return the counts at the cutoff with the largest F1; of equals the one that shows the most points.

    Args:
        images: Images with nodules and without: a point on a negative image is a false one.
    """
    known = np.concatenate([image.confidence for image in images]) if images else np.zeros(0)
    cutoffs = [None, *np.unique(known[~np.isnan(known)]).tolist()]
    return max((count(images, cutoff) for cutoff in cutoffs), key=lambda counts: (counts.f1, counts.points))


def count(images: Sequence[Shown], cutoff: float | None) -> Counts:
    """Return the counts if points of a confidence of `cutoff` or more, and those without one, are shown."""
    hits = points = 0
    for image in images:
        shown = image.points if cutoff is None else image.points[~(image.confidence < cutoff)]
        hits += len(match(distances(shown, image.nodules), image.threshold_px)[0])
        points += len(shown)
    return Counts(cutoff, hits, points, sum(len(image.nodules) for image in images))
