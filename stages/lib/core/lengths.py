"""Lengths on an image, in pixels."""

import math


def diagonal_px(width_px: float, height_px: float) -> float:
    """Diagonal of an image of width_px columns and height_px rows; tolerances are fractions of it.

    >>> diagonal_px(30, 40)
    50.0
    """
    return math.hypot(width_px, height_px)
