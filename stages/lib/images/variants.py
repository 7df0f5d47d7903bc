"""Variants of an image that an audit puts to a model: a nodule filled, a marker removed, the lungs alone, corruptions.

An audit has one variant or several, and a corruption has severities from 1. A variant that cannot be made of an image
has the reason in its place, so that it is counted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple
from zlib import crc32

import numpy as np
from pydantic import Field

from stages.lib.core import params
from stages.lib.core.errors import ImageError
from stages.lib.images import perturb
from stages.lib.images.geometry import Geometry
from stages.lib.images.lung_field import LungField
from stages.lib.images.perturb import Disc

ORIGINAL, NODULE, LUNG_FIELD, BORDER, MARKER, BLANK, CORRUPTION, PROMPT = (
    "original",
    "nodule",
    "lung_field",
    "border",
    "marker",
    "blank",
    "corruption",
    "prompt",
)
NO_MARKER = "no marker was found"

Strengths = Annotated[tuple[params.NonNegativeFloat, ...], Field(min_length=1)]
Grey = Annotated[int, Field(ge=1, le=255)]


@params.section
class AuditParams:
    """Which images are audited, and how they and the prompt are changed."""

    images: params.Count  # of the test split, from a seeded sample of patients, half of it with a nodule if there are
    seed: params.Seed  # of the sample, of what fills a region, of noise, and of shuffled labels
    shifts: params.Count  # as of nodules.infer; each image is asked about so often, squared, as it is and changed
    shuffled_training: bool  # whether a model is trained on shuffled labels, as long as the study's own
    nodule_margin: params.PositiveFloat  # diameter of a filled region, in diameters of the nodule
    nodule_fraction: params.Fraction  # the same where the nodule's is not known, as a fraction of the diagonal
    lung_margin_fraction: params.Fraction  # what is filled around the lung field too, as a fraction of the side
    marker_level: Grey  # least grey value of a marker
    max_marker_fraction: params.Fraction  # greatest area of a marker, as a fraction of the image
    # of each corruption the strengths, from severity 1 on, see lib/images/perturb.py
    noise_grey: Strengths
    blur_fraction: Strengths
    contrast_factor: Strengths
    exposure_power: Strengths
    rotation_degrees: Strengths
    jpeg_quality: Annotated[tuple[Annotated[int, Field(ge=1, le=100)], ...], Field(min_length=1)]
    questions: tuple[params.Text, ...]  # other wordings of the prompt's question
    answers: tuple[params.Text, ...]  # nodule/no nodule, for each of them

    def __post_init__(self) -> None:
        if len(self.questions) != len(self.answers):
            raise ValueError(f"answers for each question (found {len(self.questions)} and {len(self.answers)})")

    @property
    def corruptions(self) -> Mapping[str, Sequence[float]]:
        """Strengths of each corruption, by its name."""
        return {
            "noise": self.noise_grey,
            "blur": self.blur_fraction,
            "contrast": self.contrast_factor,
            "exposure": self.exposure_power,
            "rotation": self.rotation_degrees,
            "jpeg": self.jpeg_quality,
        }


class Variant(NamedTuple):
    """One variant of an image.

    Attributes:
        audit: The audit that it belongs to.
        variant: Its name there.
        severity: Of a corruption, from 1; None without one.
        pixels: uint8, shape (side, side); None if it cannot be made.
        problem: Why it cannot be made.
    """

    audit: str
    variant: str
    severity: int | None
    pixels: np.ndarray | None
    problem: str | None


def regions(
    points: Sequence[Mapping[str, Any]], geometry: Geometry, spacing_mm: float | None, given: AuditParams
) -> tuple[Disc, ...]:
    """Discs on the normalized image that cover the marked nodules of an image.

    Args:
        points: Its rows of `tables.POINTS`.
        geometry: Geometry of the image.
        spacing_mm: Millimetres per pixel of the original; None if not known.
        given: See `AuditParams`.
    """
    found = []
    for row in points:
        diameter_px = given.nodule_fraction * geometry.diagonal_px
        if row["diameter_mm"] is not None and spacing_mm is not None:
            diameter_px = given.nodule_margin * row["diameter_mm"] / spacing_mm
        found.append(Disc(*geometry.to_normalized(row["x"], row["y"]), diameter_px / 2 * geometry.scale))
    return tuple(found)


def of_image(
    image_id: str, pixels: np.ndarray, field: LungField, nodules: Sequence[Disc], given: AuditParams, *, whole: bool
) -> Iterator[Variant]:
    """Variants of an image, the original first.

    Args:
        image_id: Its id; with the seed it decides what is random, whatever the order of the images.
        pixels: uint8, shape (side, side).
        field: Its lung field.
        nodules: Regions of its marked nodules.
        given: See `AuditParams`.
        whole: Whether all variants are wanted; else those of its nodules alone.
    """

    def rng(*stream: str) -> np.random.Generator:
        return np.random.default_rng([given.seed, crc32("/".join((image_id, *stream)).encode())])

    def made(audit: str, variant: str, make: Callable[[], np.ndarray], severity: int | None = None) -> Variant:
        try:
            return Variant(audit, variant, severity, make(), None)
        except ImageError as problem:
            return Variant(audit, variant, severity, None, str(problem))

    def mask() -> np.ndarray:
        if field.problem is not None:
            raise ImageError(field.problem)
        return field.mask

    def without_discs(found: Sequence[Disc], stream: str) -> np.ndarray:
        return perturb.filled(pixels, perturb.discs(len(pixels), found), rng(stream))

    def control() -> np.ndarray:
        return without_discs(perturb.elsewhere(nodules, mask(), rng("place")), "control")

    def without_markers() -> np.ndarray:
        found = perturb.markers(pixels, mask(), level=given.marker_level, max_fraction=given.max_marker_fraction)
        if not found.any():
            raise ImageError(NO_MARKER)
        return perturb.filled(pixels, found, rng("marker"))

    def border() -> np.ndarray:
        return perturb.levelled(pixels, perturb.grown(mask(), given.lung_margin_fraction * len(pixels)))

    yield Variant(ORIGINAL, ORIGINAL, None, pixels, None)
    if nodules:
        yield made(NODULE, "filled", lambda: without_discs(nodules, "nodule"))
        yield made(NODULE, "control", control)
    if not whole:
        return
    yield made(LUNG_FIELD, "only", lambda: perturb.levelled(pixels, ~mask()))
    yield made(BORDER, "only", border)
    yield made(MARKER, "removed", without_markers)
    yield made(BLANK, "flat", lambda: perturb.flat(pixels))
    for name, strengths in given.corruptions.items():
        for severity, strength in enumerate(strengths, 1):
            changed = perturb.CORRUPTIONS[name](pixels, strength, rng(name, str(severity)))
            yield Variant(CORRUPTION, name, severity, changed, None)
