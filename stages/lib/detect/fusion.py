"""Fusion of the candidates that several detectors found on one image: those of one nodule become one.

A detector is a prompt, a view or a localizer. A candidate joins the nearest group so far in which its detector has no
part. A group lies at the mean of its candidates, weighted by their confidence, its box likewise (weighted box fusion).
Its confidence is the sum of its candidates' confidences over the number of detectors, a candidate without one counting
1: so without confidences it is the fraction of detectors that agree.

Source: weighted box fusion: Solovyev, Wang & Gabruseva, Image and Vision Computing 107: 104117, 2021. Here a box is not
needed, each detector has at most one candidate in a group, and detectors that found nothing count.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Link = Literal["distance", "iou"]


@dataclass(frozen=True)
class Candidate:
    """One detection on an image, pixels of the original.

    Attributes:
        x: Column of the point.
        y: Row of the point.
        box: Left, top, right, bottom; None if there is none.
        confidence: In [0, 1]; None if there is none.
        phrase: The model's name of it; None if it gave none.
    """

    x: float
    y: float
    box: tuple[float, float, float, float] | None
    confidence: float | None
    phrase: str | None

    @property
    def weight(self) -> float:
        """Weight in the mean of its group."""
        return 1.0 if self.confidence is None else self.confidence


def consensus(
    detectors: Sequence[Sequence[Candidate]], near: Callable[[Candidate, Candidate], float | None]
) -> list[Candidate]:
    """Fused candidates of one image, the most confident first.

    Args:
        detectors: Candidates of each detector, an empty sequence for one that found nothing. A single detector is left
            as it is, in its own order and with its own confidences.
        near: Returns how far apart two candidates are, or None if they cannot be one; see `by_distance`, `by_iou`.

    >>> first, other = [Candidate(0, 0, None, None, "a")], [Candidate(2, 0, None, None, "b")]
    >>> two = [first, [*other, Candidate(50, 0, None, None, None)]]
    >>> [(one.x, one.confidence, one.phrase) for one in consensus(two, by_distance(10))]
    [(1.0, 1.0, 'a'), (50.0, 0.5, None)]
    """
    if len(detectors) == 1:
        return list(detectors[0])
    pairs = [(candidate, detector) for detector, candidates in enumerate(detectors) for candidate in candidates]
    pairs.sort(key=lambda pair: -pair[0].weight)
    groups: list[list[tuple[Candidate, int]]] = []
    for candidate, detector in pairs:
        gaps = [
            (gap, number)
            for number, group in enumerate(groups)
            if detector not in {member for _, member in group}
            and (gap := near(_mean([one for one, _ in group]), candidate)) is not None
        ]
        if gaps:
            groups[min(gaps)[1]].append((candidate, detector))
        else:
            groups.append([(candidate, detector)])
    merged = []
    for group in groups:
        candidates = [candidate for candidate, _ in group]
        mean = _mean(candidates)
        merged.append(
            Candidate(
                mean.x,
                mean.y,
                mean.box,
                sum(candidate.weight for candidate in candidates) / len(detectors),
                candidates[0].phrase,
            )
        )
    return sorted(merged, key=lambda candidate: -candidate.weight)


def by_distance(radius_px: float) -> Callable[[Candidate, Candidate], float | None]:
    """A measure for which two findings are one if their points are at most `radius_px` apart."""

    def near(one: Candidate, other: Candidate) -> float | None:
        gap = float(np.hypot(one.x - other.x, one.y - other.y))
        return gap if gap <= radius_px else None

    return near


def by_iou(least: float, radius_px: float) -> Callable[[Candidate, Candidate], float | None]:
    """A measure for which two boxes are one if their intersection over union is at least `least`.

    A finding without a box is compared by its point, as `by_distance` does.
    """
    points = by_distance(radius_px)

    def near(one: Candidate, other: Candidate) -> float | None:
        if one.box is None or other.box is None:
            return points(one, other)
        found = iou(one.box, other.box)
        return 1 - found if found >= least else None

    return near


def iou(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom); 0 if neither has an area.

    >>> iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    whole = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / whole if whole > 0 else 0.0


def _mean(candidates: Sequence[Candidate]) -> Candidate:
    weights = np.array([max(candidate.weight, 1e-9) for candidate in candidates])
    x, y = (float(np.average([getattr(candidate, axis) for candidate in candidates], weights=weights)) for axis in "xy")
    boxed = [
        (candidate.box, weight)
        for candidate, weight in zip(candidates, weights, strict=True)
        if candidate.box is not None
    ]
    box = None
    if boxed:
        edges = np.average([edges for edges, _ in boxed], axis=0, weights=[weight for _, weight in boxed]).tolist()
        box = (edges[0], edges[1], edges[2], edges[3])
    return Candidate(x, y, box, None, candidates[0].phrase)
