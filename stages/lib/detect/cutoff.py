"""How well points are found at each confidence, and from which confidence on they are worth showing.

One question, asked on validation images alone: of the prompts of a bank, which one; and of a localizer's points, which.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import params
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
        true_positives: Points on a nodule, one to one.
        points: Points shown.
        nodules: Nodules there are.
    """

    cutoff: float | None
    true_positives: int
    points: int
    nodules: int

    @property
    def f1(self) -> float:
        """F1 of the points; 0 without points or nodules."""
        return f1_score(self.true_positives, self.points, self.nodules) if self.points + self.nodules else 0.0


@params.section
class Cutoff:
    """From which confidence on a localizer's points are shown, and what that finds on the images that choose.

    Without such images there are no counts, and a reason.
    """

    written_by: ClassVar[str] = "merge or combine"

    cutoff: float | None  # least confidence of a point that is shown; null if all are
    f1: params.Fraction | None = None
    true_positives: params.NonNegativeInt | None = None  # points on a nodule, one to one
    points: params.NonNegativeInt | None = None
    nodules: params.NonNegativeInt | None = None
    images: params.Count | None = None
    reason: str | None = None  # why nothing could be chosen

    @property
    def precision(self) -> float:
        """Fraction of the points that were right on the images that choose; 1 if there was none.

        >>> Cutoff(cutoff=None, true_positives=15, points=60).precision
        0.25
        """
        return self.true_positives / self.points if self.true_positives is not None and self.points else 1.0


def chosen(counts: Counts, images: int) -> Cutoff:
    """Document of a cutoff with these counts on so many images."""
    return Cutoff(
        cutoff=counts.cutoff,
        f1=counts.f1,
        true_positives=counts.true_positives,
        points=counts.points,
        nodules=counts.nodules,
        images=images,
    )


def best(images: Sequence[Shown]) -> Counts:
    """Counts at the cutoff with the largest F1; of equals the one that shows the most points.

    Args:
        images: Images with nodules and without: a point on a negative image is a false one.
    """
    known = np.concatenate([image.confidence for image in images]) if images else np.zeros(0)
    cutoffs = [None, *np.unique(known[~np.isnan(known)]).tolist()]
    return max((count(images, cutoff) for cutoff in cutoffs), key=lambda counts: (counts.f1, counts.points))


def count(images: Sequence[Shown], cutoff: float | None) -> Counts:
    """Counts if points of a confidence of `cutoff` or more, and those without one, are shown."""
    true_positives = points = 0
    for image in images:
        shown = image.points if cutoff is None else image.points[~(image.confidence < cutoff)]
        true_positives += len(match(distances(shown, image.nodules), image.threshold_px)[0])
        points += len(shown)
    return Counts(cutoff, true_positives, points, sum(len(image.nodules) for image in images))
