"""Nodules: lumpy bodies with a soft edge, some with spicules, and the exact truth about each."""

from dataclasses import dataclass

import numpy as np

from stages.lib.demo.synthetic.canvas import Frame

SPICULATED_FRACTION = 0.25
SOLID_MM_PER_MM = 0.75
CONTRAST_GAIN = 3.2
MOST_MM = 60.0  # greatest diameter


def problems(*, min_diameter_mm: float, max_diameter_mm: float, min_contrast: float, max_contrast: float) -> list[str]:
    """What is wanted of the sizes and contrasts of simulated nodules, and is not so; contrasts are grades, [0, 1].

    >>> problems(min_diameter_mm=20, max_diameter_mm=10, min_contrast=0.2, max_contrast=0.4)
    ['min_diameter_mm up to max_diameter_mm (10)']
    """
    found = []
    if min_diameter_mm > max_diameter_mm:
        found.append(f"min_diameter_mm up to max_diameter_mm ({max_diameter_mm:g})")
    if max_diameter_mm > MOST_MM:
        found.append(f"max_diameter_mm up to {MOST_MM:g}: what is larger is no nodule and may not fit the lung")
    if min_contrast > max_contrast:
        found.append(f"min_contrast up to max_contrast ({max_contrast:g})")
    return found


@dataclass(frozen=True)
class Nodule:
    """The truth about one nodule.

    Attributes:
        x: Column of the centre of the added path length, pixels, as in stages.lib.images.geometry.
        y: Row of it.
        diameter_px: Diameter of the circle that has the area of the body (without spicules), pixels.
        diameter_mm: The same, millimetres on the image.
        contrast: Grade, [0, 1]: 1 is as dense as a nodule of this size gets, 0 adds nothing.
        zone: Where it lies: upper, middle, lower, hilum, heart (its edge and behind it) or dome (and below it).
    """

    x: float
    y: float
    diameter_px: float
    diameter_mm: float
    contrast: float
    zone: str


def body(
    rng: np.random.Generator, frame: Frame, x: float, y: float, diameter_mm: float
) -> tuple[np.ndarray, tuple[int, int], float, float]:
    """Thickness of one nodule, about 1 at the peak, on a patch of the image.

    Args:
        rng: Source of the shape.
        frame: The image.
        x: Column about which the shape is drawn, pixels.
        y: Row about which it is drawn, pixels.
        diameter_mm: Diameter of the circle of equal area, millimetres.

    Returns:
        The patch, float32; its first row and column on the image; column and row of its weighted centre on the image.
    """
    import cv2

    order = np.arange(2, 7)
    size = rng.normal(0, 0.13, order.size) / (order / 2)
    phase = rng.uniform(0, 2 * np.pi, order.size)
    lumps = int(rng.integers(2, 5))
    place = rng.uniform(0, 2 * np.pi, lumps)
    weight = rng.uniform(0.08, 0.22, lumps)
    softness = rng.uniform(0.05, 0.14)
    spicules = int(rng.integers(5, 11)) if rng.random() < SPICULATED_FRACTION else 0
    direction = rng.uniform(0, 2 * np.pi, spicules)
    length = rng.uniform(1.35, 2.0, spicules)

    full = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    edge = 1 + (size[:, None] * np.cos(order[:, None] * full + phase[:, None])).sum(0)
    normal = np.sqrt((edge**2).mean())
    radius = frame.px(diameter_mm) / 2

    over = 3 if radius < 6 else 2
    reach = int(np.ceil((2.2 if spicules else 1.6) * radius)) + 2
    column, row = round(x), round(y)
    fine = ((np.arange((2 * reach + 1) * over) + 0.5) / over - 0.5 - reach).astype(np.float32)
    dx = (fine[None, :] - np.float32(x - column)) / np.float32(radius)
    dy = (fine[:, None] - np.float32(y - row)) / np.float32(radius)
    far, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    edge = np.interp(angle, full - np.pi, np.roll(edge, full.size // 2), period=2 * np.pi).astype(np.float32)
    inside = np.clip(1 - (far * np.float32(normal) / np.maximum(edge, 0.3)) ** 2, 0, None)
    thickness = inside ** np.float32(0.6)
    for turn, heavy in zip(place.tolist(), weight.tolist(), strict=True):
        lump = np.exp(((dx - 0.45 * float(np.cos(turn))) ** 2 + (dy - 0.45 * float(np.sin(turn))) ** 2) / -0.12)
        thickness += heavy * lump * (inside > 0)
    for turn, end in zip(direction.tolist(), length.tolist(), strict=True):
        along = dx * float(np.cos(turn)) + dy * float(np.sin(turn))
        across = dy * float(np.cos(turn)) - dx * float(np.sin(turn))
        taper = np.clip((end - along) / (end - 0.7), 0, 1)
        thickness += 0.35 * taper * (along > 0.7) * np.exp(-((across / 0.07) ** 2))
    thickness = cv2.GaussianBlur(thickness.astype(np.float32), (0, 0), max(softness * radius * over, 0.6))
    side = 2 * reach + 1
    patch = cv2.resize(thickness, (side, side), interpolation=cv2.INTER_AREA)
    mass = float(patch.sum())
    steps = np.arange(side, dtype=np.float64)
    centre_x = float((patch.sum(0) * steps).sum()) / mass + column - reach
    centre_y = float((patch.sum(1) * steps).sum()) / mass + row - reach
    return patch, (row - reach, column - reach), centre_x, centre_y


def peak_mm(diameter_mm: float, contrast: float) -> float:
    """Path length that a nodule adds at its peak, millimetres of water.

    It grows with the square root of the diameter, not with the diameter, since a small nodule that one sees at all is
    the denser one.
    """
    return CONTRAST_GAIN * contrast * SOLID_MM_PER_MM * (diameter_mm * 12.0) ** 0.5


def add(image: np.ndarray, patch: np.ndarray, corner: tuple[int, int], times: float) -> None:
    """Add `times` the patch to `image` in place; what lies beyond its border is cut off."""
    row, column = corner
    height, width = image.shape
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + patch.shape[0], height), min(column + patch.shape[1], width)
    if top < bottom and left < right:
        image[top:bottom, left:right] += (
            np.float32(times) * patch[top - row : bottom - row, left - column : right - column]
        )
