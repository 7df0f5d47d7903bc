"""From which confidence on points are shown: the lowest that keeps false points on negative images to a stated rate.

A rate per negative image does not depend on how many images with nodules are among those that choose. The F1 does: a
cutoff with the best F1 where every second image has nodules shows far too many points where one in hundreds has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import params
from stages.lib.metrics.matching import distances, match
from stages.lib.metrics.ratios import f1_score
from stages.lib.metrics.sources import Sources

Splits = tuple[Literal["train", "val"], ...]  # that prompts and cutoffs are chosen on


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
        negatives: Images without a nodule.
        false_on_negatives: Points shown on these.
    """

    cutoff: float | None
    true_positives: int
    points: int
    nodules: int
    negatives: int
    false_on_negatives: int

    @property
    def f1(self) -> float:
        """F1 of the points; 0 without points or nodules."""
        return f1_score(self.true_positives, self.points, self.nodules) if self.points + self.nodules else 0.0

    @property
    def false_points_per_image(self) -> float | None:
        """Points per negative image; None if there is none."""
        return self.false_on_negatives / self.negatives if self.negatives else None


@params.section
class Cutoff:
    """From which confidence on a localizer's points are shown, and what that finds on the images that choose.

    Without negative images among these there are no counts, and a reason.
    """

    written_by: ClassVar[str] = "merge or combine"

    cutoff: float | None  # least confidence of a point that is shown; null if all are
    splits: Splits | None = None  # whose images chose, of this localizer
    f1: params.Fraction | None = None
    true_positives: params.NonNegativeInt | None = None  # points on a nodule, one to one
    points: params.NonNegativeInt | None = None
    nodules: params.NonNegativeInt | None = None
    images: params.Count | None = None
    negatives: params.NonNegativeInt | None = None  # negative ones among the images
    wanted_rate: params.PositiveFloat | None = None  # false points per negative image at most, as it was asked for
    false_points_per_image: params.NonNegativeFloat | None = None  # of these negative images, as it came out
    sources: Sources | None = None  # of the images that choose
    reason: str | None = None  # why nothing could be chosen

    @property
    def precision(self) -> float:
        """Fraction of the points that were right on the images that choose; 1 if there was none.

        >>> Cutoff(cutoff=None, true_positives=15, points=60).precision
        0.25
        """
        return self.true_positives / self.points if self.true_positives is not None and self.points else 1.0

    @property
    def kept(self) -> bool:
        """Whether the rate that was asked for is kept; a localizer without confidences cannot."""
        return self.false_points_per_image is None or self.false_points_per_image <= (self.wanted_rate or 0.0)


def chosen(counts: Counts, images: int, wanted_rate: float, sources: Sources, splits: Splits) -> Cutoff:
    """Document of a cutoff with these counts on so many images, of these sources and splits."""
    return Cutoff(
        splits=splits,
        cutoff=counts.cutoff,
        f1=counts.f1,
        true_positives=counts.true_positives,
        points=counts.points,
        nodules=counts.nodules,
        images=images,
        negatives=counts.negatives,
        wanted_rate=wanted_rate,
        false_points_per_image=counts.false_points_per_image,
        sources=sources,
    )


def at_rate(images: Sequence[Shown], rate: float) -> Counts:
    """Counts at the lowest cutoff with at most `rate` false points per negative image.

    If no cutoff keeps to the rate, they are those at the highest confidence there is. Points without a confidence are
    shown at every cutoff.

    Args:
        images: Images with nodules and without; the latter decide.
        rate: False points per image.
    """
    known = np.concatenate([np.zeros(0), *(image.confidence for image in images)])
    cutoffs = np.unique(known[~np.isnan(known)])
    wrong = np.concatenate([np.zeros(0), *(image.confidence for image in images if not len(image.nodules))])
    negatives = sum(not len(image.nodules) for image in images)
    if len(wrong) <= rate * negatives or not len(cutoffs):
        return count(images, None)
    ranked = np.sort(wrong[~np.isnan(wrong)])
    shown = np.isnan(wrong).sum() + len(ranked) - np.searchsorted(ranked, cutoffs)
    keeps = np.append(np.flatnonzero(shown <= rate * negatives), len(cutoffs) - 1)
    return count(images, float(cutoffs[keeps[0]]))


def count(images: Sequence[Shown], cutoff: float | None) -> Counts:
    """Counts if points of a confidence of `cutoff` or more, and those without one, are shown."""
    true_positives = points = negatives = false_on_negatives = 0
    for image in images:
        shown = image.points if cutoff is None else image.points[~(image.confidence < cutoff)]
        true_positives += len(match(distances(shown, image.nodules), image.threshold_px)[0])
        points += len(shown)
        if not len(image.nodules):
            negatives += 1
            false_on_negatives += len(shown)
    nodules = sum(len(image.nodules) for image in images)
    return Counts(cutoff, true_positives, points, nodules, negatives, false_on_negatives)
