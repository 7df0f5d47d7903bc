"""The log of the fine-tuning of a grounder: what was trained on what, and the validation loss of each checkpoint."""

from typing import ClassVar, Literal

from stages.lib.core import params
from stages.lib.learn.text_log import TextCheckpoint
from stages.lib.learn.train_log import TrainedBase


@params.section
class TuneLog:
    """results/lofi/tune/<grounder>/tune.json."""

    written_by: ClassVar[str] = "tune"

    encoder: TrainedBase
    decoder: TrainedBase
    start: params.Text  # folder of the adapter that it began with; none: the weights of the bases
    tower: Literal["frozen", "lora"]
    preprocessing_hash: params.Text  # of the images
    trainable_parameters: params.Count
    total_parameters: params.Count  # those trained included
    images: params.Count
    sentences: params.Count  # of them, with boxes
    validation_sentences: params.NonNegativeInt
    steps: params.Count  # of the optimizer
    steps_planned: params.Count
    samples: params.Count  # sentences shown, repeats counted
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
