"""Queries of a localizer, its responses, and the detections in them, whichever model is behind it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from stages.lib.images.geometry import Geometry


@dataclass(frozen=True)
class Query:
    """One prompt for one view of one image.

    Attributes:
        key: Names image, view and prompt; no two queries of a run share it.
        pixels: Returns the image as it is put to the model, uint8 array of shape (side, side).
        prompt: What the model is asked.
        geometry: Size of the original, for what answers in its pixels; None where it is not known.
    """

    key: str
    pixels: Callable[[], np.ndarray]
    prompt: str
    geometry: Geometry | None = None

    @property
    def image_id(self) -> str:
        """The image, the first part of the key."""
        return self.key.partition("\t")[0]


@dataclass(frozen=True)
class Detection:
    """A detection, in fractions of the padded square from edge to edge: u to the right, v down.

    Attributes:
        u: Column of the point, the centre of the box if there is one.
        v: Row of the point.
        box: Left, top, right, bottom; None if the localizer gives points.
        confidence: In [0, 1]; None if the localizer gives none.
        phrase: The model's name of the detection, untouched; None if it gave none.
    """

    u: float
    v: float
    box: tuple[float, float, float, float] | None
    confidence: float | None
    phrase: str | None


@dataclass(frozen=True)
class Response:
    """The response of a localizer to one query.

    Attributes:
        text: The generated text, verbatim.
        parsed: What the parser made of it: ok, empty, malformed or cut.
        detections: In the order of the answer.
        completeness_error: Of the attribution map that they are peaks of; None if there is none.
    """

    text: str
    parsed: str
    detections: tuple[Detection, ...]
    completeness_error: float | None = None


def boxed(edges: tuple[float, float, float, float], units: float, phrase: str | None) -> Detection:
    """A box without a confidence as a detection; its point is the centre.

    Args:
        edges: Left, top, right, bottom, from 0 to `units` on the padded square.
        units: What the side of the square counts.
        phrase: The model's name of the detection.

    >>> boxed((300, 400, 350, 500), 1000, "nodule")
    Detection(u=0.325, v=0.45, box=(0.3, 0.4, 0.35, 0.5), confidence=None, phrase='nodule')
    """
    left, top, right, bottom = (edge / units for edge in edges)
    u, v = (edges[0] + edges[2]) / 2 / units, (edges[1] + edges[3]) / 2 / units
    return Detection(u, v, (left, top, right, bottom), confidence=None, phrase=phrase)


def batches(queries: Sequence[Query], size: int) -> Iterator[list[Query]]:
    """Yield the queries in order, at most `size` at a time, and never two prompts in one batch."""
    for _, group in groupby(queries, key=lambda query: query.prompt):
        same = list(group)
        for start in range(0, len(same), size):
            yield same[start : start + size]
