"""Augmentation of training images: small movements, turns, brightness and contrast, the same for a sample each time.

What it may do is bounded so that no nodule leaves the image: whatever lies in the middle of the image, `INNER` of its
width and of its height, stays within it at every movement and turn. What leaves the square is lost, and black comes
in behind, as padding does; nothing comes in again at the other side. Left and right are only exchanged where a row
says so, that is where no question and no label speaks of a side.
"""

from math import cos, radians, sin
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import params

INNER = 0.8  # of the width and of the height: what lies within stays within the image
STREAM = 2  # of random numbers, beside those of the order of the same seed
GREYS = 255


@params.section
class AugmentParams:
    """How far a training image may differ from itself; 0 and false leave it as it is."""

    max_shift_fraction: params.Fraction  # of the side, in each direction
    max_rotation_degrees: params.NonNegativeFloat  # to either side, about the middle
    mirror: bool  # exchange left and right in half of the cases; false where anything speaks of a side
    max_brightness_fraction: params.Fraction  # of the range of grey values, added
    max_contrast_fraction: params.Fraction  # of an image's contrast about its mean, added or taken away

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        kept = inner_fraction(self.max_shift_fraction, self.max_rotation_degrees)
        if kept < INNER:
            raise ValueError(
                f"max_shift_fraction {self.max_shift_fraction:g} with max_rotation_degrees "
                f"{self.max_rotation_degrees:g}, by which only the inner {kept:.2f} of the sides stays within the "
                f"image; wanted at least {INNER}, so that no nodule leaves it"
            )


class Change(NamedTuple):
    """How one image is changed.

    Attributes:
        down_fraction: Movement down, as fraction of the side.
        right_fraction: Movement to the right.
        degrees: Turn about the middle, counter-clockwise.
        mirrored: Whether left and right are exchanged, before all else.
        brightness: Added, as fraction of the range of grey values.
        contrast: Factor of the distance from the image's mean.
    """

    down_fraction: float
    right_fraction: float
    degrees: float
    mirrored: bool
    brightness: float
    contrast: float


def inner_fraction(max_shift_fraction: float, max_rotation_degrees: float) -> float:
    """Fraction of each side, about the middle, that stays within the image at every movement and turn.

    A corner of the square of half side h, turned by a, lies h (cos a + sin a) from the middle along a side, and a shift
    by s takes it to at most h (cos a + sin a) + s, which is to be 1/2. Beyond 45 degrees nothing is promised.

    >>> inner_fraction(0.05, 0.0), inner_fraction(0.0, 90.0)
    (0.9, 0.0)
    """
    if max_rotation_degrees > 45:
        return 0.0
    angle = radians(max_rotation_degrees)
    return max(1 - 2 * max_shift_fraction, 0.0) / (cos(angle) + sin(angle))


def drawn(given: AugmentParams, seed: int, sample: int) -> Change:
    """Change of a sample, a function of its number and the seed alone.

    Args:
        given: Bounds.
        seed: Of the training.
        sample: Number of the sample in the order of training.
    """
    rng = np.random.default_rng([seed, STREAM, sample])
    down, right, turn, bright, contrast = rng.uniform(-1, 1, size=5).tolist()
    return Change(
        down_fraction=down * given.max_shift_fraction,
        right_fraction=right * given.max_shift_fraction,
        degrees=turn * given.max_rotation_degrees,
        mirrored=given.mirror and bool(rng.random() < 1 / 2),
        brightness=bright * given.max_brightness_fraction,
        contrast=1 + contrast * given.max_contrast_fraction,
    )


def changed(image: NDArray[np.uint8], change: Change) -> NDArray[np.uint8]:
    """An image, changed: grey values first, so that what comes in behind is black.

    Args:
        image: uint8 array of shape (side, side).
        change: How.

    Returns:
        Array of the same shape.

    >>> changed(np.array([[1, 2], [3, 4]], np.uint8), Change(0, 0.5, 0, True, 0, 1))
    array([[0, 2],
           [0, 4]], dtype=uint8)
    """
    import cv2

    found = np.ascontiguousarray(image[:, ::-1]) if change.mirrored else image
    if change.brightness or change.contrast != 1:
        values = found.astype(np.float32)
        values = (values - values.mean()) * np.float32(change.contrast) + values.mean()
        found = np.clip(np.rint(values + change.brightness * GREYS), 0, GREYS).astype(np.uint8)
    if not (change.down_fraction or change.right_fraction or change.degrees):
        return found
    side, middle = len(found), (len(found) - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), change.degrees, 1.0)
    matrix[:, 2] += np.array([change.right_fraction, change.down_fraction]) * side
    return np.asarray(cv2.warpAffine(found, matrix, (side, side), flags=cv2.INTER_LINEAR), np.uint8)
