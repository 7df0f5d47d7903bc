"""Whether the pixels of an image look like a frontal chest radiograph: remarks, which drop nothing.

An image's grey values, as ranks on a small square, are correlated with a template of a chest: turned by quarters, and
with black and white exchanged. What fits much better than the upright template, and well, is remarked. All limits are
such that no image that they were chosen on is remarked: 31 radiographs of ChestX-ray14 and the demo's.

Not told here: a lateral view, and a mirrored image. There was nothing to choose a limit on.
"""

from collections.abc import Sequence

import numpy as np

from stages.lib.images import lung_field
from stages.lib.images.notices import Notice

# Left half of the mean of ranks of grey, the right half is its mirror: of the images above, which were made symmetric.
HALF_CHEST = (
    (-96, -95, -94, -85, -49, 6),
    (-66, -50, -46, -47, -41, 10),
    (-7, 10, 3, -30, -46, 14),
    (15, 34, 2, -51, -48, 27),
    (4, 32, -17, -59, -46, 35),
    (-17, 19, -36, -62, -22, 49),
    (-30, 4, -48, -51, 1, 61),
    (-36, -10, -44, -21, 25, 71),
    (-40, -15, -14, 22, 49, 82),
    (-42, -5, 32, 62, 74, 91),
    (-41, 17, 61, 81, 89, 99),
    (-38, 27, 68, 83, 90, 96),
)
LEAST_CORRELATION, LEAST_GAIN = 0.4, 0.25  # with the template of a remark, and over that with the upright one
QUARTERS = {1: "by 90 degrees clockwise", 2: "by 180 degrees", 3: "by 90 degrees counterclockwise"}
LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5  # what is black and white after normalization
BLACK, WHITE = 16, 239  # of 0..255: nearly so
MOST_NEARLY = 0.8  # fraction of an image that is nearly black, or nearly white
LEAST_OF_HALF = 0.02  # fraction of an image in the brighter, or darker, half of the range
BODY_PX = 64  # side of a mask of the body
LEAST_BODY = 0.1  # fraction of the image below which it is not known where the body is
AROUND_PX = 2  # by which a point may lie outside of the mask


def normalized(small: np.ndarray, low: float, high: float) -> np.ndarray:
    """A small image in grey values of the original as uint8, from the values that become black and white.

    >>> normalized(np.array([[0.0, 5.0, 20.0]]), 0.0, 10.0).tolist()
    [[0, 128, 255]]
    """
    return np.asarray(np.rint(np.clip((small - low) / max(high - low, 1e-6), 0, 1) * 255), np.uint8)


def remarks(pixels: np.ndarray) -> list[Notice]:
    """What is odd about an image's looks.

    Args:
        pixels: Normalized small image, uint8 (side, side), whatever the sides of the original.
    """
    return [*_range(pixels), *_turned(pixels)]


def _range(pixels: np.ndarray) -> list[Notice]:
    black, white = float((pixels < BLACK).mean()), float((pixels > WHITE).mean())
    bright = float((pixels >= 128).mean())
    found = []
    if black > MOST_NEARLY:
        found.append(Notice("nearly_black", f"{black:.0%} of it is nearly black after normalization"))
    if white > MOST_NEARLY:
        found.append(Notice("nearly_white", f"{white:.0%} of it is nearly white after normalization"))
    for fraction, which, what in ((bright, "brighter", "bright"), (1 - bright, "darker", "dark")):
        if fraction < LEAST_OF_HALF:
            text = f"{fraction:.1%} of it has the {which} half of the range of grey: a {what} marker or border?"
            found.append(Notice("marker", text))
    return found


def _turned(pixels: np.ndarray) -> list[Notice]:
    fits = chest_correlations(pixels)
    upright, inverted = fits[0], -fits[0]
    best = max(*fits, *(-fit for fit in fits))
    if best < LEAST_CORRELATION or best < upright + LEAST_GAIN:
        return []
    if best == inverted:
        return [Notice("inverted", "it seems to be inverted: bone dark, air bright")]
    return [Notice("rotated", f"it seems to be rotated {how}") for turn, how in QUARTERS.items() if best == fits[turn]]


def chest_correlations(pixels: np.ndarray) -> list[float]:
    """Pearson's correlation of an image's ranks of grey with a chest, upright and turned clockwise by 1 to 3 quarters.

    Args:
        pixels: uint8 (side, side).

    >>> chest_correlations(np.zeros((32, 32), np.uint8))
    [0.0, 0.0, 0.0, 0.0]
    """
    import cv2

    chest = np.array([(*row, *row[::-1]) for row in HALF_CHEST], float)
    chest -= chest.mean()
    small = cv2.resize(pixels.astype(np.float32), chest.shape, interpolation=cv2.INTER_AREA)
    order = np.sort(small, axis=None)
    ranks = (np.searchsorted(order, small, "left") + np.searchsorted(order, small, "right")) / (2 * order.size) - 0.5
    length = float(np.linalg.norm(ranks) * np.linalg.norm(chest))
    if not length:
        return [0.0] * 4
    return [float((np.rot90(ranks, turns) * chest).sum()) / length for turns in range(4)]


def body(pixels: np.ndarray) -> np.ndarray | None:
    """Where the body is, bool (BODY_PX, BODY_PX); None where it cannot be told.

    Args:
        pixels: Normalized small image, uint8 (side, side); air is dark.
    """
    import cv2

    found = lung_field.body(pixels).astype(np.float32)
    mask = cv2.resize(found, (BODY_PX, BODY_PX), interpolation=cv2.INTER_AREA) > 0.25
    return np.asarray(mask) if mask.mean() >= LEAST_BODY else None


def outside(mask: np.ndarray, x: float, y: float, size_px: Sequence[int]) -> bool:
    """Whether a point is clearly outside of the body.

    Args:
        mask: As `body`.
        x: Column, pixels of the original.
        y: Row.
        size_px: Width and height of the original.

    >>> left = np.repeat([[True] * 32 + [False] * 32], 64, axis=0)
    >>> outside(left, 300, 10, (640, 100)), outside(left, 360, 10, (640, 100))
    (False, True)
    """
    column, row = (int((at + 0.5) / side * BODY_PX) for at, side in zip((x, y), size_px, strict=True))
    near = mask[max(row - AROUND_PX, 0) : row + AROUND_PX + 1, max(column - AROUND_PX, 0) : column + AROUND_PX + 1]
    return not near.any()
