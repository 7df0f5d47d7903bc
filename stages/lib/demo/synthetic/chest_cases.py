"""Chest images of simulated patients, each with the sentences of its report."""

from typing import NamedTuple

import numpy as np

from stages.lib.core import params
from stages.lib.demo.synthetic import chest_findings, chest_sentences, image, nodules
from stages.lib.demo.synthetic.chest_sentences import Sentence
from stages.lib.demo.synthetic.image import Image

LEAST_SIDE_PX = 64
SHORTEST = 0.8  # shorter side of an image that is not square, of its longer one
GREYS = 255


@params.section
class Content:
    """What is on an image, and how its report is worded."""

    side_px: params.Count  # longer side of an image
    padded_fraction: params.Fraction  # of the images that are not square: the other side is up to a fifth shorter
    normal_fraction: params.Fraction  # of the images, without nodule, opacity and effusion
    max_nodules: params.Count  # the others have 1 to this many nodules
    min_diameter_mm: params.PositiveFloat
    max_diameter_mm: params.PositiveFloat
    min_contrast: params.Fraction  # of a nodule: 0 adds nothing
    max_contrast: params.Fraction  # of a nodule: 1 is obvious at 28 mm
    heart_fraction: params.Fraction  # of the patients, with a large heart
    pacemaker_fraction: params.Fraction  # of the patients, with a pacemaker
    opacity_fraction: params.Fraction  # of the images that are not normal
    effusion_fraction: params.Fraction  # of the images that are not normal
    sentences: params.Count  # of a report, at least
    placed_fraction: params.Fraction  # of the sentences about a larger finding, that tell its place

    def __post_init__(self) -> None:
        problems = nodules.problems(
            min_diameter_mm=self.min_diameter_mm,
            max_diameter_mm=self.max_diameter_mm,
            min_contrast=self.min_contrast,
            max_contrast=self.max_contrast,
        )
        if self.side_px < LEAST_SIDE_PX:
            problems.append(f"side_px of at least {LEAST_SIDE_PX}")
        if problems:
            raise ValueError("; ".join(problems))


class Case(NamedTuple):
    """One image and its report.

    Attributes:
        image: The image with its truth.
        grey: What is stored of it, uint8 of shape (h, w).
        sentences: Its report.
    """

    image: Image
    grey: np.ndarray
    sentences: tuple[Sentence, ...]


def draw(of_patient: np.random.Generator, rng: np.random.Generator, content: Content) -> Case:
    """One image of a patient.

    Args:
        of_patient: Source of what all images of the patient share: anatomy, heart, pacemaker.
        rng: Source of all else.
        content: What is on it, and how often.
    """
    who = image.patient(of_patient)
    large, paced = (of_patient.random(2) < (content.heart_fraction, content.pacemaker_fraction)).tolist()
    who = chest_findings.large_heart(of_patient, who, large)
    normal, opacity, effusion = (
        rng.random(3) < (content.normal_fraction, content.opacity_fraction, content.effusion_fraction)
    ).tolist()
    there = {"heart": large, "pacemaker": paced, "opacity": opacity and not normal, "effusion": effusion and not normal}
    width, height = _size(rng, content)
    nodules = int(rng.integers(1, content.max_nodules + 1))
    drawn = image.draw(
        rng,
        who,
        width_px=width,
        height_px=height,
        nodules=0 if normal else nodules,
        diameter_mm=(content.min_diameter_mm, content.max_diameter_mm),
        contrast=(content.min_contrast, content.max_contrast),
        findings=chest_findings.findings(of_patient, rng, [kind for kind, seen in there.items() if seen]),
    )
    told = chest_sentences.report(rng, drawn, sentences=content.sentences, placed_fraction=content.placed_fraction)
    return Case(drawn, np.rint(drawn.density * GREYS).astype(np.uint8), tuple(told))


def _size(rng: np.random.Generator, content: Content) -> tuple[int, int]:
    """Width and height, pixels."""
    padded, wide = (rng.random(2) < (content.padded_fraction, 0.5)).tolist()
    shorter = round(content.side_px * float(rng.uniform(SHORTEST, 1.0)))
    if not padded:
        return content.side_px, content.side_px
    return (content.side_px, shorter) if wide else (shorter, content.side_px)
