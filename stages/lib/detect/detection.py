"""What a localizer is asked and what it finds, whichever model it is."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np


@dataclass(frozen=True)
class Question:
    """One request about one image.

    Attributes:
        key: Names image, view and request; no two questions of a run share it.
        pixels: Returns the image as it is put to the model, uint8 array of shape (side, side).
        request: What the model is asked.
    """

    key: str
    pixels: Callable[[], np.ndarray]
    request: str


@dataclass(frozen=True)
class Finding:
    """One finding, in fractions of the padded square from edge to edge: u to the right, v down.

    Attributes:
        u: Column of the point, the centre of the box if there is one.
        v: Row of the point.
        box: Left, top, right, bottom; None if the localizer gives points.
        confidence: In [0, 1]; None if the localizer gives none.
        phrase: The model's name of the finding, untouched; None if it gave none.
    """

    u: float
    v: float
    box: tuple[float, float, float, float] | None
    confidence: float | None
    phrase: str | None


@dataclass(frozen=True)
class Answer:
    """What a localizer said about one image.

    Attributes:
        words: Verbatim.
        parsed: What the parser made of them: ok, empty or malformed.
        findings: In the order of the answer.
    """

    words: str
    parsed: str
    findings: tuple[Finding, ...]


def boxed(edges: tuple[float, float, float, float], units: float, phrase: str | None) -> Finding:
    """Return a box without a confidence as a finding; its point is the centre.

    Args:
        edges: Left, top, right, bottom, from 0 to `units` on the padded square.
        units: What the side of the square counts.
        phrase: The model's name of the finding.

    >>> boxed((300, 400, 350, 500), 1000, "nodule")
    Finding(u=0.325, v=0.45, box=(0.3, 0.4, 0.35, 0.5), confidence=None, phrase='nodule')
    """
    left, top, right, bottom = (edge / units for edge in edges)
    u, v = (edges[0] + edges[2]) / 2 / units, (edges[1] + edges[3]) / 2 / units
    return Finding(u, v, (left, top, right, bottom), confidence=None, phrase=phrase)


def batches(questions: Sequence[Question], size: int) -> Iterator[list[Question]]:
    """Yield the questions in order, at most `size` at a time, and never two requests in one batch."""
    for _, group in groupby(questions, key=lambda question: question.request):
        same = list(group)
        for start in range(0, len(same), size):
            yield same[start : start + size]
