"""A classifier of the study as a row: its scores are those of the chapter nodules, read from a table."""

from pathlib import Path

import numpy as np

from stages.lib.core import params
from stages.lib.core.errors import ModelError, UndefinedMetricError
from stages.lib.learn.candidate import Fitted, Scores, Setting, Tried
from stages.lib.metrics.binary import average_precision
from stages.lib.models import gemma3_size
from stages.lib.models.backbone import Row

READS = "scores"


@params.section
class Params(Row):
    """Which classifier."""

    classifier: params.Text  # row of nodules.classifiers
    shifts: params.Count  # places along a side of an image token; each image is seen at shifts x shifts places


def fit(params: Params, setting: Setting, folder: Path) -> Fitted:
    """Tell what the classifier reaches on validation; there is nothing to fit.

    Its operations are counted if it is given the base that the classifier asks.

    Raises:
        ModelError: If the table lacks scores of these images.
    """
    del folder  # nothing is kept
    scores, labels = _scores(params, setting), setting.images.labels
    evidence = next(iter(setting.images.margins.values()), scores)  # of the one table
    try:
        reached = None if labels is None else average_precision(labels, evidence)
    except UndefinedMetricError:
        reached = None
    option = f"{params.classifier}, shifts {params.shifts}"
    size = gemma3_size.of_answer(Path(setting.found.folder), setting.bank.questions[0]) if setting.found else None
    return Fitted(
        tried=(Tried(option=option, average_precision=reached),),
        parameters=size.parameters if size else None,
        operations=size.operations if size else None,
        passes=params.shifts**2,
        notes=("What the study chose for this classifier it chose on the same validation images.",)
        + (
            ("Operations are those of the base with the first question of zoo.bank; an adapter adds few.",)
            if size
            else ()
        ),
    )


def score(params: Params, setting: Setting, folder: Path) -> Scores:
    """The classifier's scores.

    Raises:
        ModelError: If the table lacks scores of these images.
    """
    del folder
    return Scores(score=_scores(params, setting))


def _scores(params: Params, setting: Setting) -> np.ndarray:
    """Score of each image, shape (n,)."""
    tables = list((setting.images.scores or {}).values())  # one, whatever its file is called
    found = tables[0] if len(tables) == 1 else None
    if found is None or len(found) != len(setting.images) or not np.isfinite(found).all():
        raise ModelError(
            f"{setting.row}: no finite scores of the classifier {params.classifier} of all {len(setting.images)} "
            "images; wanted those of the stage nodules.infer: run it again"
        )
    return found
