"""Perturbations of a normalized image: what an audit changes before it asks a model again.

Each function takes a uint8 square and returns a new one; the given one stays as it is. Randomness comes in as a
generator, so that equal arguments give equal pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from stages.lib.core.errors import ImageError

Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]

RING_FRACTION = 0.03  # of the side: width of the surroundings that a filled region is made like
DETAIL_FRACTION = 0.02  # of the side: what is finer counts as texture
STROKE_FRACTION = 0.06  # of the side: greatest width of a marker's strokes
MARKER_STEP = 60  # grey values that a stroke is brighter by than its surroundings
MARKER_REACH_FRACTION = 0.02  # of the side: a marker's blurred edge, filled with it
LEAST_MARKER_PX = 3  # of a marker; fewer pixels are noise


class Disc(NamedTuple):
    """A disc on a normalized image: centre and radius, pixels, 0 at the centre of the first pixel."""

    x: float
    y: float
    radius_px: float


def discs(side_px: int, found: Sequence[Disc]) -> np.ndarray:
    """Pixels that lie in any of some discs: bool, shape (side_px, side_px).

    >>> discs(3, [Disc(1, 1, 1.0)]).astype(int).tolist()
    [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    """
    rows, columns = np.mgrid[:side_px, :side_px]
    inside = np.zeros((side_px, side_px), bool)
    for x, y, radius_px in found:
        inside |= (columns - x) ** 2 + (rows - y) ** 2 <= radius_px**2
    return inside


def grown(region: np.ndarray, radius_px: float) -> np.ndarray:
    """A region and all within a distance of it: bool, the same shape; unchanged at a radius of less than 1 pixel."""
    import cv2

    reach = int(radius_px)
    if reach < 1:
        return region.copy()
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(region.astype(np.uint8), kernel) > 0


def filled(pixels: np.ndarray, region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Image whose region looks like its surroundings: inpainted, with the texture of a ring around it.

    Args:
        pixels: uint8, shape (side, side).
        region: bool, the same shape; what is taken away.
        rng: Of the texture.

    Raises:
        ImageError: If the region is the whole image.

    Source: Telea, Journal of Graphics Tools 9: 23, 2004, for the smooth part. The texture is ours: differences of the
        ring's pixels from their neighbourhood, drawn with replacement, the outer tenths cut off.
    """
    import cv2

    _check(pixels, region)
    if not region.any():
        return pixels.copy()
    side = pixels.shape[0]
    ring = grown(region, max(RING_FRACTION * side, 2.0)) & ~region
    if not ring.any():
        raise ImageError("the region to fill is the whole image, wanted surroundings to fill it from")
    smooth = cv2.inpaint(pixels, region.astype(np.uint8), 3, cv2.INPAINT_TELEA).astype(np.float64)
    # The neighbourhood of a ring's pixel must not reach into the region, or the region's edge becomes texture.
    local = cv2.GaussianBlur(smooth.astype(np.float32), (0, 0), max(DETAIL_FRACTION * side, 1.0))
    texture = pixels[ring].astype(np.float64) - local[ring]
    smooth = np.where(region, local, smooth)
    low, high = np.quantile(texture, (0.1, 0.9))  # what is beyond is an edge in the ring, and no texture
    texture = np.clip(texture, low, high)
    smooth[region] += rng.choice(texture - texture.mean(), int(region.sum()))
    return np.where(region, _grey(smooth), pixels)


def levelled(pixels: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Image whose region is one grey: the mean of what is left, so that nothing of the region remains but its outline.

    Args:
        pixels: uint8, shape (side, side).
        region: bool, the same shape; what is taken away.

    Raises:
        ImageError: If nothing would be left.

    >>> levelled(np.array([[9, 9], [9, 200]], np.uint8), np.array([[0, 0], [0, 1]], bool)).tolist()
    [[9, 9], [9, 9]]
    """
    _check(pixels, region)
    if region.all():
        raise ImageError("the region to level is the whole image, wanted something that is left")
    return np.where(region, np.uint8(round(float(pixels[~region].mean()))), pixels)


def elsewhere(taken: Sequence[Disc], field: np.ndarray, rng: np.random.Generator) -> tuple[Disc, ...]:
    """As many discs of the same radii, within a field and clear of the given ones and of each other.

    Args:
        taken: Discs to stay clear of.
        field: bool, shape (side, side); where the new ones lie.
        rng: Of their places.

    Raises:
        ImageError: If there is no room for one of them.
    """
    import cv2

    # Distance of each pixel to the outside of the field, with the image's edge as outside.
    depth = cv2.distanceTransform(np.pad(field, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    found: list[Disc] = []
    for disc in sorted(taken, key=lambda one: -one.radius_px):
        rows, columns = np.nonzero(depth > disc.radius_px)
        free = np.ones(len(rows), bool)
        for other in (*taken, *found):
            free &= np.hypot(columns - other.x, rows - other.y) > disc.radius_px + other.radius_px
        spots = np.flatnonzero(free)
        if not len(spots):
            raise ImageError(f"the lung field has no free place for a control disc of {disc.radius_px:.1f} pixels")
        spot = spots[rng.integers(len(spots))]
        found.append(Disc(float(columns[spot]), float(rows[spot]), disc.radius_px))
    return tuple(found)


def markers(pixels: np.ndarray, field: np.ndarray, *, level: int, max_fraction: float) -> np.ndarray:
    """Side markers and other drawn signs: small bright components outside the lung field, with sharp edges.

    A stroke is narrow, so that an opening of the image takes it away; what is lost by that is the stroke (the white
    top-hat). Bones are wider or softer.

    Args:
        pixels: uint8, shape (side, side).
        field: bool, the same shape: the lung field, in which nothing is taken for a marker.
        level: Least grey value of the brightest pixel of a marker, 1 .. 255.
        max_fraction: Greatest area of the square around one component, fraction of the image.

    Returns:
        bool, the same shape; with the blurred edges.

    Source: Serra, Image Analysis and Mathematical Morphology, 1982, for the top-hat; the rest is ours.
    """
    import cv2

    _check(pixels, field)
    side = pixels.shape[0]
    reach = max(round(STROKE_FRACTION * side / 2), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    strokes = cv2.morphologyEx(pixels, cv2.MORPH_TOPHAT, kernel) >= MARKER_STEP
    count, components, facts, _ = cv2.connectedComponentsWithStats(strokes.astype(np.uint8), connectivity=8)
    found = np.zeros(pixels.shape, bool)
    for number in range(1, count):
        one = components == number
        extent = max(facts[number, cv2.CC_STAT_WIDTH], facts[number, cv2.CC_STAT_HEIGHT])
        small = extent**2 <= max_fraction * one.size and facts[number, cv2.CC_STAT_AREA] >= LEAST_MARKER_PX
        if small and pixels[one].max() >= level and not (one & field).any():
            found |= grown(one, max(MARKER_REACH_FRACTION * side, 1.0))
    return found & ~field


def flat(pixels: np.ndarray) -> np.ndarray:
    """Image without content: its mean grey everywhere.

    >>> flat(np.array([[0, 10], [20, 30]], np.uint8)).tolist()
    [[15, 15], [15, 15]]
    """
    return np.full_like(pixels, round(float(pixels.mean())))


def noise(pixels: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Image with Gaussian noise.

    Args:
        pixels: uint8, shape (side, side).
        strength: Standard deviation, grey values.
        rng: Of the noise.
    """
    return _grey(pixels + rng.normal(0.0, strength, pixels.shape))


def blur(pixels: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Image blurred by a Gaussian.

    Args:
        pixels: uint8, shape (side, side).
        strength: Standard deviation, fraction of the side.
        rng: Not used.
    """
    import cv2

    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), strength * pixels.shape[0])) if strength else pixels.copy()


def contrast(pixels: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Image whose differences from its mean grey are multiplied.

    Args:
        pixels: uint8, shape (side, side).
        strength: Factor; 1 changes nothing, 0 leaves a flat image.
        rng: Not used.
    """
    mean = float(pixels.mean())
    return _grey(mean + strength * (pixels - mean))


def exposure(pixels: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Image as of another exposure: grey values between 0 and 1, to a power.

    Args:
        pixels: uint8, shape (side, side).
        strength: The power; 1 changes nothing, more is darker.
        rng: Not used.
    """
    return _grey(255.0 * (pixels / 255.0) ** strength)


def rotation(pixels: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Image turned about its centre, to a side that is drawn; corners that come into view are black, as padding is.

    Args:
        pixels: uint8, shape (side, side).
        strength: Angle, degrees.
        rng: Of the side.
    """
    import cv2

    side = pixels.shape[0]
    angle = strength * float(rng.choice([-1.0, 1.0]))
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, 1.0)
    return np.asarray(cv2.warpAffine(pixels, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=0))


def jpeg(pixels: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Image after JPEG compression.

    Args:
        pixels: uint8, shape (side, side).
        strength: Quality, 1 .. 100; less is worse.
        rng: Not used.
    """
    import cv2

    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, round(strength)])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE))


CORRUPTIONS: Mapping[str, Change] = {
    "noise": noise,
    "blur": blur,
    "contrast": contrast,
    "exposure": exposure,
    "rotation": rotation,
    "jpeg": jpeg,
}


def _grey(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _check(pixels: np.ndarray, region: np.ndarray) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or region.dtype != bool or region.shape != pixels.shape:
        raise ImageError(
            f"found pixels {pixels.dtype} of shape {pixels.shape} and a region {region.dtype} of shape {region.shape}; "
            "wanted uint8 and bool of one shape (side, side)"
        )
