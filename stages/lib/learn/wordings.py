"""Wordings of a model that is asked as it is: which are tried, and which is taken, on validation images."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import documents, params
from stages.lib.core.errors import ModelError, TrainingError
from stages.lib.core.log import LOG
from stages.lib.learn.candidate import Bank, Scores, Setting, Tried
from stages.lib.metrics import binary
from stages.lib.metrics.calibration import sigmoid
from stages.lib.models.answerer import Wording

FILE = "wording.json"


@params.section
class Chosen:
    """The wording that was taken, wording.json."""

    written_by: ClassVar[str] = "zoo.fit"

    question: str | None
    positive: params.Text
    negative: params.Text


def wordings(bank: Bank, *, compares: bool) -> list[Wording]:
    """What is tried.

    >>> bank = Bank(questions=("A nodule?",), answers=("Yes/No",), text_pairs=(("nodule", "clear"),))
    >>> [one.name for one in wordings(bank, compares=False)], [one.name for one in wordings(bank, compares=True)]
    (['A nodule? Yes/No'], ['nodule/clear'])
    """
    if compares:
        return [Wording(None, positive, negative) for positive, negative in bank.text_pairs]
    pairs = [(one.split("/")[0].strip(), one.split("/")[1].strip()) for one in bank.answers]
    return [Wording(question, *pair) for question, pair in zip(bank.questions, pairs, strict=True)]


def choose(
    setting: Setting, ask: Callable[[Wording], NDArray[np.float64]], folder: Path, *, compares: bool
) -> tuple[tuple[Tried, ...], Wording]:
    """Ask about the validation images in every wording, and take that of the highest average precision.

    Args:
        setting: Bank, and validation images with their labels.
        ask: Takes a wording; returns the logits of the negative and the positive answer, and the probability of the
            two together, of each validation image, shape (n, 3).
        folder: Where the wording is written that was taken.
        compares: Whether the model compares texts.

    Returns:
        What was tried, and what was taken: the first of those that are tied.

    Raises:
        TrainingError: If average precision is undefined on the validation images.
        ModelError: If there is no wording.
    """
    labels = setting.images.labels
    if labels is None or len(np.unique(labels)) < 2:
        raise TrainingError(
            f"{setting.row}: average precision is undefined on the validation images, wanted both classes"
        )
    tried: list[Tried] = []
    best: tuple[float, Wording] | None = None
    for wording in wordings(setting.bank, compares=compares):
        found = ask(wording)
        precision = binary.average_precision(labels, found[:, 1] - found[:, 0])
        outside = f"{1 - float(found[:, 2].mean()):.3f} of the probability outside the two answers"
        note = "" if compares else outside
        LOG.info("%s: %s: average precision %.3f on validation %s", setting.row, wording.name, precision, note)
        tried.append(Tried(option=wording.name, average_precision=precision, note=note))
        if best is None or precision > best[0]:
            best = precision, wording
    if best is None:
        raise ModelError(f"{setting.row}: found no wording in zoo.bank that fits the model, wanted one")
    taken = best[1]
    documents.write(folder / FILE, Chosen(question=taken.question, positive=taken.positive, negative=taken.negative))
    return tuple(tried), taken


def chosen(folder: Path) -> Wording:
    """The wording that was taken.

    Raises:
        DocumentError: If none was.
    """
    told = documents.read(folder / FILE, Chosen)
    return Wording(told.question, told.positive, told.negative)


def scores(found: NDArray[np.float64], *, compares: bool) -> Scores:
    """Scores of images by the logits of the two answers.

    Args:
        found: Logit of the negative answer, of the positive one, and the probability of the two, shape (n, 3).
        compares: Whether the model compares texts, of which there is none beside the two.
    """
    return Scores(
        score=sigmoid(found[:, 1] - found[:, 0]),
        logits=found[:, :2],
        answer_mass=None if compares else np.minimum(found[:, 2], 1.0),
    )
