"""Points as tables give them: in pixels, in fractions of the side or on another image size.

A point in pixels is at 0 in the centre of the first pixel; a fraction is 0 at the edge of the image and 1 at the other.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from stages.lib.images.dataset import Point

AUTO, PIXELS, FRACTION = "auto", "pixels", "fraction"
SIZE = re.compile(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})")
COMMON_SIDES_PX = (224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 2048, 2500, 2544, 3000, 3072, 4096)
MIN_IN_CORNER = 10  # points that all lie in the same quarter by chance once in a million tables


def check_unit(unit: str) -> str:
    """The unit, if it is one.

    Raises:
        ValueError: With what is wanted, if not.
    """
    if unit in (AUTO, PIXELS, FRACTION) or SIZE.fullmatch(unit):
        return unit
    raise ValueError("auto, pixels, fraction, or the width and height of the images they were marked on, as 1024x1024")


def converted(point: Point, unit: str, width_px: int, height_px: int) -> Point:
    """A point in pixels of its image.

    Args:
        point: In `unit`.
        unit: pixels or auto (nothing is done), fraction, or the size of another image, as 1024x1024.
        width_px: Width of the image.
        height_px: Height.

    >>> converted(Point(0.5, 0.5), "fraction", 512, 256)  # doctest: +ELLIPSIS
    Point(x=255.5, y=127.5, ...
    >>> at = converted(Point(511.5, 0.0, box_width_px=8, box_height_px=8), "1024x1024", 512, 2048)
    >>> (at.x, at.y, at.box_width_px, at.box_height_px)
    (255.5, 0.5, 4.0, 16.0)
    """
    if unit in (AUTO, PIXELS):
        return point
    size = SIZE.fullmatch(unit)
    scale_x, scale_y, shift = float(width_px), float(height_px), 0.0
    if size:
        scale_x, scale_y, shift = width_px / int(size[1]), height_px / int(size[2]), 0.5
    return replace(
        point,
        x=(point.x + shift) * scale_x - 0.5,
        y=(point.y + shift) * scale_y - 0.5,
        diameter_px=None if point.diameter_px is None else point.diameter_px * (scale_x * scale_y) ** 0.5,
        box_width_px=None if point.box_width_px is None else point.box_width_px * scale_x,
        box_height_px=None if point.box_height_px is None else point.box_height_px * scale_y,
    )


def doubt(points: Mapping[str, Sequence[Point]], sizes: Mapping[str, tuple[int, int]], unit: str) -> str | None:
    """Why the points of a folder seem not to be in pixels of their images, and what to do; None if they may be.

    Args:
        points: Of each image.
        sizes: Width and height of each image that could be read.
        unit: `data.ingest.points_unit`; anything but auto is believed.
    """
    if unit != AUTO:
        return None
    placed = [_corner(point) for of_image in points.values() for point in of_image]
    values = [value for place in placed for value in place]
    if not placed:
        return None
    if all(0 <= value <= 1 for value in values) and not all(value.is_integer() for value in values):
        return (
            f"all {len(placed)} points of the tables lie within 0 and 1, which are no pixels but may be fractions of "
            "the side: set data.ingest.points_unit to fraction, or to pixels"
        )
    fractions = [
        (x / sizes[name][0], y / sizes[name][1])
        for name, of_image in points.items()
        if name in sizes
        for x, y in map(_corner, of_image)
    ]
    if len(fractions) >= MIN_IN_CORNER and all(0 <= x <= 0.5 and 0 <= y <= 0.5 for x, y in fractions):
        side = max(values)
        common = next((one for one in COMMON_SIDES_PX if side <= one), None)
        return (
            f"all {len(placed)} points of the tables lie in the top left quarter of their images, so that they seem to "
            f"have been marked on smaller ones: set data.ingest.points_unit to the size of those, such as "
            f"{common or 512}x{common or 512}, or to pixels"
        )
    return None


def reach(points: Mapping[str, Sequence[Point]]) -> float:
    """Largest coordinate of all points of a folder."""
    return max((max(_corner(point)) for of_image in points.values() for point in of_image), default=0.0)


def hint(reach: float, width_px: int, height_px: int, unit: str) -> str:
    """What may be the reason that a point lies outside of its image; nothing if there is none.

    Args:
        reach: Largest coordinate of all points of the folder.
        width_px: Width of the image.
        height_px: Its height.
        unit: `data.ingest.points_unit`.

    >>> hint(900, 512, 512, "auto")[:62]
    '; all points would fit images of 1024 x 1024: if they were mar'
    """
    side = next((one for one in COMMON_SIDES_PX if reach <= one), None)
    if unit != AUTO or side is None or side <= max(width_px, height_px):
        return ""
    told = f"all points would fit images of {side} x {side}: if they were marked on such, set"
    return f"; {told} data.ingest.points_unit to {side}x{side}"


def _corner(point: Point) -> tuple[float, float]:
    """Place as the table may have had it: the centre of a box in pixels is half a pixel before that of its edges."""
    shift = 0.0 if point.box_width_px is None else 0.5
    return point.x + shift, point.y + shift
