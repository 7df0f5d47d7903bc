"""A detector: a pretrained RT-DETRv2, tuned as a whole by the project's loop on boxes around the marked nodules."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import params
from stages.lib.core.errors import ModelError
from stages.lib.detect import token_grid
from stages.lib.detect.detection import Detection
from stages.lib.detect.trainable import BoxTraining, Fitted, Known, Reads, Setting, check_marks, with_negatives
from stages.lib.images import normalized
from stages.lib.models import box_model
from stages.lib.models.backbone import BackboneParams, Row

READS: Reads = "pixels"


@params.section
class Params(Row, BackboneParams):
    """Which detector, how it is tuned, and what of it becomes a point."""

    box_fraction: params.Fraction  # side of the box around a nodule that no box was drawn around, of the square's side
    negative_images: params.Count  # of the train split that teach, of as many patients as there are
    batch_size: params.Count  # images of an optimizer step
    learning_rate: params.PositiveFloat
    weight_decay: params.NonNegativeFloat
    warmup_ratio: params.Fraction
    max_grad_norm: params.PositiveFloat
    max_steps: params.Count
    max_boxes: params.Count  # points of an image at most, the surest
    min_confidence: params.Fraction  # weaker points are left out
    seed: params.Seed

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        BackboneParams.__post_init__(self)
        wrong = {
            f"library {self.library}, wanted transformers": self.library != "transformers",
            f"architecture {self.architecture}, wanted {' or '.join(box_model.ARCHITECTURES)}": self.architecture
            not in box_model.ARCHITECTURES,
            f"shifts {self.shifts}, wanted 1: a detector is shown an image once": self.shifts != 1,
            "box_fraction 0, wanted more": self.box_fraction == 0,
        }
        problems = [what for what, found in wrong.items() if found]
        if problems:
            raise ValueError("; ".join(problems))


def teaching(params: Params, images: Sequence[Known]) -> list[Known]:
    """Marked images, and the sample of negative ones, in the order of the images."""
    return with_negatives(images, params.negative_images, params.seed)


def boxes(params: Params, image: Known) -> NDArray[np.float64]:
    """Boxes around the nodules of an image: those that were drawn, else squares of `box_fraction`.

    Returns:
        Middle and size (u, v, width, height), in fractions of the padded square, shape (m, 4).
    """
    made = np.zeros((len(image.points), 4))
    sizes = np.full((len(image.points), 2), np.nan) if image.boxes is None else image.boxes
    for number, ((x, y), size) in enumerate(zip(image.points, sizes, strict=True)):
        made[number, :2] = image.geometry.to_unit(float(x), float(y))
        made[number, 2:] = np.where(np.isnan(size), params.box_fraction, size / image.geometry.square_px)
    return made


def fit(params: Params, setting: Setting, images: Sequence[Known]) -> Fitted:
    """Tune the detector by the setting's loop.

    Raises:
        MarksError: If the images cannot teach, see `check_marks`.
        ModelError: If the model cannot be loaded.
    """
    check_marks(setting.row, images)
    if setting.tune is None or setting.found is None:
        raise ModelError(f"{setting.row}: found no model, wanted the record of its weights; run zoo_weights again")
    pairs = [(image.pixels, boxes(params, image)) for image in images]
    training = BoxTraining(
        images=tuple((png, some) for png, some in pairs if png is not None),
        architecture=params.architecture,
        side_px=params.side_px,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        weight_decay=params.weight_decay,
        warmup_ratio=params.warmup_ratio,
        max_grad_norm=params.max_grad_norm,
        max_steps=params.max_steps,
        seed=params.seed,
    )
    loaded = setting.tune(training)
    setting.tuned.append(loaded)
    size = sum(one.numel() for one in loaded.model.parameters())
    drawn = sum(int((~np.isnan(image.boxes)).all(axis=1).sum()) for image in images if image.boxes is not None)
    points = sum(len(image.points) for image in images)
    note = (
        f"Tuned for {params.max_steps} steps on {points} nodules, of which {drawn} had a box; around the others a "
        f"square of {params.box_fraction:g} of the image's side was taken."
    )
    random = ("It started from random weights: what it finds says nothing of a trained detector.",)
    return Fitted(trained_parameters=size, notes=(note, *(random if loaded.random_weights else ())))


def find(params: Params, setting: Setting, images: Sequence[Known]) -> Iterator[list[Detection]]:
    """Boxes of each image, the surest first; each image passes alone.

    Raises:
        ModelError: If nothing was fitted, or an image is missing.
    """
    if not setting.tuned:
        raise ModelError(f"{setting.row}: found no tuned detector, wanted one; run zoo.localize again")
    for image in images:
        if image.pixels is None:
            raise ModelError(f"{setting.row}: found no pixels of {image.image_id}, wanted them; run normalize again")
        made, scores = box_model.predict(setting.tuned[-1], [normalized.load(image.pixels)])
        (left, top), (right, bottom) = token_grid.corners(image.geometry)
        found: list[Detection] = []
        for (u, v, width, height), score in zip(made[0].tolist(), scores[0].tolist(), strict=True):
            if len(found) == params.max_boxes or score < params.min_confidence:
                break
            if left <= u <= right and top <= v <= bottom:  # not on the padding
                box = (u - width / 2, v - height / 2, u + width / 2, v + height / 2)
                found.append(Detection(u, v, box=box, confidence=score, phrase=None))
        yield found
