"""What a localizer is asked and what it finds, whichever model it is."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Question:
    """One request about one film.

    Attributes:
        key: Names film, view and request; no two questions of a run share it.
        pixels: Returns the film as it is put to the model, uint8 array of shape (side, side).
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
    """What a localizer said about one film.

    Attributes:
        words: Verbatim.
        parsed: What the parser made of them: ok, empty or malformed.
        findings: In the order of the answer.
    """

    words: str
    parsed: str
    findings: tuple[Finding, ...]
