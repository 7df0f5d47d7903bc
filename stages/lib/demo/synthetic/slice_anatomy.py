"""Anatomy of drawn slices: five regions of the body as a few ellipses of tissue, and how patients differ."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stages.lib.demo.synthetic.ellipses import Plane, blend

REGIONS = ("head", "thorax", "abdomen", "spine", "urinary")
MODALITIES = ("CT", "MR")
GREYS = {  # of a tissue: on CT, on MR
    "air": (0.02, 0.02),
    "lung": (0.10, 0.08),
    "fat": (0.30, 0.85),
    "muscle": (0.50, 0.42),
    "organ": (0.55, 0.50),
    "brain": (0.48, 0.55),
    "fluid": (0.36, 0.22),
    "blood": (0.60, 0.15),
    "bone": (0.92, 0.10),
    "marrow": (0.80, 0.66),
}
SIZES, WIDTHS, SHIFT_PX, TURN_DEGREES = (0.92, 1.04), (0.92, 1.08), 4.0, 5.0
ORGAN_SIZES, ORGAN_SHIFT, TISSUE = (0.85, 1.12), 0.04, 0.04


@dataclass(frozen=True)
class Body:
    """What the slices of one patient share.

    Attributes:
        region: One of REGIONS.
        size: Of the body, 1 for the usual one.
        width: Its width over its height, 1 for the usual one.
        right_px: How far it lies to the right of the middle of the image, pixels.
        down_px: How far below it.
        turn_degrees: Its rotation.
        organs: Size and shift (u, v) of each organ against the usual ones, shape (16, 3).
        tissue: Change of the grey of each tissue, in the order of GREYS.
    """

    region: str
    size: float
    width: float
    right_px: float
    down_px: float
    turn_degrees: float
    organs: np.ndarray
    tissue: np.ndarray


def body(rng: np.random.Generator, region: str) -> Body:
    """A patient's body.

    Args:
        rng: Source of the differences between patients.
        region: One of REGIONS.
    """
    size, width = (float(rng.uniform(*limits)) for limits in (SIZES, WIDTHS))
    right, down = (float(shift) for shift in rng.uniform(-SHIFT_PX, SHIFT_PX, 2))
    turn = float(rng.uniform(-TURN_DEGREES, TURN_DEGREES))
    organs = np.column_stack([rng.uniform(*ORGAN_SIZES, 16), rng.uniform(-ORGAN_SHIFT, ORGAN_SHIFT, (16, 2))])
    return Body(region, size, width, right, down, turn, organs, rng.uniform(-TISSUE, TISSUE, len(GREYS)))


def draw(plane: Plane, body: Body, modality: str) -> np.ndarray:
    """Grey of a slice without findings and noise, float32 of shape (side_px, side_px), about in [0, 1].

    Args:
        plane: Where the body lies.
        body: The patient.
        modality: CT or MR.
    """
    column = MODALITIES.index(modality)
    greys = {
        name: pair[column] + float(change) for (name, pair), change in zip(GREYS.items(), body.tissue, strict=True)
    }
    grey = np.full((plane.side_px, plane.side_px), greys["air"], np.float32)
    for number, (tissue, outline, is_organ) in enumerate(_parts(body)):
        u, v, across, down = outline
        size, right, low = body.organs[number].tolist() if is_organ else (1.0, 0.0, 0.0)
        cover = plane.ellipse((u + right) * body.width, v + low, across * size * body.width, down * size)
        grey = blend(grey, greys[tissue], cover)
    return grey


def _parts(body: Body) -> Iterator[tuple[str, tuple[float, float, float, float], bool]]:
    """Tissue, middle and half axes of each part, from the outside in, and whether it differs between patients."""
    for tissue, u, v, across, down in OUTLINES[body.region]:
        yield tissue, (u, v, across, down), False
    for tissue, u, v, across, down in ORGANS[body.region]:
        yield tissue, (u, v, across, down), True


Outline = tuple[str, float, float, float, float]  # tissue; u, v of the middle; half axes across and down

OUTLINES: dict[str, tuple[Outline, ...]] = {
    "head": (
        ("muscle", 0, 0, 0.80, 0.98),
        ("bone", 0, 0, 0.76, 0.94),
        ("fluid", 0, 0, 0.67, 0.85),
        ("brain", 0, 0, 0.64, 0.82),
    ),
    "thorax": (
        ("fat", 0, 0, 1.00, 0.72),
        ("muscle", 0, 0, 0.95, 0.67),
        ("lung", -0.47, -0.04, 0.39, 0.53),
        ("lung", 0.47, -0.04, 0.39, 0.53),
    ),
    "abdomen": (("fat", 0, 0, 0.98, 0.78), ("muscle", 0, 0, 0.90, 0.70), ("fat", 0, -0.04, 0.84, 0.62)),
    "spine": (("fat", 0, 0, 0.98, 0.90), ("muscle", -0.48, 0.10, 0.46, 0.66), ("muscle", 0.48, 0.10, 0.46, 0.66)),
    "urinary": (("fat", 0, 0, 1.00, 0.66), ("muscle", 0, 0, 0.94, 0.60)),
}
ORGANS: dict[str, tuple[Outline, ...]] = {
    "head": (("fluid", -0.09, -0.05, 0.05, 0.20), ("fluid", 0.09, -0.05, 0.05, 0.20), ("fluid", 0, 0.42, 0.07, 0.06)),
    "thorax": (
        ("organ", 0.08, -0.18, 0.24, 0.26),
        ("blood", 0.06, -0.20, 0.11, 0.13),
        ("bone", 0, 0.42, 0.15, 0.14),
        ("fluid", 0, 0.40, 0.05, 0.04),
        ("bone", -0.62, 0.50, 0.10, 0.04),
        ("bone", 0.62, 0.50, 0.10, 0.04),
    ),
    "abdomen": (
        ("organ", -0.44, -0.12, 0.40, 0.42),
        ("organ", 0.52, -0.10, 0.28, 0.36),
        ("air", 0.10, -0.46, 0.10, 0.06),
        ("blood", 0.03, 0.16, 0.08, 0.08),
        ("bone", 0, 0.40, 0.17, 0.15),
    ),
    "spine": (
        ("marrow", 0, -0.26, 0.30, 0.26),
        ("bone", 0, 0.16, 0.22, 0.16),
        ("fluid", 0, 0.12, 0.11, 0.09),
        ("bone", 0, 0.46, 0.05, 0.18),
        ("blood", 0.10, -0.66, 0.09, 0.09),
    ),
    "urinary": (
        ("bone", -0.78, -0.06, 0.13, 0.25),
        ("bone", 0.78, -0.06, 0.13, 0.25),
        ("fluid", 0, -0.14, 0.22, 0.20),
        ("organ", 0, 0.20, 0.14, 0.11),
        ("bone", 0, 0.50, 0.16, 0.09),
    ),
}
