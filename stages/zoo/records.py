"""Documents of the chapter: what was embedded, what a row's fit came to, and why a row failed."""

from typing import ClassVar

from stages.lib.core import params
from stages.lib.detect.cutoff import Cutoff
from stages.lib.learn.candidate import Tried

CHAPTER = "zoo"


@params.section
class Failure:
    """Why a row, or the features that it needs, could not be made; its outputs are empty then."""

    stage: params.Text  # embed, tokens, fit, infer
    error: params.Text  # class of the error
    reason: params.Text  # its message


@params.section
class Embedded:
    """Record of the features of one backbone, one shard of images."""

    written_by: ClassVar[str] = "zoo.embed"

    failure: Failure | None
    architecture: str | None
    identity: str | None  # what decides the features beside the images
    weights_sha256: str | None
    parameters: int | None
    operations: float | None  # of one image in one pass, counted on meta tensors
    features: int | None  # width of a token
    rows: int | None  # of patch tokens; columns are as many
    prefix: int | None
    patch_px: int | None
    places: int | None
    random_weights: bool | None
    preprocessing_hash: str | None
    images: params.NonNegativeInt
    bytes: params.NonNegativeInt  # of the file of features
    computed: params.NonNegativeInt  # images that passed the model; the others were found
    seconds: params.NonNegativeFloat  # wall clock, loading included
    seconds_per_image: float | None  # wall clock of an image's passes alone, measured when they were made


@params.section
class Fit:
    """Record of a row's fit, fit.json."""

    written_by: ClassVar[str] = "zoo.fit"

    model: params.Text
    kind: params.Text
    failure: Failure | None
    images: params.NonNegativeInt
    positive_images: params.NonNegativeInt
    validation_images: params.NonNegativeInt
    positive_validation_images: params.NonNegativeInt
    preprocessing_hash: str
    side_px: int | None
    tried: tuple[Tried, ...]
    chosen: str
    trained_parameters: params.NonNegativeInt
    parameters: int | None  # those of its backbone included
    operations: float | None  # of one image in one pass, those of its backbone included
    passes: params.Count
    random_weights: bool
    notes: tuple[str, ...]
    seconds: params.NonNegativeFloat
    features: str | None = None  # features that it read, by `record_files.features_name`; null without any


@params.section
class Inferred:
    """Record of a row's scores, beside its table."""

    written_by: ClassVar[str] = "zoo.infer"

    model: params.Text
    failure: Failure | None
    images: params.NonNegativeInt
    seconds: params.NonNegativeFloat
    seconds_per_image: float | None
    answer_mass: float | None  # mean over images; null of kinds without two answers


@params.section
class Drawn:
    """One fit of a learning curve."""

    fraction: params.PositiveFloat  # of the training patients
    draw: params.NonNegativeInt
    patients: params.NonNegativeInt
    images: params.NonNegativeInt
    positive_images: params.NonNegativeInt
    chosen: str
    validation_average_precision: float | None  # of what was chosen, by which it was chosen
    notes: tuple[str, ...]
    failure: str | None  # why there is no fit


@params.section
class Learned:
    """Record of a learning curve."""

    written_by: ClassVar[str] = "zoo.curve"

    model: params.Text
    draws: tuple[Drawn, ...]


@params.section
class Taught:
    """What a localizer was trained on."""

    images: params.NonNegativeInt  # with marked nodules
    patients: params.NonNegativeInt  # of these
    points: params.NonNegativeInt  # nodules on them
    negative_images: params.NonNegativeInt


@params.section
class Localized:
    """Record of a trained localizer."""

    written_by: ClassVar[str] = "zoo.localize"

    localizer: params.Text
    kind: params.Text
    failure: Failure | None
    taught: Taught | None
    images: params.NonNegativeInt  # that points were looked for on
    points: params.NonNegativeInt  # that were found
    trained_parameters: params.NonNegativeInt
    passes: params.NonNegativeInt  # forward passes of the backbone per image
    cutoff: Cutoff | None  # chosen on validation images
    preprocessing_hash: str
    notes: tuple[str, ...]
    seconds: params.NonNegativeFloat


@params.section
class Fold:
    """One fit, of the images of all patients but one."""

    patient_id: params.Text
    cutoff: float | None  # chosen on negative images that taught nothing; null if all points are shown
    choosing_images: params.NonNegativeInt  # that chose it


@params.section
class RivalNotes:
    """A localizer of the study on the images of the folds, and which of these chose for it."""

    localizer: params.Text
    images: params.NonNegativeInt  # that it was asked about
    chose_marked: params.NonNegativeInt  # annotated images that chose its prompt or its cutoff
    chose_negative: params.NonNegativeInt  # negative ones


@params.section
class CrossValidated:
    """What stands beside the measures of heatmaps that leave one patient out."""

    written_by: ClassVar[str] = "zoo.localizer_cv"

    localizer: params.Text
    systems: tuple[str, ...]  # in the order of the page
    trained: tuple[str, ...]  # those of the systems that leave one patient out
    images: params.NonNegativeInt  # annotated images that are measured
    patients: params.NonNegativeInt
    points: params.NonNegativeInt
    sources: tuple[str, ...]
    left_out: params.NonNegativeInt  # images that some rival was not asked about
    teaching_negatives: params.NonNegativeInt
    choosing_negatives: params.NonNegativeInt
    measured_negatives: params.NonNegativeInt
    unchosen_images: params.NonNegativeInt  # annotated images that chose nothing for any rival
    false_points_per_image: params.PositiveFloat  # that was wanted
    tight_fraction: params.Fraction
    tolerant_fraction: params.Fraction
    confidence: params.Fraction
    folds: dict[str, tuple[Fold, ...]]  # by system
    rivals: tuple[RivalNotes, ...]
    random_weights: bool
    seconds: params.NonNegativeFloat
