"""Procedural frontal chest radiographs with exact truth, for the demo and for tests.

An image is made in the domain of path lengths and mapped to grey once. An image without a nodule passes the same steps
with an empty nodule, so that no step tells the classes apart.

Source: after Litjens et al. (MICCAI 2010) and Schultheiss et al. (Scientific Reports, 2021), who add nodules to real
    images; here the image is synthetic as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.lib.demo.synthetic import anatomy, physics
from stages.lib.demo.synthetic.anatomy import Patient
from stages.lib.demo.synthetic.canvas import Frame
from stages.lib.demo.synthetic.chest_findings import Finding, Shown, show
from stages.lib.demo.synthetic.nodules import Nodule, add, body, peak_mm

WIDTH_MM = 354.0
MAGNIFICATION = 1.07
LEAST_AIR = 0.22
TRIES = 12


@dataclass(frozen=True)
class Image:
    """One image and the truth about it.

    Attributes:
        density: Grey after exposure, float32 of shape (height_px, width_px), in [0, 1]; dense tissue is bright.
        nodules: The nodules, in the order in which they were put in.
        lungs: Where a nodule's centre may lie, bool, same shape: the lungs, also somewhat behind the heart and below
            the domes.
        frame: How the patient stands on the image.
        findings: The other findings, as wanted.
    """

    density: np.ndarray
    nodules: tuple[Nodule, ...]
    lungs: np.ndarray
    frame: Frame
    findings: tuple[Shown, ...]


def patient(rng: np.random.Generator) -> Patient:
    """A patient: what all images of one patient share."""
    return anatomy.patient(rng)


def draw(
    rng: np.random.Generator,
    patient: Patient,
    *,
    width_px: int,
    height_px: int,
    nodules: int,
    diameter_mm: tuple[float, float],
    contrast: tuple[float, float],
    findings: Sequence[Finding] = (),
) -> Image:
    """One image of `patient`, about 354 mm wide.

    Posture and exposure, the nodules, and the noise each have random numbers of their own: so an image with nodules and
    one without, from equal `rng`, differ in the nodules alone.

    Args:
        rng: Source of posture, exposure, nodules and noise.
        patient: The patient.
        width_px: Width, pixels.
        height_px: Height, pixels; may differ from the width.
        nodules: How many nodules, 0 or more.
        diameter_mm: Least and greatest diameter, millimetres.
        contrast: Least and greatest contrast grade, in [0, 1].
        findings: Other findings; they take no random numbers from `rng`, and no nodule has its centre on them but on
            the heart.
    """
    pose, shapes, noise = rng.spawn(3)
    frame = _frame(pose, patient, width_px, height_px)
    settings = physics.exposure(pose)
    chest = anatomy.chest(frame, patient, breath_mm=float(pose.normal(0, 5)))
    lungs = _within(frame, settings, chest.air > LEAST_AIR)
    path = chest.path_mm
    shown = tuple(show(finding, frame, patient, chest, path) for finding in findings)
    free = lungs.copy()
    for one in shown:
        if one.finding.kind != "heart":
            free &= ~one.cover
    truth: list[Nodule] = []
    for child in shapes.spawn(max(nodules, 1)):
        size = float(child.uniform(*diameter_mm))
        grade = float(child.uniform(*contrast)) if nodules else 0.0
        x, y = _place(child, frame, free if free.any() else lungs, size, truth)
        patch, corner, x, y = body(child, frame, x, y, size)
        add(path, patch, corner, peak_mm(size, grade))
        if nodules:
            zone = anatomy.zone_at(chest, frame, x, y)
            truth.append(Nodule(x, y, frame.px(size), size, grade, zone))
    return Image(physics.develop(noise, frame, path, settings), tuple(truth), lungs, frame, shown)


def spacing_mm(width_px: int) -> float:
    """Size of a pixel of an image of this width, millimetres on the image.

    >>> spacing_mm(354)
    1.0
    """
    return WIDTH_MM / width_px


def _frame(rng: np.random.Generator, patient: Patient, width_px: int, height_px: int) -> Frame:
    mm_per_px = spacing_mm(width_px)
    fit = min(1.0, height_px / width_px) ** 0.8
    scale = fit * MAGNIFICATION * patient.size * float(rng.uniform(0.93, 1.06)) / mm_per_px
    turn = float(np.radians(rng.normal(0, 1.6)))
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = matrix @ np.diag([1.0, patient.tallness])
    off = rng.normal(0, (6.0, 7.0)) / mm_per_px
    middle = np.array([(width_px - 1) / 2, (height_px - 1) / 2])
    return Frame(width_px, height_px, mm_per_px, matrix, middle + off + (0, 6 / mm_per_px))


def _within(frame: Frame, settings: physics.Exposure, lungs: np.ndarray) -> np.ndarray:
    left, top, right, bottom = settings.borders
    height, width = lungs.shape
    margin = frame.px(6)
    inside = np.zeros_like(lungs)
    rows = slice(round(top * height + margin), height - round(bottom * height + margin))
    columns = slice(round(left * width + margin), width - round(right * width + margin))
    inside[rows, columns] = lungs[rows, columns]
    return inside


def _place(
    rng: np.random.Generator, frame: Frame, lungs: np.ndarray, size_mm: float, others: list[Nodule]
) -> tuple[float, float]:
    spots = np.flatnonzero(lungs)
    x = y = 0.0
    for _ in range(TRIES):
        row, column = divmod(int(spots[rng.integers(spots.size)]), frame.width_px)
        x, y = column + float(rng.uniform(-0.5, 0.5)), row + float(rng.uniform(-0.5, 0.5))
        if all(np.hypot(x - n.x, y - n.y) > 0.75 * (frame.px(size_mm) + n.diameter_px) for n in others):
            break
    return x, y
