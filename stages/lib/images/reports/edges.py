"""Edges of boxes: from the unit of the data to pixels of the original, and what is wrong with a box.

0 is the left (top) border of the image, its width (height) or 1 the right (bottom) one.
"""

import math

from stages.lib.images.reports.reported import Box, Edges

PIXELS, FRACTION = "pixels", "fraction"
SLACK_PX = 1.0  # by which an edge may lie outside, as rounding makes it; it is put on the border
CLEARLY = 2.0  # times the side beyond which an edge in fractions is none at all


def in_pixels(edges: Edges, unit: str, width_px: int, height_px: int) -> Edges:
    """Edges in pixels of the original, those that lie outside put on its border.

    >>> in_pixels((0.25, 0.0, 0.5, 1.0), "fraction", 800, 1000), in_pixels((-0.4, 3, 9, 8), "pixels", 10, 8)
    ((200.0, 0.0, 400.0, 1000.0), (0.0, 3.0, 9.0, 8.0))
    """
    x, y = (float(width_px), float(height_px)) if unit == FRACTION else (1.0, 1.0)
    left, top, right, bottom = edges[0] * x, edges[1] * y, edges[2] * x, edges[3] * y
    return _within(left, width_px), _within(top, height_px), _within(right, width_px), _within(bottom, height_px)


def _within(value: float, size: int) -> float:
    return min(max(float(value), 0.0), float(size))


def fault(box: Box, width_px: int, height_px: int) -> str | None:
    """What is wrong with a box: what was found, and what was wanted; None if nothing is.

    Args:
        box: In its own unit.
        width_px: Width of the original.
        height_px: Height.

    >>> fault(Box(0, "first", (10, 20, 30, 40), "fraction", "10, 20, 30, 40", "boxes.csv line 2"), 64, 64)
    'boxes.csv line 2: found the box (10, 20, 30, 40) in pixels, wanted fractions from 0 to 1, as its unit says'
    """
    wrong = _wrong(box.edges, box.unit, width_px, height_px)
    return wrong and f"{box.where}: found the box ({box.told}) {wrong}"


def _wrong(edges: Edges, unit: str, width_px: int, height_px: int) -> str | None:
    left, top, right, bottom = edges
    if not all(map(math.isfinite, edges)):
        return "with an edge that is no number, wanted four numbers"
    if unit == FRACTION and max(map(abs, edges)) > CLEARLY:
        return "in pixels, wanted fractions from 0 to 1, as its unit says"
    if unit == PIXELS and all(0 <= edge <= 1 for edge in edges):
        return "in fractions, wanted pixels of the original, as its unit says"
    if right < left or bottom < top:
        return "with its corners swapped, wanted left, top, right, bottom"
    if right == left or bottom == top:
        return "without an area, wanted a right edge beyond the left one and a bottom below the top"
    scale_x, scale_y = (width_px, height_px) if unit == FRACTION else (1, 1)
    outside = max(-left * scale_x, -top * scale_y, right * scale_x - width_px, bottom * scale_y - height_px)
    if outside > SLACK_PX:
        return f"outside of the image by {outside:.4g} pixels, wanted edges within its {width_px} x {height_px} pixels"
    x0, y0, x1, y1 = in_pixels(edges, unit, width_px, height_px)
    return None if x1 > x0 and y1 > y0 else f"outside of the image, wanted edges within its {width_px} x {height_px}"
