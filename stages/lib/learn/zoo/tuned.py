"""Full fine-tuning: all weights of a vision model and a new head of one logit, by the project's loop.

The checkpoint of the highest average precision on validation images is taken. An image's score is the sigmoid of its
logit, averaged over its places.
"""

import shutil
from pathlib import Path

from stages.lib.core import params as parameters
from stages.lib.core.errors import TrainingError
from stages.lib.core.locks import locked
from stages.lib.learn import loop
from stages.lib.learn.candidate import Fitted, Scores, Setting, Tried
from stages.lib.learn.image_task import AVERAGE, BATCH_NORMED, WEIGHTS, ImageTask, TuneParams
from stages.lib.learn.network_scores import score_folder
from stages.lib.models.backbone import BackboneParams, Row

READS = "pixels"
OWN_PLACE = "images at their own place alone"  # by which checkpoints are compared


@parameters.section
class Params(Row, BackboneParams, TuneParams):
    """Which vision model, and how it is tuned."""

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = []
        for section in (BackboneParams, TuneParams):
            try:
                section.__post_init__(self)
            except ValueError as error:
                problems.append(str(error))
        if self.library != "transformers":
            problems.append(f"library {self.library}, wanted transformers, whose classes alone can be tuned")
        if self.architecture in BATCH_NORMED and self.per_device_train_batch_size < 2:
            problems.append(
                f"per_device_train_batch_size {self.per_device_train_batch_size}, wanted 2 or more: "
                f"{self.architecture} has norms of the batch"
            )
        if problems:
            raise ValueError("; ".join(problems))


def fit(params: Params, setting: Setting, folder: Path) -> Fitted:
    """Tune the model, going on from the newest checkpoint of the same training, whatever the row was called then.

    A row that is to be tuned in the same way at the same time waits for this one, and then finds its weights.

    Raises:
        ModelError: If the folder does not hold the class of the row, whole.
        TrainingError: If the loss is not finite, or memory does not suffice.
        PreemptedError: If the process was sent SIGTERM; the checkpoint is written.
    """
    from stages.lib.models import image_network

    if setting.train is None or setting.found is None:
        raise TrainingError(f"{setting.row}: wanted training images and the files of a model")
    task = ImageTask(
        row=setting.row,
        train=setting.train,
        val=setting.images,
        preprocessing_hash=setting.preprocessing_hash,
        found=setting.found,
        backbone=params,
        params=params,
    )
    root = setting.kept / "checkpoints"
    with locked(loop.place(task, root) / "lock", f"{setting.row}: the same training"):
        outcome = loop.fit(task, root)
        weights = outcome.checkpoint / (AVERAGE if params.average_decay else WEIGHTS)
        shutil.copyfile(weights, folder / image_network.WEIGHTS)
    began = task.load().loaded
    image_network.describe(began, folder)
    image_network.read(folder, setting.row)  # what was written is whole
    note = OWN_PLACE if params.shifts > 1 else ""
    tried = tuple(
        Tried(option=_name(row.step), average_precision=row.validation.get("average_precision"), note=note)
        for row in outcome.table
    )
    return Fitted(
        tried=tried,
        chosen=_name(outcome.selected_step),
        trained_parameters=outcome.trainable,
        parameters=outcome.total,
        operations=began.operations,
        passes=params.shifts**2,
        random_weights=began.described.random_weights,
        notes=(*began.notes, *outcome.notes),
    )


def _name(step: int) -> str:
    return f"step {step}"


def score(params: Params, setting: Setting, folder: Path) -> Scores:
    """Score of each image.

    Raises:
        DocumentError: If nothing was fitted.
        ModelError: If the weights are not all and only those of the class.
        MismatchError: If another class, or another side, was fitted.
    """
    return score_folder(folder, params.architecture, params.side_px, params.shifts, setting)
