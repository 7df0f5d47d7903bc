"""Normalization of grey values: one function makes the pixels of training and of inference.

An image is clipped to two of its own percentiles, mapped to 0..255, padded with zeros to a centred square (with the
geometry of `geometry`) and resized. It is rounded once, at the end, so that a 16-bit image keeps the grey
steps that averaging brings out.
"""

import numpy as np

from stages.lib.core import files
from stages.lib.core.errors import ImageError
from stages.lib.images.geometry import Geometry

VERSION = 1  # part of the preprocessing hash: raise it with any change that alters a pixel
EXACT_COUNT_PX = 1 << 24  # cv2 counts in float32, which is exact up to here


def histogram(pixels: np.ndarray) -> np.ndarray:
    """How often each grey value occurs.

    Args:
        pixels: Grey values, uint8 or uint16, shape (height, width).

    Returns:
        Counts, int64, shape (256,) or (65536,).

    Raises:
        ImageError: If `pixels` is not an image of one of these types.

    >>> histogram(np.array([[0, 2, 2]], np.uint8))[:3]
    array([1, 0, 2])
    """
    import cv2

    if pixels.ndim != 2 or not pixels.size or pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"found {pixels.dtype} of shape {pixels.shape}, wanted uint8 or uint16 of (height, width)")
    bins = int(np.iinfo(pixels.dtype).max) + 1
    rows = max(1, EXACT_COUNT_PX // pixels.shape[1])
    counts = np.zeros(bins, np.int64)
    for top in range(0, pixels.shape[0], rows):
        block = np.ascontiguousarray(pixels[top : top + rows])
        counts += cv2.calcHist([block], [0], None, [bins], [0, bins]).ravel().astype(np.int64)
    return counts


def coarse_histogram(pixels: np.ndarray) -> list[int]:
    """How many pixels of a normalized image lie in each of 64 bins of 4 grey values: what a probe sees of it.

    Args:
        pixels: uint8, shape (side, side).

    >>> coarse_histogram(np.array([[0, 3], [4, 255]], np.uint8))[:3]
    [2, 1, 0]
    """
    return [int(count) for count in np.bincount(pixels.ravel() >> 2, minlength=64)]


def percentile(counts: np.ndarray, percent: float) -> float:
    """A percentile of the values that `counts` counts, to the last bit that of `np.percentile(method="linear")`.

    Args:
        counts: How often each value 0, 1, 2, ... occurs; at least one value does.
        percent: The percentile, [0, 100].

    >>> percentile(np.array([1, 0, 2]), 50.0)  # of the values 0, 2, 2
    2.0
    >>> percentile(np.array([1, 0, 2]), 25.0)
    1.0
    """
    cumulative = np.cumsum(counts)
    last = int(cumulative[-1]) - 1
    position = last * (percent / 100)
    below = int(position)
    weight = position - below
    low, high = (float(np.searchsorted(cumulative, rank, side="right")) for rank in (below, min(below + 1, last)))
    # The two forms differ in the last bit; numpy takes the one that is exact at the nearer end.
    return high - (high - low) * (1 - weight) if weight >= 0.5 else low + (high - low) * weight


def normalize_pixels(
    pixels: np.ndarray,
    *,
    low_percentile: float,
    high_percentile: float,
    side_px: int,
    counts: np.ndarray | None = None,
) -> tuple[np.ndarray, float, float]:
    """Normalized image, and the grey values that became 0 and 255.

    Shrinking averages over areas: it keeps small nodules, which sampling would lose. Enlarging is bilinear: it invents
    no grey value beyond those of the neighbours, as a cubic would.

    Args:
        pixels: Grey values of the original, uint8 or uint16, shape (height, width).
        low_percentile: Percentile of the grey values that becomes 0, [0, 100].
        high_percentile: Percentile of the grey values that becomes 255, [0, 100].
        side_px: Side of the normalized image, pixels.
        counts: `histogram` of `pixels`, where it is known already.

    Returns:
        The image, uint8 of shape (side_px, side_px), and the grey values of the two percentiles.

    Raises:
        ImageError: If the two percentiles are the same grey value: the image would become one flat grey.

    >>> image, low, high = normalize_pixels(
    ...     np.array([[10, 20], [20, 30]], np.uint8), low_percentile=0.0, high_percentile=100.0, side_px=2
    ... )
    >>> image.tolist(), low, high
    ([[0, 128], [128, 255]], 10.0, 30.0)
    """
    import cv2

    if counts is None:
        counts = histogram(pixels)
    low, high = percentile(counts, low_percentile), percentile(counts, high_percentile)
    if low >= high:
        raise ImageError(
            f"its percentiles {low_percentile} and {high_percentile} are both {low:g}, wanted two grey values:"
            " take the image out of the data folder, or widen the percentiles"
        )
    height_px, width_px = pixels.shape
    geometry = Geometry(width_px=width_px, height_px=height_px, side_px=side_px)
    table = (np.clip((np.arange(counts.size) - low) / (high - low), 0, 1) * 255).astype(np.float32)
    top, left = geometry.pad_y_px, geometry.pad_x_px
    bottom, right = geometry.square_px - height_px - top, geometry.square_px - width_px - left
    square = cv2.LUT(np.ascontiguousarray(pixels), table)
    if top or bottom or left or right:
        square = cv2.copyMakeBorder(square, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0.0)
    if side_px != geometry.square_px:
        rule = cv2.INTER_AREA if side_px < geometry.square_px else cv2.INTER_LINEAR
        square = cv2.resize(square, (side_px, side_px), interpolation=rule)
    return np.rint(square).astype(np.uint8), low, high


def preprocessing_hash(*, low_percentile: float, high_percentile: float, side_px: int) -> str:
    """Hash of everything that decides the pixels of a normalized image, 64 hexadecimal digits.

    It travels with an adapter; two images are comparable only if their hashes are equal.
    """
    return files.sha256_json(
        {
            "function": "normalize_pixels",
            "version": VERSION,
            "low_percentile": float(low_percentile),
            "high_percentile": float(high_percentile),
            "side_px": side_px,
            "pad": "zeros, centred",
            "shrink": "area",
            "enlarge": "bilinear",
        }
    )
