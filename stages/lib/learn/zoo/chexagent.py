"""CheXagent-2 or the first CheXagent as it is, asked: the wording is chosen on validation images.

It runs in a process and an environment of its own (`lib.models.chexagent`). Each question of `zoo.bank` is put to it as
it stands, and an answer is told by the logits of the two answers after the prompt, in one pass: no text is generated.
What was asked lies in a journal, so that a run that was ended in the middle goes on.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import params
from stages.lib.core.errors import ModelError
from stages.lib.core.log import LOG
from stages.lib.images import normalized, shifts
from stages.lib.images.shifts import UNMOVED, Shift
from stages.lib.learn import wordings
from stages.lib.learn.candidate import Fitted, Scores, Setting
from stages.lib.models import classify
from stages.lib.models.answerer import Wording
from stages.lib.models.backbone import Row
from stages.lib.models.chexagent import client, facts
from stages.lib.models.chexagent.client import ChexagentModelParams
from stages.lib.models.classify import Classifier

READS = "pixels"
JOURNALS = "journals"


@params.section
class Params(Row, ChexagentModelParams):
    """Which model, and how it is shown images."""

    side_px: params.Count  # side of the square that it is given, made from the original; its code resizes that
    shifts: params.Count  # places along a side of an image token; logits are the mean over shifts x shifts passes


def fit(params: Params, setting: Setting, folder: Path) -> Fitted:
    """Choose the wording on validation images. Operations are not counted: the model's code runs in its own process.

    Raises:
        ModelError: If the model's files cannot be used, or the places do not divide an image token.
        EnvironmentBuildError: If its environment cannot be used.
        WorkerError: If its process refuses, dies or hangs, or gives no answer about some images.
        BlindModelError: If it does not look at the image.
        TrainingError: If average precision is undefined on the validation images.
    """
    where = _where(setting)
    tried, taken = wordings.choose(setting, partial(_logits, params, setting, where), folder, compares=False)
    return Fitted(
        tried=tried,
        chosen=taken.name,
        parameters=facts.parameters(where.fetched),
        passes=params.shifts**2,
    )


def score(params: Params, setting: Setting, folder: Path) -> Scores:
    """Logits of the two answers by the chosen wording, of each image.

    Raises:
        DocumentError: If no wording was chosen.
        NoduleflowError: As `fit`.
    """
    return wordings.scores(_logits(params, setting, _where(setting), wordings.chosen(folder)), compares=False)


def _where(setting: Setting) -> client.Setting:
    given = {"--parts": setting.parts, "--environment": setting.environment}
    if setting.parts is None or setting.environment is None:
        missing = ", ".join(name for name, path in given.items() if path is None)
        raise ModelError(f"{setting.row}: found no {missing}, wanted the records of CheXagent's files and environment")
    return client.setting(setting.parts, setting.environment)


def _logits(params: Params, setting: Setting, where: client.Setting, wording: Wording) -> NDArray[np.float64]:
    """Logits of the two answers and their probability together, shape (n, 3), means over the places.

    All places of all images are asked about in one process, which loads the model once; what it says is averaged after.
    """
    token_px = facts.token_px(where.fetched, params.side_px, setting.row) if params.shifts > 1 else 1
    if params.shifts > 1:
        LOG.info("%s: an image token is %d of %d px", setting.row, token_px, params.side_px)
    parameter = f"zoo.models.{setting.row}.shifts"
    paths = list(setting.images.pixels or ())
    seen = [(path, place) for path in paths for place in shifts.places(params.shifts, token_px, parameter)]
    ids = dict(zip(paths, setting.images.ids, strict=True))
    questions = [
        client.Question(
            f"{ids[path]}\t{place.down_px},{place.right_px}",
            partial(normalized.load, path, place),
            wording.question or "",
        )
        for path, place in seen
    ]
    answers = (wording.negative, wording.positive)
    found = dict(zip(seen, client.ask(questions, answers, params, where, setting.kept / JOURNALS), strict=True))

    def logits(given: Sequence[Any]) -> NDArray[np.float64]:
        return np.array([found[one] for one in given], np.float64).reshape(-1, 3)

    def load(path: Path, place: Shift = UNMOVED, /) -> tuple[Path, Shift]:
        return path, place

    classifier = Classifier(logits=logits, load=load, token_px=token_px)
    read, ask = classify.averaged(classifier, params.shifts, parameter)
    return np.asarray(ask([read(path) for path in paths]))
