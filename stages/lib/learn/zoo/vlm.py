"""A vision-language model as it is, asked: the wording is chosen on validation images.

Each question of `zoo.bank` with its two answers is put to the validation images, or each pair of texts where the model
compares texts; the wording with the highest average precision is taken. An answer is told by the logits of the two
answers after the prompt, never by generated text, and averaged over an image's places.
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import documents, files, params
from stages.lib.core.errors import ModelError, TrainingError
from stages.lib.core.log import LOG
from stages.lib.images import normalized
from stages.lib.learn.candidate import Bank, Fitted, Inputs, Scores, Setting, Tried
from stages.lib.metrics import binary
from stages.lib.metrics.calibration import sigmoid
from stages.lib.models import answering, classify, kept
from stages.lib.models.answerer import CLASSES, Answerer, AnswererParams, AnswererSetting, Wording
from stages.lib.models.classify import Classifier

READS = "pixels"
FILE = "wording.json"


@params.section
class Params(AnswererParams):
    """Which model."""


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


def load(params: Params, setting: Setting) -> Answerer:
    """The model of a row.

    Raises:
        ModelError: If it cannot be loaded as the row says.
    """
    from importlib import import_module

    if setting.found is None:
        raise ModelError(f"{setting.row}: found no model, wanted that of zoo.models.{setting.row}.source")
    given = AnswererSetting(row=setting.row, found=setting.found, model=setting.model)
    module = import_module(f"{answering.__name__}.{CLASSES[params.architecture]}")
    found: Answerer = module.load(params, given)
    return found


def fit(params: Params, setting: Setting, folder: Path) -> Fitted:
    """Choose the wording on validation images. What was asked is kept, so that an interrupted fit goes on.

    Raises:
        ModelError: If the model cannot be loaded, or a wording cannot be told by its tokens.
        TrainingError: If average precision is undefined on the validation images.
    """
    answerer = load(params, setting)
    labels = setting.images.labels
    if labels is None or len(np.unique(labels)) < 2:
        raise TrainingError(
            f"{setting.row}: average precision is undefined on the validation images, wanted both classes"
        )
    tried: list[Tried] = []
    best: tuple[float, Wording] | None = None
    digests = [files.sha256_file(path) for path in setting.images.pixels or ()]
    for wording in wordings(setting.bank, compares=answerer.compares):
        found = _asked(params, setting, answerer, wording, digests)
        precision = binary.average_precision(labels, found[:, 1] - found[:, 0])
        outside = f"{1 - float(found[:, 2].mean()):.3f} of the probability outside the two answers"
        note = "" if answerer.compares else outside
        LOG.info("%s: %s: average precision %.3f on validation %s", setting.row, wording.name, precision, note)
        tried.append(Tried(option=wording.name, average_precision=precision, note=note))
        if best is None or precision > best[0]:
            best = precision, wording
    if best is None:
        raise ModelError(f"{setting.row}: found no wording in zoo.bank that fits the model, wanted one")
    taken = best[1]
    documents.write(folder / FILE, Chosen(question=taken.question, positive=taken.positive, negative=taken.negative))
    return Fitted(
        tried=tuple(tried),
        chosen=taken.name,
        parameters=answerer.parameters,
        operations=answerer.operations,
        passes=params.shifts**2,
        random_weights=answerer.random_weights,
    )


def score(params: Params, setting: Setting, folder: Path) -> Scores:
    """Logits of the two answers by the chosen wording, of each image.

    Raises:
        DocumentError: If no wording was chosen.
        ModelError: If the model cannot be loaded.
    """
    told = documents.read(folder / FILE, Chosen)
    wording = Wording(told.question, told.positive, told.negative)
    answerer = load(params, setting)
    found = _logits(params, setting, answerer, wording, setting.images)
    return Scores(
        score=sigmoid(found[:, 1] - found[:, 0]),
        logits=found[:, :2],
        answer_mass=None if answerer.compares else np.minimum(found[:, 2], 1.0),
    )


def _asked(
    params: Params, setting: Setting, answerer: Answerer, wording: Wording, digests: Sequence[str]
) -> NDArray[np.float64]:
    """Logits of the validation images, shape (n, 3); found again if the same were asked before."""
    facts = [answerer.identity, params.shifts, wording.name, wording.question is None, *digests]
    at = kept.path(setting.work / "asked", sha256("\0".join(map(str, facts)).encode()).hexdigest())
    known = kept.read(at)
    if known is not None and known.size == 3 * len(setting.images):
        return np.asarray(known.reshape(-1, 3), np.float64)
    found = _logits(params, setting, answerer, wording, setting.images).astype(np.float32)
    kept.write(at, found)
    return found.astype(np.float64)


def _logits(
    params: Params, setting: Setting, answerer: Answerer, wording: Wording, images: Inputs
) -> NDArray[np.float64]:
    """Logits of the two answers and their probability together, shape (n, 3), means over the places."""

    def logits(given: Sequence[Any]) -> np.ndarray:
        return answerer.ask(given, wording)

    classifier = Classifier(logits=logits, load=normalized.load, token_px=answerer.token_px)
    read, ask = classify.averaged(classifier, params.shifts, f"zoo.models.{setting.row}.shifts")
    return classify.in_batches(list(images.pixels or ()), ask, read, setting.batch_size, setting.readers)
