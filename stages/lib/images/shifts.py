"""Sub-token shifts: an image moved by parts of an image token.

A model sees an image in tokens (squares of pixels, or another encoder's patches), and what it says depends on where
their edges fall. Moved by parts of a token, an image is seen once for each way that the edges can fall. It moves right
and down. Black comes in behind, as padding does, and what leaves the square is lost: nothing comes in again at the
other side.
"""

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from stages.lib.core.errors import ModelError


class Shift(NamedTuple):
    """How far an image is moved, in pixels of the normalized square."""

    down_px: int
    right_px: int


UNMOVED = Shift(0, 0)


class Load(Protocol):
    """Reader of a normalized image at one place: uint8 array of shape (side, side), or its vision features."""

    def __call__(self, path: Path, shift: Shift = UNMOVED, /) -> Any:
        """What the model takes of the image in a file, moved by `shift`."""


def places(shifts: int, token_px: int, parameter: str) -> list[Shift]:
    """Places that an image is moved to, `shifts` along each side of a token, row by row; the first is unmoved.

    Args:
        shifts: Places along a side. 1 is none but the image's own.
        token_px: Side of an image token, pixels.
        parameter: Name of the parameter, for the error.

    Raises:
        ModelError: If the shifts do not divide a token.

    >>> [(place.down_px, place.right_px) for place in places(2, 14, "nodules.infer.shifts")]
    [(0, 0), (0, 7), (7, 0), (7, 7)]
    """
    if token_px % shifts:
        raise ModelError(f"{parameter}: found {shifts}, wanted a divisor of {token_px}, an image token's side in px")
    step = token_px // shifts
    return [Shift(down * step, right * step) for down in range(shifts) for right in range(shifts)]


def shifted(images: np.ndarray, shift: Shift) -> np.ndarray:
    """Images moved right and down.

    Args:
        images: Array of shape (..., side, side).
        shift: How far.

    Returns:
        Array of the same shape; the images themselves if they are not moved.

    >>> shifted(np.array([[1, 2], [3, 4]]), Shift(0, 1))
    array([[0, 1],
           [0, 3]])
    """
    if shift == UNMOVED:
        return images
    down, right = shift
    rows, columns = images.shape[-2:]
    around = [(0, 0)] * (images.ndim - 2)
    return np.pad(images, [*around, (down, 0), (right, 0)])[..., :rows, :columns]
