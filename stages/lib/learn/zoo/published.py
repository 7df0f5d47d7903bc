"""A published classifier as it is: its own output of one label is the score, and nothing is fitted.

An image's score is the sigmoid of that output's logit, averaged over its places. Thresholds that a library bends its
scores by are left out: they would move the logits of each label by another function, and nothing is gained by it.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from stages.lib.core import params as parameters
from stages.lib.core.errors import ModelError, TrainingError
from stages.lib.images import normalized
from stages.lib.learn.candidate import Fitted, Scores, Setting, Tried
from stages.lib.learn.kept_logits import KeptLogits
from stages.lib.metrics import binary
from stages.lib.metrics.calibration import sigmoid
from stages.lib.models import classify
from stages.lib.models.answerer import identity
from stages.lib.models.backbone import BackboneParams, BackboneSetting, Row
from stages.lib.models.classify import Classifier
from stages.lib.models.vision import client

READS = "pixels"
LIBRARY = "torchxrayvision"


@parameters.section
class Params(Row, BackboneParams):
    """Which classifier, and which of its labels."""

    target: parameters.Text  # label of its output that is taken as the score, such as Nodule

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        BackboneParams.__post_init__(self)
        if self.library != LIBRARY:
            raise ValueError(f"library {self.library}, wanted {LIBRARY}, whose classifiers alone are taken as they are")


@contextmanager
def opened(params: Params, setting: Setting) -> Iterator[tuple[client.Model, int]]:
    """The classifier, and which of its outputs is the label of the row.

    Raises:
        ModelError: If its files do not hold the class of the row, or no output of that label.
        WorkerError: If its process cannot be started.
    """
    if setting.found is None:
        raise ModelError(f"{setting.row}: found no model, wanted that of zoo.models.{setting.row}.source")
    given = BackboneSetting(
        row=setting.row, found=setting.found, environment=setting.environment, work=setting.work / "worker"
    )
    with closing(client.open_model(params, given)) as model:
        if params.target not in model.targets:
            named = tuple(filter(None, model.targets))
            told = parameters.unknown(params.target, named)
            raise ModelError(f"{setting.row}: target: {told}; its weights have outputs of {', '.join(named)}")
        yield model, model.targets.index(params.target)


def fit(params: Params, setting: Setting, folder: Path) -> Fitted:
    """Tell what the classifier reaches on validation images; nothing is chosen, and nothing is written to the folder.

    Raises:
        ModelError: If it cannot be loaded as the row says, or has no output of the label.
        TrainingError: If average precision is undefined on the validation images.
    """
    labels = setting.images.labels
    if labels is None or len(np.unique(labels)) < 2:
        raise TrainingError(
            f"{setting.row}: average precision is undefined on the validation images, wanted both classes"
        )
    with opened(params, setting) as (model, output):
        found = _found(params, setting, model, output)
        facts = model.facts
    precision = binary.average_precision(labels, found[:, 1])
    return Fitted(
        tried=(Tried(option=f"output {params.target} as it is", average_precision=precision),),
        parameters=facts.parameters,
        operations=facts.operations,
        passes=params.shifts**2,
        random_weights=facts.random_weights,
    )


def score(params: Params, setting: Setting, folder: Path) -> Scores:
    """Score of each image.

    Raises:
        ModelError: If the classifier cannot be loaded as the row says, or has no output of the label.
    """
    with opened(params, setting) as (model, output):
        found = _found(params, setting, model, output)
    return Scores(score=sigmoid(found[:, 1] - found[:, 0]), logits=found[:, :2])


def _found(params: Params, setting: Setting, model: client.Model, output: int) -> np.ndarray:
    """The logits, found again if the images were shown to the classifier before, whatever the row was called."""
    facts = [identity(client.__name__, model.facts.identity), output, params.shifts]
    return KeptLogits(setting).find(facts, partial(_logits, params, setting, model, output))


def _logits(params: Params, setting: Setting, model: client.Model, output: int) -> np.ndarray:
    """Logits 0 and that of the label, and 1, shape (n, 3): means over an image's places."""

    def logits(given: Sequence[np.ndarray]) -> np.ndarray:
        found = model.outputs(given)[:, output].astype(np.float64)
        return np.stack([np.zeros(len(found)), found, np.ones(len(found))], axis=1)

    classifier = Classifier(logits=logits, load=normalized.load, token_px=model.facts.patch_px)
    load, ask = classify.averaged(classifier, params.shifts, f"zoo.models.{setting.row}.shifts")
    return classify.in_batches(list(setting.images.pixels or ()), ask, load, setting.batch_size, setting.readers)
