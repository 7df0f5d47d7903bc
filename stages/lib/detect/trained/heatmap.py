"""A heatmap: a linear head on the frozen patch tokens of a backbone, at the fineness of its shifts, and its peaks.

It learns where nodules are from marks (each nodule is a Gaussian on the grid of tokens), from labels of images alone
(the logit of an image is the log-sum-exp of those of its cells, and no mark is looked at), or from both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import documents, params
from stages.lib.core.errors import ModelError
from stages.lib.detect import map_head, map_peaks, token_grid
from stages.lib.detect.detection import Detection
from stages.lib.detect.map_head import Cells, Head
from stages.lib.detect.trainable import Fitted, Known, MarksError, Reads, Setting, check_marks, with_negatives
from stages.lib.models.backbone import BackboneParams, Row

READS: Reads = "tokens"
FILE = "head.json"
ITERATIONS = 1000
TOLERANCE = 1.0e-5  # of the gradient per unit of loss; recall no longer changes from 1e-4 on


@params.section
class Params(Row, BackboneParams):
    """Which tokens a heatmap is made of, what it learns, and what of it becomes a point."""

    supervision: Literal["marks", "image_labels", "both"]  # image_labels: no mark is looked at
    target_mm: params.NonNegativeFloat  # standard deviation of the Gaussian around a nodule; 0: by target_fraction
    target_fraction: params.Fraction  # the same, of the diagonal of the original; 0: by target_mm
    loss: map_head.Loss
    focus: params.NonNegativeFloat  # exponent of the focal loss; 0 with weighted_cross_entropy
    strength: params.PositiveFloat  # weight of the losses against the squared weights, as C of a logistic regression
    sharpness: params.PositiveFloat  # of the log-sum-exp over an image's cells: more is nearer to the largest alone
    negative_images: params.Count  # of the train split that teach, of as many patients as there are
    negative_weight: params.PositiveFloat  # of their cells, where one of a marked image counts 1
    suppression_cells: params.PositiveFloat  # least distance of two points, in cells: parts of a patch, by the shifts
    peak_power: params.PositiveFloat  # a point is the mean of the 9 cells around a peak, weighted by heat to this power
    max_peaks: params.Count  # points of an image at most, the surest
    min_confidence: params.Fraction  # weaker points are left out
    seed: params.Seed  # of the sample of negative images

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        BackboneParams.__post_init__(self)
        if (self.target_mm > 0) == (self.target_fraction > 0):
            raise ValueError(
                f"target_mm {self.target_mm:g} and target_fraction {self.target_fraction:g}; wanted one of them above "
                "0, and the other 0"
            )
        if (self.loss == "focal") != (self.focus > 0) or 0 < self.focus < 1:
            raise ValueError(
                f"focus {self.focus:g} with loss {self.loss}; wanted 1 or more with focal, and 0 with "
                "weighted_cross_entropy"
            )


@params.section
class Saved:
    """A fitted head, head.json."""

    written_by: ClassVar[str] = "zoo.localize"

    weights: tuple[float, ...]  # of the features of a token
    bias: float
    rows: params.Count  # of patch tokens, which it was fitted on
    shifts: params.Count


@dataclass(frozen=True)
class Prepared:
    """Cells of all images that may teach, made once for any number of fits.

    Attributes:
        cells: Of all images, all of them teaching.
        patients: Patient of each image, shape (images,).
    """

    cells: Cells
    patients: NDArray[np.str_]

    def taught_by(self, images: NDArray[np.bool_]) -> Cells:
        """The same cells, of which only those of some images teach.

        Args:
            images: Which ones, shape (images,).
        """
        made = vars(self.cells)
        weight = np.where(images[self.cells.image], self.cells.weight, 0.0)
        target = np.where(images[self.cells.image], self.cells.target, 0.0)
        label = np.where(images, self.cells.label, 0.0)
        label_weight = np.where(images, self.cells.label_weight, 0.0)
        return Cells(**{**made, "weight": weight, "target": target, "label": label, "label_weight": label_weight})


def fit(params: Params, setting: Setting, images: Sequence[Known]) -> Fitted:
    """Fit the head on training images, and keep it in the setting's folder.

    Args:
        params: See `Params`.
        setting: See `Setting`.
        images: Those that teach, see `teaching`.

    Raises:
        MarksError: If they cannot teach, see `check_marks`, or a spacing is wanted that is not known.
        ModelError: If tokens do not fit the row.
    """
    check_marks(setting.row, images)
    prepared = prepare(params, setting, images)
    head = learn(params, prepared.cells)
    rows = setting.rows or 0
    setting.folder.mkdir(parents=True, exist_ok=True)
    saved = Saved(weights=tuple(head.weights.tolist()), bias=head.bias, rows=rows, shifts=params.shifts)
    documents.write(setting.folder / FILE, saved)
    marked = [image for image in images if image.marked]
    points = sum(len(image.points) for image in marked)
    of = "their marks" if params.supervision == "marks" else "labels of images alone, no mark"
    of = "their marks and labels of images" if params.supervision == "both" else of
    note = (
        f"Learned from {points} nodules on {len(marked)} images of {len({one.patient_id for one in marked})} patients "
        f"and {len(images) - len(marked)} negative images, by {of}."
    )
    return Fitted(trained_parameters=len(head.weights) + 1, notes=(note,))


def find(params: Params, setting: Setting, images: Sequence[Known]) -> Iterator[list[Detection]]:
    """Peaks of each image's heatmap, the surest first, in the order of the images.

    Raises:
        ModelError: If tokens do not fit the head.
    """
    saved = documents.read(setting.folder / FILE, Saved)
    head = Head(np.array(saved.weights), saved.bias)
    for image in images:
        yield peaks(params, setting, head, image)


def teaching(params: Params, images: Sequence[Known]) -> list[Known]:
    """Marked images, and the sample of negative ones, in the order of the images."""
    return with_negatives(images, params.negative_images, params.seed)


def prepare(params: Params, setting: Setting, images: Sequence[Known]) -> Prepared:
    """Cells of images with their targets, for `learn`.

    Args:
        params: See `Params`.
        setting: See `Setting`.
        images: Those that may teach.

    Raises:
        MarksError: If `target_mm` is set and the spacing of a marked image is not known.
        ModelError: If tokens do not fit the row.
    """
    deviations = [_deviation_px(params, image) for image in images]
    unknown = [image.image_id for image, found in zip(images, deviations, strict=True) if found is None]
    if unknown:
        raise MarksError(
            "a localizer cannot be trained:",
            [
                f"{setting.row}: found {len(unknown)} marked images without a spacing (first: {unknown[0]}), wanted "
                f"millimetres per pixel for target_mm {params.target_mm:g}; set target_mm to 0, and target_fraction"
            ],
        )
    tokens, targets, weights = [], [], []
    for image, deviation in zip(images, deviations, strict=True):
        fine = grid(params, setting, image)
        rows = len(fine) // params.shifts
        on = token_grid.inside(image.geometry, rows, params.shifts).ravel()
        target = token_grid.gaussian(image.points, image.geometry, rows, params.shifts, deviation or 1.0).ravel()
        tokens.append(fine.reshape(-1, fine.shape[-1])[on])  # padding teaches nothing
        targets.append(target[on])
        weights.append(np.full(int(on.sum()), 1.0 if image.marked else params.negative_weight))
    sizes = [len(one) for one in tokens]
    number = np.repeat(np.arange(len(images)), sizes)
    cells = Cells(
        tokens=np.concatenate(tokens),
        image=number,
        target=np.concatenate(targets) * (params.supervision != "image_labels"),
        weight=np.concatenate(weights) * (params.supervision != "image_labels"),
        label=np.array([float(image.marked) for image in images]),
        label_weight=np.full(len(images), float(params.supervision != "marks")),
    )
    return Prepared(cells, np.array([image.patient_id for image in images], str))


def learn(params: Params, cells: Cells) -> Head:
    """The head that fits some cells."""
    return map_head.fit(
        cells,
        loss=params.loss,
        focus=params.focus,
        strength=params.strength,
        sharpness=params.sharpness,
        iterations=ITERATIONS,
        tolerance=TOLERANCE,
    )


def heat(params: Params, setting: Setting, head: Head, image: Known) -> NDArray[np.float64]:
    """Heat of each cell of an image, [0, 1], shape (rows * shifts, rows * shifts); of padding, too."""
    return map_head.sigmoid(head.logits(grid(params, setting, image)))


def peaks(params: Params, setting: Setting, head: Head, image: Known) -> list[Detection]:
    """Peaks of an image's heatmap, the surest first."""
    hot = heat(params, setting, head, image)
    rows = len(hot) // params.shifts
    return map_peaks.peaks(
        hot,
        token_grid.centres(rows, params.shifts),
        token_grid.inside(image.geometry, rows, params.shifts),
        token_grid.corners(image.geometry),
        most=params.max_peaks,
        distance_cells=params.suppression_cells,
        power=params.peak_power,
        min_confidence=params.min_confidence,
    )


def grid(params: Params, setting: Setting, image: Known) -> NDArray[np.float32]:
    """Tokens of an image on the fine grid, shape (rows * shifts, rows * shifts, features).

    Raises:
        ModelError: If they are not those that the row says.
    """
    if image.tokens is None:
        raise ModelError(f"{setting.row}: found no tokens of {image.image_id}, wanted them; run zoo.tokens again")
    tokens = image.tokens()
    wanted = (params.shifts**2, setting.rows, setting.rows)
    if tokens.shape[:3] != wanted:
        raise ModelError(
            f"{setting.row}: found tokens of shape {tokens.shape} of {image.image_id}, wanted {wanted} and the "
            "features: places, rows, columns; run zoo.tokens again"
        )
    return token_grid.interleaved(tokens)


def _deviation_px(params: Params, image: Known) -> float | None:
    """Standard deviation of the target on an image, pixels of the original; None if its spacing is not known."""
    if not image.marked or params.supervision == "image_labels":
        return 1.0
    if params.target_fraction:
        return params.target_fraction * image.geometry.diagonal_px
    return params.target_mm / image.spacing_mm if image.spacing_mm else None
