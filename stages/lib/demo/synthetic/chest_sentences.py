"""Sentences of a report about a simulated chest image, each with the boxes of what it speaks of.

Every sentence has two wordings. Those about a nodule tell its size, side and third of the lung both times. Those about
a larger finding tell the place in one wording alone: of the other, only the image tells where to look.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.lib.demo.synthetic.anatomy import ZONES, third
from stages.lib.demo.synthetic.chest_findings import SIDES, SIZES, Finding, side_of
from stages.lib.demo.synthetic.image import Image
from stages.lib.demo.synthetic.nodules import Nodule

THIRDS = ZONES[:3]
NODULE_MM = (25.0, 33.0)  # diameters from which a nodule is medium, and large
NUMBERS = ("A", "Two", "Three", "Four")  # of nodules that one sentence tells of
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Sentence:
    """One sentence of a report.

    Attributes:
        text: The sentence.
        abnormal: Whether it tells of something abnormal.
        labels: Group of the finding that it is about.
        boxes: What it speaks of: left, top, right, bottom, pixels of the image, 0 at its left (top) border; none of a
            sentence that denies something, or finds a heart of normal size.
    """

    text: str
    abnormal: bool
    labels: tuple[str, ...]
    boxes: tuple[Box, ...] = ()


def report(rng: np.random.Generator, image: Image, *, sentences: int, placed_fraction: float) -> list[Sentence]:
    """Sentences about one image: heart, device, lungs, and what is not there.

    Args:
        rng: Source of the wordings, and of what is denied.
        image: The image with its truth.
        sentences: How many there are at least; what is missing is filled with findings that are not there.
        placed_fraction: Of the sentences about a larger finding, that tell its place.
    """
    found = {one.finding.kind: one for one in image.findings}
    told = []
    for kind in ("heart", "pacemaker"):
        if kind in found:
            placed = rng.random() < placed_fraction
            told.append(Sentence(_larger(found[kind].finding, placed), True, (kind,), (found[kind].box,)))
        elif kind == "heart":
            texts = ("The heart is of normal size.", "Heart size is normal.")
            told.append(Sentence(_one(rng, texts), False, (kind,)))
    told += _nodules(rng, image)
    for kind in ("opacity", "effusion"):
        if kind in found:
            placed = rng.random() < placed_fraction
            told.append(Sentence(_larger(found[kind].finding, placed), True, (kind,), (found[kind].box,)))
    return [*told, *_denied(rng, image, max(sentences - len(told), 0))]


def _one(rng: np.random.Generator, texts: Sequence[str]) -> str:
    return texts[int(rng.integers(len(texts)))]


def _larger(finding: Finding, placed: bool) -> str:
    """Sentence about a finding larger than a nodule; which wording it has, `placed` decides."""
    size, side = finding.size, finding.side
    if finding.kind == "heart":
        return "The heart is enlarged." if placed else "There is a large heart."
    if finding.kind == "pacemaker":
        return f"A pacemaker on the {side}." if placed else "There is a pacemaker."
    if finding.kind == "opacity":
        place = f"in the {side} {third(finding.at[1])} zone"
        return f"A {size} opacity {place}." if placed else "There is an opacity in the lung."
    return f"A {size} pleural effusion on the {side}." if placed else "There is a pleural effusion."


def nodule_size(diameter_mm: float) -> str:
    """Word for the size of a nodule.

    >>> [nodule_size(mm) for mm in (20.0, 25.0, 40.0)]
    ['small', 'medium', 'large']
    """
    return SIZES[sum(diameter_mm >= edge for edge in NODULE_MM)]


def nodule_place(nodule: Nodule, image: Image) -> tuple[str, str]:
    """Side of the patient, and third of the lung, that a nodule lies in."""
    x, y = image.frame.to_patient(nodule.x, nodule.y)
    return side_of(x), third(y)


def nodule_box(nodule: Nodule, image: Image) -> Box:
    """Box about a nodule, as wide as its diameter, cut to the image."""
    height, width = image.density.shape
    half = nodule.diameter_px / 2
    x, y = nodule.x + 0.5, nodule.y + 0.5  # a nodule's 0 is the centre of the first pixel
    return max(x - half, 0.0), max(y - half, 0.0), min(x + half, float(width)), min(y + half, float(height))


def _nodules(rng: np.random.Generator, image: Image) -> list[Sentence]:
    alike: dict[tuple[str, str, str], list[Box]] = {}
    for nodule in image.nodules:
        key = (nodule_size(nodule.diameter_mm), *nodule_place(nodule, image))
        alike.setdefault(key, []).append(nodule_box(nodule, image))
    told = []
    for (size, side, zone), boxes in sorted(alike.items(), key=lambda item: _order(*item[0])):
        many = len(boxes) > 1
        number, nodules = NUMBERS[min(len(boxes), len(NUMBERS)) - 1], "nodules" if many else "nodule"
        there = f"There are {number.lower()}" if many else "There is a"
        texts = (
            f"{number} {size} {nodules} in the {side} {zone} zone.",
            f"{there} {size} {nodules} in the {zone} zone of the {side} lung.",
        )
        told.append(Sentence(_one(rng, texts), True, ("nodule",), tuple(sorted(boxes))))
    return told


def _order(size: str, side: str, zone: str) -> tuple[int, int, int]:
    return SIDES.index(side), THIRDS.index(zone), SIZES.index(size)


def _denied(rng: np.random.Generator, image: Image, number: int) -> list[Sentence]:
    """So many findings that are not there, each of another group or place."""
    places = {nodule_place(nodule, image) for nodule in image.nodules}
    found = {one.finding.kind for one in image.findings}
    free = [
        (f"No nodule in the {side} {zone} zone.", f"The {side} lung has no nodule in its {zone} zone.")
        for side in SIDES
        for zone in THIRDS
        if (side, zone) not in places
    ]
    free += [
        (f"No nodule in the {side} lung.", f"The {side} lung is free of nodules.")
        for side in SIDES
        if side not in {one for one, _ in places}
    ]
    groups = ["nodule"] * len(free)
    for kind, texts in DENIED.items():
        if kind not in found:
            free.append(texts)
            groups.append(kind)
    chosen = sorted(rng.permutation(len(free))[:number].tolist())
    return [Sentence(_one(rng, free[i]), False, (groups[i],)) for i in chosen]


DENIED = {
    "pacemaker": ("No pacemaker.", "There is no pacemaker."),
    "opacity": ("No opacity in the lungs.", "There is no opacity."),
    "effusion": ("No pleural effusion.", "There is no pleural effusion."),
}
