"""The log of a training: what was trained on what, and what each checkpoint was worth on validation images."""

from typing import ClassVar, Self

from stages.lib.core import params
from stages.lib.models.snapshot import Identity, Snapshot


@params.section
class TrainedBase(Identity):
    """The base model that was trained on."""

    revision: params.Text  # as the parameters have it; "none" for a folder

    @classmethod
    def of(cls, found: Snapshot) -> Self:
        """The base whose files were found."""
        return cls(base=found.base, commit=found.commit, sha256=found.sha256, revision=found.revision)


@params.section
class Checkpoint:
    """Validation metrics of one checkpoint; null where validation images lack a class."""

    step: params.Count
    loss: float | None
    balanced_accuracy: float | None
    f1: float | None
    average_precision: float | None


@params.section
class TrainLog:
    """train.json."""

    written_by: ClassVar[str] = "train"

    base: TrainedBase
    preprocessing_hash: params.Text  # of the images
    trainable_parameters: params.Count
    total_parameters: params.Count  # those trained included
    images: params.Count
    positive_images: params.Count
    validation_images: params.NonNegativeInt
    positive_validation_images: params.NonNegativeInt
    steps: params.Count  # of the optimizer
    steps_planned: params.Count
    samples: params.Count  # images shown, repeats counted
    samples_per_step: params.Count
    epochs: params.NonNegativeFloat
    coverage_of_negatives: params.Fraction  # negative images that were shown at least once, of all of them
    training_odds: params.NonNegativeFloat  # images with a nodule for each without, as they were shown
    positive_weight: params.PositiveFloat  # in the loss, of an image with a nodule
    loss_first: float | None  # mean over the first tenth of the steps; null if one was not finite
    loss_last: float | None  # mean over the last tenth
    selected_by: params.Text  # validation metric, or "last"
    selected_step: params.Count
    checkpoints: tuple[Checkpoint, ...]
    notes: tuple[str, ...]  # sentences that the report has to repeat
    resumed_from_step: params.NonNegativeInt  # 0 for a fresh start
    seconds: params.NonNegativeFloat  # wall-clock time of this process's part
    data_wait_fraction: params.NonNegativeFloat  # of that time, waiting for images
