"""Views of an image: the same image mirrored or in part, and the way back from a place in a view to one on the image.

Asked about several views, a localizer speaks several times about one place, and its slips show as lone votes. A crop is
enlarged to the image's side, so that a small nodule fills more of what the model sees.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from stages.lib.detect.detection import Detection

Name = Literal["whole", "mirrored", "upper_left", "upper_right", "lower_left", "lower_right"]
CROP = 0.625  # fraction of the side that a crop shows; four of them overlap by a quarter of the side in the middle
SIDES = re.compile(r"\b(left|right)\b", re.IGNORECASE)


@dataclass(frozen=True)
class View:
    """A part of the square, in fractions of its side from edge to edge.

    Attributes:
        left: Where it begins.
        top: Where it begins.
        share: Its width and height.
        mirrored: Whether left and right are exchanged.
    """

    left: float
    top: float
    fraction: float
    mirrored: bool

    def show(self, image: np.ndarray) -> np.ndarray:
        """Image as this view shows it: uint8 array of the image's shape (side, side)."""
        side = len(image)
        if self.fraction < 1:
            import cv2

            top, left = round(self.top * side), round(self.left * side)
            length = round(self.fraction * side)
            cut = np.ascontiguousarray(image[top : top + length, left : left + length])
            image = cv2.resize(cut, (side, side), interpolation=cv2.INTER_CUBIC)
        return np.ascontiguousarray(image[:, ::-1]) if self.mirrored else image

    def back(self, detection: Detection) -> Detection:
        """A detection in this view as one on the whole image, in fractions of the padded square.

        >>> VIEWS["mirrored"].back(Detection(u=0.1, v=0.2, box=None, confidence=None, phrase="Left lung")).phrase
        'Right lung'
        """
        u, v = self._place(detection.u, detection.v)
        box = detection.box
        if box is not None:
            (x0, y0), (x1, y1) = self._place(box[0], box[1]), self._place(box[2], box[3])
            box = (min(x0, x1), y0, max(x0, x1), y1)
        phrase = SIDES.sub(_other_side, detection.phrase) if detection.phrase and self.mirrored else detection.phrase
        return replace(detection, u=u, v=v, box=box, phrase=phrase)

    def _place(self, u: float, v: float) -> tuple[float, float]:
        u = 1 - u if self.mirrored else u
        return self.left + u * self.fraction, self.top + v * self.fraction


VIEWS: Mapping[str, View] = {
    "whole": View(0.0, 0.0, 1.0, mirrored=False),
    "mirrored": View(0.0, 0.0, 1.0, mirrored=True),
    "upper_left": View(0.0, 0.0, CROP, mirrored=False),
    "upper_right": View(1 - CROP, 0.0, CROP, mirrored=False),
    "lower_left": View(0.0, 1 - CROP, CROP, mirrored=False),
    "lower_right": View(1 - CROP, 1 - CROP, CROP, mirrored=False),
}
NAMES: tuple[str, ...] = get_args(Name)


def contradicts(phrase: str | None, u: float) -> bool:
    """Whether a phrase names one side of the patient and the place is on the other; left is the patient's left.

    The patient's left is on the right of the image. A phrase that names both sides, or none, contradicts nothing.

    Args:
        phrase: The model's name of a detection.
        u: Column of its place, as a fraction of the square.

    >>> contradicts("nodule in the left lung", 0.3), contradicts("nodule in the left lung", 0.7)
    (True, False)
    """
    named = {word.lower() for word in SIDES.findall(phrase or "")}
    return named == ({"left"} if u < 0.5 else {"right"})


def _other_side(match: re.Match[str]) -> str:
    word = match[0]
    other = "right" if word.lower() == "left" else "left"
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other
