"""Findings of drawn slices: four kinds, a side, a size, and how each is drawn on CT and on MR."""

from dataclasses import dataclass

import numpy as np

from stages.lib.demo.synthetic.ellipses import Plane, blend

KINDS = ("mass", "cyst", "calcification", "collection")
SIDES = ("right", "left")
SIZES = ("small", "large")
RADII_PX = {"small": (5.5, 7.5), "large": (11.0, 14.0)}  # at the usual size of the body
PLACES = {  # where the middle of a finding may lie on the patient's left, u and v from least to greatest
    "head": ((0.32, 0.38), (-0.40, 0.40)),
    "thorax": ((0.42, 0.52), (-0.24, 0.16)),
    "abdomen": ((0.40, 0.54), (-0.26, 0.10)),
    "spine": ((0.46, 0.56), (-0.14, 0.34)),
    "urinary": ((0.38, 0.48), (-0.20, 0.20)),
}
GREYS = {  # on CT, on MR
    "mass": (0.74, 0.76),
    "wall": (0.86, 0.14),
    "content": (0.28, 0.92),
    "dots": (1.00, 0.02),
    "around_dots": (0.52, 0.50),
    "upper": (0.24, 0.94),
    "lower": (0.70, 0.32),
}
WALL = 0.30  # of a cyst's radius
DOTS = {"small": (4, 6), "large": (8, 12)}
DOT_PX = (1.2, 1.9)
FLAT = 0.85  # height of a collection over its width


@dataclass(frozen=True)
class Finding:
    """One finding of a patient.

    Attributes:
        kind: One of KINDS.
        side: The patient's side.
        size: One of SIZES.
        u: Where its middle lies in the body, see `ellipses.Plane`; negative on the patient's right.
        v: The same, downwards.
        radius_px: Its radius in a body of the usual size, pixels.
    """

    kind: str
    side: str
    size: str
    u: float
    v: float
    radius_px: float


def findings(rng: np.random.Generator, region: str, number: int) -> tuple[Finding, ...]:
    """Findings of one patient, the key finding first: the large one, of two equal ones that on the right.

    Two differ in kind and lie on either side.

    Args:
        rng: Source of kind, side, size and place.
        region: Where: one of slice_anatomy.REGIONS.
        number: How many, 0 to 2.
    """
    kinds, sides = rng.permutation(KINDS), rng.permutation(SIDES)
    drawn = [finding(rng, region, str(kinds[i]), str(sides[i]), str(rng.choice(SIZES))) for i in range(number)]
    return tuple(sorted(drawn, key=lambda one: (-SIZES.index(one.size), SIDES.index(one.side))))


def finding(rng: np.random.Generator, region: str, kind: str, side: str, size: str) -> Finding:
    """A finding with its place and radius drawn."""
    across, down = PLACES[region]
    u, v, radius = (float(rng.uniform(*limits)) for limits in (across, down, RADII_PX[size]))
    return Finding(kind, side, size, -u if side == "right" else u, v, radius)


def put(
    grey: np.ndarray,
    rng: np.random.Generator,
    plane: Plane,
    finding: Finding,
    modality: str,
    middle: tuple[float, float],
    radius_px: float,
    *,
    contrast: float,
) -> None:
    """Draw a finding into `grey`, float32 of shape (side_px, side_px), in place.

    Args:
        grey: The slice.
        rng: Source of the dots of a calcification.
        plane: Where the body lies.
        finding: What is drawn.
        modality: CT or MR.
        middle: Column and row of its centre, pixels.
        radius_px: Its radius, pixels.
        contrast: In [0, 1]: at 0 nothing is drawn, at 1 nothing shines through.
    """
    greys = {name: pair[modality == "MR"] for name, pair in GREYS.items()}
    x, y = middle
    whole = plane.disc(x, y, radius_px)
    if finding.kind == "mass":
        layers = [("mass", whole)]
    elif finding.kind == "cyst":
        layers = [("wall", whole), ("content", plane.disc(x, y, radius_px * (1 - WALL)))]
    elif finding.kind == "calcification":
        layers = [("around_dots", whole), ("dots", _dots(rng, plane, finding.size, middle, radius_px))]
    else:
        columns, rows = plane.pixels
        flat = np.clip(radius_px - np.hypot(columns - x, (rows - y) / FLAT) + 0.5, 0, 1)
        layers = [("upper", flat), ("lower", flat * (rows > y))]
    drawn = grey
    for name, cover in layers:
        drawn = blend(drawn, greys[name], cover)
    grey += contrast * (drawn - grey)


def _dots(
    rng: np.random.Generator, plane: Plane, size: str, middle: tuple[float, float], radius_px: float
) -> np.ndarray:
    """Coverage by dots that are spread over a disc."""
    few, many = DOTS[size]
    number = int(rng.integers(few, many + 1))
    turn = rng.uniform(0, 2 * np.pi) + np.arange(number) * np.pi * (3 - 5**0.5)  # as seeds lie in a sunflower
    away = radius_px * np.sqrt((np.arange(number) + 0.5) / number)
    cover = np.zeros((plane.side_px, plane.side_px), np.float32)
    for angle, distance, dot in zip(turn, away, rng.uniform(*DOT_PX, number), strict=True):
        x, y = middle[0] + distance * np.cos(angle), middle[1] + distance * np.sin(angle)
        cover = np.maximum(cover, plane.disc(float(x), float(y), float(dot)))
    return cover
