"""Drawn slices of CT and MR with exact truth, for the demo of the findings benchmark and for its tests.

A slice is ellipses on a grid: the body of a region, its bones, organs and air, then the findings, then noise. Bone is
bright in CT and dark in MR. As in radiology, the patient's right is at the left of the image. Two slices of one patient
are two draws of one `Body`: the same anatomy and findings, another cut and other noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.lib.demo.synthetic import slice_anatomy
from stages.lib.demo.synthetic.ellipses import Plane
from stages.lib.demo.synthetic.slice_anatomy import Body
from stages.lib.demo.synthetic.slice_findings import Finding, put

SIDE_PX = 112
HALF_BODY_PX = 47.0  # half the width of the widest body
CUT_PX, CUT_SIZE, CUT_TURN = 2.0, 0.04, 2.0  # how two slices of a patient differ: pixels, fraction, degrees
NOISE = (0.02, 0.05)  # standard deviation, grey in [0, 1]
SHADE = 0.12  # greatest change of an MR's grey from one side to the other, by its coils


@dataclass(frozen=True)
class Place:
    """Where a finding is on a slice.

    Attributes:
        finding: What it is.
        x: Column of its centre, pixels.
        y: Row of its centre, pixels.
        radius_px: Its radius, pixels.
    """

    finding: Finding
    x: float
    y: float
    radius_px: float


@dataclass(frozen=True)
class Slice:
    """One slice and the truth about it.

    Attributes:
        pixels: uint8 of shape (112, 112).
        modality: CT or MR.
        region: One of slice_anatomy.REGIONS.
        places: The findings on it, in the order in which they were given.
    """

    pixels: np.ndarray
    modality: str
    region: str
    places: tuple[Place, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Its findings."""
        return tuple(place.finding for place in self.places)


def draw(
    rng: np.random.Generator,
    body: Body,
    modality: str,
    findings: Sequence[Finding] = (),
    *,
    contrast: tuple[float, float],
) -> Slice:
    """One slice of a patient.

    Cut, findings and noise each have random numbers of their own, so that two slices from equal `rng`, with a finding
    and without, differ in the finding alone.

    Args:
        rng: Source of cut, contrast, texture of the findings, and noise.
        body: The patient.
        modality: CT or MR.
        findings: What is to be seen on it.
        contrast: Faintest and clearest finding, in [0, 1]: at 0 it is not there, at 1 nothing shines through.
    """
    of_cut, of_findings, of_noise = rng.spawn(3)
    plane = _plane(of_cut, body)
    grey = slice_anatomy.draw(plane, body, modality)
    places = []
    for finding, child in zip(findings, of_findings.spawn(max(len(findings), 1)), strict=False):
        x, y = plane.to_pixels(finding.u, finding.v)
        radius = finding.radius_px * plane.scale / HALF_BODY_PX
        put(grey, child, plane, finding, modality, (x, y), radius, contrast=float(child.uniform(*contrast)))
        places.append(Place(finding, x, y, radius))
    grey = _exposed(of_noise, grey, modality)
    return Slice(np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8), modality, body.region, tuple(places))


def _plane(rng: np.random.Generator, body: Body) -> Plane:
    right, down = rng.uniform(-CUT_PX, CUT_PX, 2)
    middle = (SIDE_PX - 1) / 2
    return Plane(
        SIDE_PX,
        x=middle + body.right_px + float(right),
        y=middle + body.down_px + float(down),
        scale=HALF_BODY_PX * body.size * float(rng.uniform(1 - CUT_SIZE, 1 + CUT_SIZE)),
        turn=float(np.radians(body.turn_degrees + rng.uniform(-CUT_TURN, CUT_TURN))),
    )


def _exposed(rng: np.random.Generator, grey: np.ndarray, modality: str) -> np.ndarray:
    """Grey with a slope of brightness, in MR, and with noise."""
    noise = rng.uniform(*NOISE) * rng.standard_normal(grey.shape, np.float32)
    direction, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, SHADE)
    if modality == "MR":
        line = np.linspace(-1, 1, grey.shape[0])
        ramp = np.cos(direction) * line[None, :] + np.sin(direction) * line[:, None]
        grey = grey * (1 + slope * ramp)
    return grey + noise
