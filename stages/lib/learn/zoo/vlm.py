"""A vision-language model as it is, asked: the wording is chosen on validation images.

Each question of `zoo.bank` with its two answers is put to the validation images, or each pair of texts where the model
compares texts; the wording with the highest average precision is taken. An answer is told by the logits of the two
answers after the prompt, never by generated text, and averaged over an image's places.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import params
from stages.lib.core.errors import ModelError
from stages.lib.images import normalized
from stages.lib.learn import wordings
from stages.lib.learn.candidate import Fitted, Scores, Setting
from stages.lib.learn.kept_logits import KeptLogits
from stages.lib.models import answering, classify
from stages.lib.models.answerer import CLASSES, Answerer, AnswererParams, AnswererSetting, Wording
from stages.lib.models.classify import Classifier

READS = "pixels"


@params.section
class Params(AnswererParams):
    """Which model."""


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
    ask = partial(_asked, params, setting, answerer, KeptLogits(setting))
    tried, taken = wordings.choose(setting, ask, folder, compares=answerer.compares)
    return Fitted(
        tried=tried,
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
    wording = wordings.chosen(folder)
    answerer = load(params, setting)
    found = _asked(params, setting, answerer, KeptLogits(setting), wording)
    return wordings.scores(found, compares=answerer.compares)


def _asked(
    params: Params, setting: Setting, answerer: Answerer, known: KeptLogits, wording: Wording
) -> NDArray[np.float64]:
    """Logits of the images, shape (n, 3); found again if the same were asked before, whatever the row is called."""
    facts = [answerer.identity, params.shifts, json.dumps([wording.question, wording.positive, wording.negative])]
    return known.find(facts, partial(_logits, params, setting, answerer, wording))


def _logits(params: Params, setting: Setting, answerer: Answerer, wording: Wording) -> NDArray[np.float64]:
    """Logits of the two answers and their probability together, shape (n, 3), means over the places."""

    def logits(given: Sequence[Any]) -> np.ndarray:
        return answerer.ask(given, wording)

    classifier = Classifier(logits=logits, load=normalized.load, token_px=answerer.token_px)
    read, ask = classify.averaged(classifier, params.shifts, f"zoo.models.{setting.row}.shifts")
    return classify.in_batches(list(setting.images.pixels or ()), ask, read, setting.batch_size, setting.readers)
