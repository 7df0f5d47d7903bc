"""Soft-edged ellipses on the pixels of a slice, in the coordinates of a body."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

SOFT_PX = 1.0  # width of an edge


@dataclass(frozen=True)
class Plane:
    """The pixels of a slice, and how a body lies on them.

    The body's u grows to the image's right (the patient's left) and its v downwards; the widest body ends at u -1
    and 1.

    Attributes:
        side_px: Width and height, pixels.
        x: Column of the body's middle, pixels.
        y: Row of it.
        scale: Pixels of one unit of the body.
        turn: Rotation of the body, radians.
    """

    side_px: int
    x: float
    y: float
    scale: float
    turn: float

    def to_pixels(self, u: float, v: float) -> tuple[float, float]:
        """Column and row of a point of the body.

        >>> Plane(100, x=50, y=40, scale=30, turn=0).to_pixels(0.5, -1)
        (65.0, 10.0)
        """
        cos, sin = float(np.cos(self.turn)), float(np.sin(self.turn))
        return self.x + self.scale * (cos * u - sin * v), self.y + self.scale * (sin * u + cos * v)

    @cached_property
    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Column and row of each pixel, float32, shapes (1, side_px) and (side_px, 1)."""
        line = np.arange(self.side_px, dtype=np.float32)
        return line[None, :], line[:, None]

    @cached_property
    def body(self) -> tuple[np.ndarray, np.ndarray]:
        """The body's u and v of each pixel, float32, shape (side_px, side_px)."""
        x, y = (line - middle for line, middle in zip(self.pixels, (self.x, self.y), strict=True))
        cos, sin = float(np.cos(self.turn)) / self.scale, float(np.sin(self.turn)) / self.scale
        return cos * x + sin * y, cos * y - sin * x

    def ellipse(self, u: float, v: float, across: float, down: float) -> np.ndarray:
        """Coverage of each pixel, [0, 1], by an ellipse of the body: its middle and half axes, in the body's units."""
        at_u, at_v = self.body
        distance = np.hypot((at_u - u) / across, (at_v - v) / down)
        return soft((1 - distance) * min(across, down) * self.scale)

    def disc(self, x: float, y: float, radius_px: float) -> np.ndarray:
        """Coverage of each pixel, [0, 1], by a disc on the slice, in pixels."""
        columns, rows = self.pixels
        return soft(radius_px - np.hypot(columns - x, rows - y))


def soft(depth_px: np.ndarray) -> np.ndarray:
    """Coverage of pixels at a depth within an edge, negative outside.

    >>> soft(np.array([-1.0, 0.0, 0.25, 3.0])).tolist()
    [0.0, 0.5, 0.75, 1.0]
    """
    return np.clip(depth_px / SOFT_PX + 0.5, 0, 1)


def blend(grey: np.ndarray, over: np.ndarray | float, coverage: np.ndarray) -> np.ndarray:
    """`grey` with something over it, as far as that covers each pixel."""
    return grey + coverage * (over - grey)
