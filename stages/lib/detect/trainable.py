"""Interface of the kinds of `zoo.localizers`: localizers that are trained on the study's own marked images.

A kind is a module of `stages.lib.detect.trained` with

    Params    class of the row, `backbone.Row` and `backbone.BackboneParams`
    READS     what it reads of images: "tokens" or "pixels"
    teaching  teaching(params, images) -> those of the images of the train split that teach: all marked, some negative
    fit       fit(params, setting, images) -> Fitted, of images that teach; `find` needs what is in the setting's folder
    find      find(params, setting, images) -> Detections of each image, in their order; reads no mark and no label
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import ProblemsError
from stages.lib.images.geometry import Geometry
from stages.lib.metrics.evaluation_sets import of_many_patients
from stages.lib.models.snapshot import Snapshot

Reads = Literal["tokens", "pixels"]


class MarksError(ProblemsError):
    """The marked images cannot teach a localizer."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """One image, and what is known of it.

    Attributes:
        image_id: Its name.
        patient_id: Its patient.
        geometry: Size of the original and of the normalized image.
        spacing_mm: Millimetres per pixel of the original; None if it is not known.
        label: 1 nodule, 0 none, None not known.
        points: Its nodules, x and y, shape (m, 2), pixels of the original; none is marked, or there is none.
        tokens: Returns its patch tokens, float16 of shape (places, rows, rows, features); None for a kind that reads
            pixels.
        pixels: Path of the normalized image; None for a kind that reads tokens.
        boxes: Width and height of the box that marked each nodule, shape (m, 2), pixels of the original, NaN without.
    """

    image_id: str
    patient_id: str
    geometry: Geometry
    spacing_mm: float | None
    label: int | None
    points: NDArray[np.float64]
    tokens: Callable[[], NDArray[Any]] | None = None
    pixels: Path | None = None
    boxes: NDArray[np.float64] | None = None

    @property
    def marked(self) -> bool:
        """Whether it is known where its nodules are."""
        return len(self.points) > 0

    @property
    def negative(self) -> bool:
        """Whether it is known to have no nodule."""
        return self.label == 0 and not self.marked


@dataclass(frozen=True, kw_only=True)
class BoxTraining:
    """What a detector is tuned on, and how; the loop that does it stands beside this part of the library.

    Attributes:
        images: Normalized image and boxes of each, the latter (u, v, width, height) in fractions of the padded square,
            shape (m, 4).
        architecture: Class of the detector.
        side_px: Side of the images.
        batch_size: Images of an optimizer step.
        learning_rate, weight_decay, warmup_ratio, max_grad_norm, max_steps, seed: As of `learn.task.LoopParams`.
    """

    images: tuple[tuple[Path, NDArray[np.float64]], ...]
    architecture: str
    side_px: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_ratio: float
    max_grad_norm: float
    max_steps: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What `fit` and `find` get beside the row.

    Attributes:
        row: Name of the row, for errors.
        folder: Of what was fitted.
        found: The model's files; None for a kind that reads tokens.
        rows: Rows of patch tokens; None for a kind that reads pixels.
        tune: Tunes a detector, `box_model.Loaded`; None for a kind that reads tokens.
        tuned: What was tuned, the last one behind.
    """

    row: str
    folder: Path
    found: Snapshot | None = None
    rows: int | None = None
    tune: Callable[[BoxTraining], Any] | None = None
    tuned: list[Any] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a fit came to.

    Attributes:
        trained_parameters: Parameters that were fitted.
        notes: Sentences that the report has to repeat.
    """

    trained_parameters: int
    notes: tuple[str, ...] = ()


def check_marks(row: str, images: Sequence[Known]) -> None:
    """Refuse images that cannot teach a localizer.

    Args:
        row: Name of the row.
        images: Those that it is to learn from.

    Raises:
        MarksError: If none is marked, all marked ones are of one patient, or there is no negative one; all at once.
    """
    marked = [image for image in images if image.marked]
    patients = {image.patient_id for image in marked}
    problems = []
    if not marked:
        problems.append(
            f"{row}: found no image with marked nodules among {len(images)} training images, wanted some of two "
            "patients or more; mark nodules, or take the row out of zoo.localizers"
        )
    elif len(patients) < 2:
        problems.append(
            f"{row}: found {len(marked)} marked images of one patient ({patients.pop()}), wanted two patients or more: "
            "what is learned from one would be that patient; mark more, or take the row out of zoo.localizers"
        )
    if not any(image.negative for image in images):
        problems.append(
            f"{row}: found no negative image among {len(images)} training images, wanted some; raise negative_images"
        )
    if problems:
        raise MarksError("a localizer cannot be trained:", problems)


def with_negatives(images: Sequence[Known], negative_images: int, seed: int) -> list[Known]:
    """Marked images, and a sample of the negative ones, of as many patients as there are, in the order of the images.

    Args:
        images: Images of the train split.
        negative_images: Size of the sample; all of them if there are fewer.
        seed: Of the sample.
    """
    negative = [image for image in images if image.negative]
    names, patients = [image.image_id for image in negative], [image.patient_id for image in negative]
    drawn = set(of_many_patients(names, patients, negative_images, seed))
    return [image for image in images if image.marked or image.image_id in drawn]
