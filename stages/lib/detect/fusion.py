"""Several voters on one image, brought together: votes for one place become one finding with a confidence.

A voter is a request, a view or a localizer. A vote joins the nearest finding so far that its voter has no part in; the
finding lies at the mean of its votes, weighted by their confidence, its box likewise (weighted box fusion). Its
confidence is the sum of its votes' confidences over the number of voters, a vote without one counting 1: so without
confidences it is the fraction of voters that agree.

Source: weighted box fusion: Solovyev, Wang & Gabruseva, Image and Vision Computing 107: 104117, 2021. Here a box is not
needed, each voter has one vote for a place, and voters that were silent count.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Link = Literal["distance", "iou"]


@dataclass(frozen=True)
class Place:
    """One finding on an image, pixels of the original.

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
        """What it counts as a vote."""
        return 1.0 if self.confidence is None else self.confidence


def consensus(voters: Sequence[Sequence[Place]], near: Callable[[Place, Place], float | None]) -> list[Place]:
    """Return what several voters found on one image, the most confident first.

    Args:
        voters: The findings of each voter, an empty sequence for one that found nothing. A single voter is left as it
            is, in its own order and with its own confidences.
        near: Returns how far apart two findings are, or None if they cannot be one; see `by_distance`, `by_iou`.

    >>> two = [[Place(0, 0, None, None, "a")], [Place(2, 0, None, None, "b"), Place(50, 0, None, None, None)]]
    >>> [(one.x, one.confidence, one.phrase) for one in consensus(two, by_distance(10))]
    [(1.0, 1.0, 'a'), (50.0, 0.5, None)]
    """
    if len(voters) == 1:
        return list(voters[0])
    votes = [(place, voter) for voter, places in enumerate(voters) for place in places]
    votes.sort(key=lambda vote: -vote[0].weight)
    groups: list[list[tuple[Place, int]]] = []
    for place, voter in votes:
        gaps = [
            (gap, number)
            for number, group in enumerate(groups)
            if voter not in {member for _, member in group}
            and (gap := near(_mean([one for one, _ in group]), place)) is not None
        ]
        if gaps:
            groups[min(gaps)[1]].append((place, voter))
        else:
            groups.append([(place, voter)])
    merged = []
    for group in groups:
        places = [place for place, _ in group]
        mean = _mean(places)
        merged.append(
            Place(mean.x, mean.y, mean.box, sum(place.weight for place in places) / len(voters), places[0].phrase)
        )
    return sorted(merged, key=lambda place: -place.weight)


def by_distance(radius_px: float) -> Callable[[Place, Place], float | None]:
    """Return a measure for which two findings are one if their points are at most `radius_px` apart."""

    def near(one: Place, other: Place) -> float | None:
        gap = float(np.hypot(one.x - other.x, one.y - other.y))
        return gap if gap <= radius_px else None

    return near


def by_iou(least: float, radius_px: float) -> Callable[[Place, Place], float | None]:
    """Return a measure for which two boxes are one if their intersection over union is at least `least`.

    A finding without a box is compared by its point, as `by_distance` does.
    """
    points = by_distance(radius_px)

    def near(one: Place, other: Place) -> float | None:
        if one.box is None or other.box is None:
            return points(one, other)
        found = iou(one.box, other.box)
        return 1 - found if found >= least else None

    return near


def iou(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Return the intersection over union of two boxes (left, top, right, bottom); 0 if neither has an area.

    >>> iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    whole = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / whole if whole > 0 else 0.0


def _mean(places: Sequence[Place]) -> Place:
    weights = np.array([max(place.weight, 1e-9) for place in places])
    x, y = (float(np.average([getattr(place, axis) for place in places], weights=weights)) for axis in "xy")
    boxed = [(place.box, weight) for place, weight in zip(places, weights, strict=True) if place.box is not None]
    box = None
    if boxed:
        edges = np.average([edges for edges, _ in boxed], axis=0, weights=[weight for _, weight in boxed]).tolist()
        box = (edges[0], edges[1], edges[2], edges[3])
    return Place(x, y, box, None, places[0].phrase)
