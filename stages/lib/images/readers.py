"""Nodules that several readers have marked with boxes: one point for each nodule that enough of them marked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from stages.lib.images.dataset import Point

SAME_IOU = 0.3  # intersection over union from which two boxes mark one nodule
RULES = ("any", "majority", "all")


def enough(seen: int, readers: int, rule: str) -> bool:
    """Whether so many of the readers are as many as `rule` wants.

    >>> [enough(1, 3, rule) for rule in RULES], [enough(2, 3, rule) for rule in RULES]
    ([True, False, False], [True, True, False])
    """
    return seen > 0 and {"any": True, "majority": 2 * seen > readers, "all": seen >= readers}[rule]


def same_nodule(one: Point, other: Point) -> bool:
    """Whether two boxes mark one nodule: their intersection over union is at least `SAME_IOU`, or the centre of one
    lies in the other.

    >>> same_nodule(Point(0, 0, box_width_px=4, box_height_px=4), Point(1, 0, box_width_px=20, box_height_px=20))
    True
    """
    sides = [
        (one.box_width_px or 0.0, one.box_height_px or 0.0),
        (other.box_width_px or 0.0, other.box_height_px or 0.0),
    ]
    away = abs(one.x - other.x), abs(one.y - other.y)
    if any(away[0] <= width / 2 and away[1] <= height / 2 for width, height in sides):
        return True
    (width, height), (other_width, other_height) = sides
    shared = [
        max(0.0, min(a, b, (a + b) / 2 - gap))
        for a, b, gap in ((width, other_width, away[0]), (height, other_height, away[1]))
    ]
    both = shared[0] * shared[1]
    union = width * height + other_width * other_height - both
    return union > 0 and both / union >= SAME_IOU


def agreed(by_reader: Mapping[str, Sequence[Point]], readers: int, rule: str) -> tuple[list[Point], int]:
    """Nodules of one image that enough readers marked, each the mean of its boxes, and the number of points left out.

    Boxes that mark one nodule are put together, and those that mark one with any of them: of a chain of boxes one point
    is made. The order is that of the first box of each. Points without boxes have no size by which to tell whether they
    are of one nodule, and are all kept.

    Args:
        by_reader: Points of each reader who has marked some.
        readers: Readers of the image, those included who have marked nothing.
        rule: any, majority (more than half of the readers) or all.

    >>> box = {"box_width_px": 8, "box_height_px": 8}
    >>> two = {"a": [Point(10, 10, **box)], "b": [Point(12, 10, **box)]}
    >>> [(point.x, point.y) for point in agreed(two, 3, "majority")[0]], agreed(two, 3, "all")
    ([(11.0, 10.0)], ([], 2))
    """
    kept = [point for points in by_reader.values() for point in points if point.box_width_px is None]
    boxes = [(who, box) for who, points in by_reader.items() for box in points if box.box_width_px is not None]
    group = list(range(len(boxes)))
    for place, (_, box) in enumerate(boxes):
        for before in range(place):
            if group[before] != group[place] and same_nodule(box, boxes[before][1]):
                first, last = sorted((group[before], group[place]))
                group = [first if one == last else one for one in group]
    left = 0
    for number in dict.fromkeys(group):
        members = [marked for marked, one in zip(boxes, group, strict=True) if one == number]
        if enough(len({who for who, _ in members}), readers, rule):
            kept.append(mean([box for _, box in members]))
        else:
            left += len(members)
    return kept, left


def mean(boxes: Sequence[Point]) -> Point:
    """The mean of some boxes, in centre and size; the rest as the first has it.

    >>> mean([Point(0, 0, box_width_px=2, box_height_px=2), Point(1, 3, box_width_px=4, box_height_px=6)])
    Point(x=0.5, y=1.5, diameter_mm=None, diameter_px=None, contrast=None, box_width_px=3.0, box_height_px=4.0)
    """
    if len(boxes) == 1:
        return boxes[0]
    return replace(
        boxes[0],
        x=fmean(box.x for box in boxes),
        y=fmean(box.y for box in boxes),
        box_width_px=fmean(box.box_width_px or 0.0 for box in boxes),
        box_height_px=fmean(box.box_height_px or 0.0 for box in boxes),
    )
