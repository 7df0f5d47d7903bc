"""Simulated images with reports, normalized as the pipeline does, for the teaching of the base."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.lib.core.progress import track
from stages.lib.demo.synthetic import chest_cases
from stages.lib.demo.synthetic.chest_findings import KINDS
from stages.lib.images import preprocess
from stages.lib.models import box_text
from stages.lib.models.box_2d import UNITS, Box

GROUPS = ("nodule", *KINDS)


@dataclass(frozen=True)
class Told:
    """A sentence of a report.

    Attributes:
        text: The sentence.
        boxes: What it speaks of: left, top, right, bottom edge, fractions of the padded square.
    """

    text: str
    boxes: tuple[box_text.Box, ...]


@dataclass(frozen=True)
class Example:
    """One image and its report.

    Attributes:
        pixels: Normalized, uint8 of shape (side_px, side_px).
        found: Every finding on it; the label is its group, of GROUPS.
        report: Its sentences, in order.
    """

    pixels: np.ndarray
    found: tuple[Box, ...]
    report: tuple[Told, ...]

    @property
    def text(self) -> str:
        """The whole report."""
        return " ".join(one.text for one in self.report)


def examples(
    rng: np.random.Generator, number: int, content: chest_cases.Content, percentiles: tuple[float, float]
) -> list[Example]:
    """Images of `number` patients.

    Args:
        rng: Each image has random numbers of its own, spawned from it.
        number: How many.
        content: What is on them; the side of a normalized image is that of the content.
        percentiles: Of the grey values, that become 0 and 255.
    """
    streams = track(rng.spawn(number), total=number, what="simulate", unit="images")
    return [_example(stream, content, percentiles) for stream in streams]


def _example(rng: np.random.Generator, content: chest_cases.Content, percentiles: tuple[float, float]) -> Example:
    case = chest_cases.draw(rng, rng, content)
    low, high = percentiles
    pixels, _, _ = preprocess.normalize_pixels(
        case.grey, low_percentile=low, high_percentile=high, side_px=content.side_px
    )
    height, width = case.grey.shape
    report, found = [], []
    for sentence in case.sentences:
        boxes = tuple(box_text.to_square(box, width, height) for box in sentence.boxes)
        report.append(Told(sentence.text, boxes))
        found += [_labelled(box, sentence.labels[0]) for box in boxes]
    return Example(pixels, tuple(found), tuple(report))


def _labelled(box: Sequence[float], label: str) -> Box:
    x0, y0, x1, y1 = (edge * UNITS for edge in box)
    return Box(y0, x0, y1, x1, label)
