"""The log of a training on texts: what was trained on what, and the validation loss of each checkpoint."""

from typing import ClassVar

from stages.lib.core import params
from stages.lib.learn.train_log import TrainedBase


@params.section
class TextCheckpoint:
    """Validation loss of one checkpoint; null without validation texts."""

    step: params.Count
    loss: float | None


@params.section
class TextLog:
    """train.json of the findings benchmark."""

    written_by: ClassVar[str] = "train"

    base: TrainedBase
    arm: params.Text  # whose way of asking was taught
    trainable_parameters: params.Count
    total_parameters: params.Count  # those trained included
    cases: params.Count  # of the role train
    validation_cases: params.NonNegativeInt  # of the role val
    steps: params.Count  # of the optimizer
    steps_planned: params.Count
    samples: params.Count  # texts shown, repeats counted
    epochs: params.NonNegativeFloat
    loss_first: float | None  # mean over the first tenth of the steps; null if one was not finite
    loss_last: float | None  # mean over the last tenth
    selected_by: params.Text  # loss, or last
    selected_step: params.Count
    checkpoints: tuple[TextCheckpoint, ...]
    notes: tuple[str, ...]  # sentences that the report has to repeat
    resumed_from_step: params.NonNegativeInt  # 0 for a fresh start
    seconds: params.NonNegativeFloat  # wall-clock time of this process's part
    data_wait_fraction: params.NonNegativeFloat  # of that time, waiting for images
