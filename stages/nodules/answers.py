"""What is said of each image, its call, its confidence and its points: the same in every file that says it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from stages.lib.core import tables
from stages.lib.core.errors import TableError
from stages.lib.metrics.calibration import Calibration, Threshold
from stages.nodules.submission import SubmitParams

LABELS = ("No Finding", "Nodule")
UNANSWERED = ("file_name", "reason")  # heading of the list of images without an answer


@dataclass(frozen=True)
class Found:
    """One point, pixels of the original, and its confidence, [0, 1]."""

    x: float
    y: float
    confidence: float


@dataclass(frozen=True)
class Answer:
    """What is said of one image.

    Attributes:
        image_id: The image.
        file_name: As in the manifest.
        confidence: Its calibrated score, or the score itself if nothing was fitted.
        score: The score that the threshold is applied to.
        positive: Whether that reaches it.
        points: Its points, the most confident first if all have a confidence of their own; that of a point is its own,
            or that of its image if the localizer gives none.
    """

    image_id: str
    file_name: str
    confidence: float
    score: float
    positive: bool
    points: tuple[Found, ...]

    @property
    def label(self) -> str:
        """Its call in the challenge's words."""
        return LABELS[self.positive]


def answers(
    manifest: pa.Table,
    split: pa.Table | None,
    infer: pa.Table,
    localize: pa.Table,
    fitted: Calibration,
    params: SubmitParams,
) -> tuple[Threshold, list[Answer]]:
    """The threshold, and what is said of each image, by image_id.

    Args:
        manifest: Table tables.MANIFEST.
        split: Table tables.SPLIT, for its test images alone; None for every image that is not rejected.
        infer: Table tables.INFER.
        localize: Table tables.LOCALIZE; findings below the cutoff are left out.
        fitted: Calibration of the scores in `infer`.
        params: See `SubmitParams`.

    Raises:
        TableError: If an image has no score, rejected ones among them.
        CalibrationError: If the threshold was not chosen.
    """
    threshold = fitted.threshold(params.threshold)
    names = {
        row["image_id"]: row["file_name"]
        for row in manifest.select(["image_id", "file_name", "status"]).to_pylist()
        if row["status"] == "ok"
    }
    if split is not None:
        wanted = [row["image_id"] for row in split.to_pylist() if row["split"] == "test"]
    else:
        wanted = list(names)
    scores, decisive = (tables.mapping(infer, column) for column in (fitted.thresholds_on, threshold.column))
    missing = [image for image in wanted if image not in names or scores.get(image) is None]
    if missing:
        shown = ", ".join(missing[:5])
        raise TableError(f"infer: {len(missing)} of {len(wanted)} images have no {fitted.thresholds_on}: {shown}")
    points = defaultdict(list)
    for row in localize.to_pylist():
        if row["shown"]:
            points[row["image_id"]].append(row)
    found = []
    for image in wanted:
        positive = decisive[image] >= threshold.value
        taken = positive or params.points_for == "all_images"
        places = _points(points[image], scores[image])[: params.max_points] if taken else ()
        found.append(Answer(image, names[image], scores[image], decisive[image], positive, tuple(places)))
    return threshold, found


def _points(rows: Sequence[Mapping[str, Any]], score: float) -> list[Found]:
    """Points of an image, the most confident first if all have a confidence, else in their own order."""
    if all(row["confidence"] is not None for row in rows):
        rows = sorted(rows, key=lambda row: -row["confidence"])
    return [
        Found(round(row["x"], 2), round(row["y"], 2), score if row["confidence"] is None else row["confidence"])
        for row in rows
    ]
