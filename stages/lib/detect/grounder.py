"""Sentences that a grounder is asked about, and the boxes that it draws for them, whichever model is behind it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from stages.lib.core.errors import DataError, ParamsError
from stages.lib.detect.demonstrations import Pool
from stages.lib.images import normalized
from stages.lib.models.box_text import Box, Read
from stages.lib.models.conversation import Turn
from stages.lib.models.lofi.params import ModelParams

GREY = 128  # of the image that says nothing
Neighbours = Mapping[str, Sequence[tuple[str, float]]]  # of each image the images that are like it, and how much
T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """A sentence, and the image that is shown with it.

    Attributes:
        seen: "own", "shuffled" or "grey".
        image_id: Image of the sentence.
        number: Of the sentence in its report.
        text: The sentence.
        patient_id: Its patient.
        shown_id: The image that is shown; None for the grey one.
        shown_patient_id: Patient of the image that is shown; None for the grey one.
        png: The image that is shown, normalized; None for the grey one.
    """

    seen: str
    image_id: str
    number: int
    text: str
    patient_id: str
    shown_id: str | None
    shown_patient_id: str | None
    png: Path | None

    @property
    def group(self) -> tuple[str, str]:
        """What it shares with the other sentences of its image: they are shown the same."""
        return self.seen, self.image_id

    def pixels(self, side_px: int) -> np.ndarray:
        """The image that is shown, uint8 array of shape (side, side); a grey one has the given side."""
        if self.png is None:
            return np.full((side_px, side_px), GREY, np.uint8)
        return normalized.load(self.png)


@dataclass(frozen=True)
class Answered:
    """What a grounder makes of a sentence.

    Attributes:
        status: "ok", "empty" or "malformed".
        problem: Why it is malformed; None if it is not.
        boxes: Left, top, right, bottom, fractions of the padded square of the image that was shown; none of a malformed
            answer.
        confidences: Of each box; none of a grounder that has none.
        response: The answer, verbatim; None of a grounder that writes none.
        shown: Names of the examples in the prompt, in order.
        turns: The whole conversation up to the answer; empty without one.
    """

    status: str
    problem: str | None
    boxes: tuple[Box, ...]
    confidences: tuple[float, ...] = ()
    response: str | None = None
    shown: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()


Grounder = Callable[[Sequence[Asked]], Iterator[Answered]]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a kind of grounder may want beside the parameters of its row; None where it was not given.

    Attributes:
        pool: Examples of training images.
        neighbours: Training images that are like each image, the most alike first, by the encoder of the row.
        base: Record of a model's files: the one that is asked in context, or LoFi's encoder.
        decoder: Record of the files of LoFi's decoder.
        adapter: Folder of a LoFi adapter.
        model: How LoFi's network is joined.
        features: Folder of vision features, which a later run takes up.
        preprocessing_hash: Of the images; empty if there is none.
    """

    pool: Pool
    neighbours: Neighbours | None = None
    base: str | None = None
    decoder: str | None = None
    adapter: str | None = None
    model: ModelParams | None = None
    features: Path | None = None
    preprocessing_hash: str = ""


def wanted(name: str, found: T | None) -> T:
    """A thing of the setting that the kind cannot do without.

    Raises:
        ParamsError: If it was not given.
    """
    if found is None:
        raise ParamsError(f"--{name}:", ["found none, wanted one: this kind of grounder reads it"])
    return found


def answered(read: Read, response: str, shown: Sequence[str] = (), turns: Sequence[Turn] = ()) -> Answered:
    """A generated text, and what was read of it, as an answer."""
    return Answered(read.status, read.problem, read.boxes, (), response, tuple(shown), tuple(turns))


def like(asked: Asked, neighbours: Neighbours) -> Sequence[tuple[str, float]]:
    """Training images that are like the one that is shown; of the grey one there are none.

    Raises:
        DataError: If its neighbours were not found.
    """
    if asked.shown_id is None:
        return ()
    if asked.shown_id not in neighbours:
        raise DataError(
            "neighbours:", [f"image {asked.shown_id}: found no neighbours, wanted them; run lofi.retrieve again"]
        )
    return neighbours[asked.shown_id]
