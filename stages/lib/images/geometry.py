"""Coordinates: the only mapping between an original image, its padded square, and a normalized image.

Convention: x is the column, y the row, both from 0 at the *centre* of the top left pixel of the original. An image of
width w spans -0.5 .. w - 0.5. The original is padded with zeros to a centred square, then resized.
"""

from dataclasses import dataclass

from stages.lib.core import lengths


@dataclass(frozen=True)
class Geometry:
    """How one original image became a normalized one.

    Attributes:
        width_px: Width of the original, pixels.
        height_px: Height of the original, pixels.
        side_px: Side of the normalized square, pixels.
    """

    width_px: int
    height_px: int
    side_px: int

    @property
    def square_px(self) -> int:
        """Side of the padded square, original pixels."""
        return max(self.width_px, self.height_px)

    @property
    def pad_x_px(self) -> int:
        """Columns added on the left, original pixels."""
        return (self.square_px - self.width_px) // 2

    @property
    def pad_y_px(self) -> int:
        """Rows added at the top, original pixels."""
        return (self.square_px - self.height_px) // 2

    @property
    def scale(self) -> float:
        """Normalized pixels per original pixel."""
        return self.side_px / self.square_px

    @property
    def diagonal_px(self) -> float:
        """Diagonal of the original, pixels; thresholds of a hit are fractions of it."""
        return lengths.diagonal_px(self.width_px, self.height_px)

    def to_normalized(self, x: float, y: float) -> tuple[float, float]:
        """Point (x, y) of the original as a point of the normalized image.

        >>> Geometry(width_px=4, height_px=2, side_px=2).to_normalized(0.0, 0.0)
        (-0.25, 0.25)
        """
        return (
            (x + 0.5 + self.pad_x_px) * self.scale - 0.5,
            (y + 0.5 + self.pad_y_px) * self.scale - 0.5,
        )

    def to_original(self, x: float, y: float) -> tuple[float, float]:
        """Point (x, y) of the normalized image as a point of the original.

        >>> Geometry(width_px=4, height_px=2, side_px=2).to_original(-0.25, 0.25)
        (0.0, 0.0)
        """
        return (
            (x + 0.5) / self.scale - 0.5 - self.pad_x_px,
            (y + 0.5) / self.scale - 0.5 - self.pad_y_px,
        )

    def from_unit(self, u: float, v: float) -> tuple[float, float]:
        """Point at fractions (u, v) of the padded square, [0, 1] from edge to edge, in original pixels.

        >>> Geometry(width_px=4, height_px=2, side_px=2).from_unit(0.5, 0.5)
        (1.5, 0.5)
        """
        return u * self.square_px - 0.5 - self.pad_x_px, v * self.square_px - 0.5 - self.pad_y_px

    def to_unit(self, x: float, y: float) -> tuple[float, float]:
        """Point (x, y) of the original as fractions of the padded square, from edge to edge.

        >>> Geometry(width_px=4, height_px=2, side_px=2).to_unit(1.5, 0.5)
        (0.5, 0.5)
        """
        return (x + 0.5 + self.pad_x_px) / self.square_px, (y + 0.5 + self.pad_y_px) / self.square_px
