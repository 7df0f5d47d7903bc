"""The log of a training of LoFi: what was trained on what, and what each checkpoint was worth on validation reports."""

from typing import ClassVar

from stages.lib.core import params
from stages.lib.learn.train_log import TrainedBase


@params.section
class LofiCheckpoint:
    """Validation metrics of one checkpoint; null where undefined, or where nothing of the kind is learned."""

    step: params.Count
    recall_at_10: float | None  # mean of image to text and text to image
    sigmoid_loss: float | None
    caption_loss: float | None
    ground_loss: float | None
    describe_loss: float | None
    scale: float | None
    bias: float | None


@params.section
class LofiLog:
    """train.json of the chapter lofi."""

    written_by: ClassVar[str] = "train"

    encoder: TrainedBase
    decoder: TrainedBase | None  # null if nothing was taught to write
    preprocessing_hash: params.Text  # of the images
    trainable_parameters: params.Count
    total_parameters: params.Count  # those trained included
    images: params.Count
    boxed_images: params.NonNegativeInt  # with a sentence whose boxes are known
    sentences: params.Count  # of the training images' reports
    validation_images: params.NonNegativeInt
    steps: params.Count  # of the optimizer
    steps_planned: params.Count
    samples: params.Count  # images shown, repeats counted
    samples_per_step: params.Count
    epochs: params.NonNegativeFloat
    counted_samples: params.Count  # the first ones, of which the next two are
    doubles_fraction: params.Fraction  # of them, whose text another image of the same step has too
    left_out_fraction: params.Fraction  # of the sentences that were drawn, for which there was no room
    loss_first: float | None  # mean over the first tenth of the steps; null if one was not finite
    loss_last: float | None  # mean over the last tenth
    selected_by: params.Text  # validation metric, or "last"
    selected_step: params.Count
    checkpoints: tuple[LofiCheckpoint, ...]
    notes: tuple[str, ...]  # sentences that the report has to repeat
    resumed_from_step: params.NonNegativeInt  # 0 for a fresh start
    seconds: params.NonNegativeFloat  # wall-clock time of this process's part
    data_wait_fraction: params.NonNegativeFloat  # of that time, waiting for images
