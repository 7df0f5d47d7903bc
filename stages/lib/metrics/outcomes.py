"""Outcomes: what each system said of each image that it is measured on, and whether it was right."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import tables
from stages.lib.metrics import localization
from stages.lib.metrics.binary_suite import Scored, calls
from stages.lib.metrics.localization_suite import Examined
from stages.lib.metrics.measures import Subject

Row = Mapping[str, Any]


def of_classifier(images: Scored) -> Sequence[Row]:
    """A row for each image and threshold: its score, the call, and whether that is as the label says."""
    rows = []
    for at, found in calls(images).items():
        for name, label, score, positive in zip(images.ids, images.labels, images.on(at), found.positive, strict=True):
            call = {"score": float(score), "positive": bool(positive), "correct": bool(positive) == bool(label)}
            rows.append({"image_id": str(name), "at": at, "label": int(label), **call})
    return rows


def of_localizer(examined: Sequence[Examined], tolerances: Mapping[str, float]) -> Sequence[Row]:
    """A row for each image with nodules, or known to have none, and each tolerance: what was found of what there is.

    It is correct if each nodule was found and no other point was predicted.
    """
    known = [one for one in examined if one.located or one.negative]
    rows = []
    for at, fraction in tolerances.items():
        found = localization.find_pairs([one.image for one in known], fraction).true_positives
        for one, hits in zip(known, found.tolist(), strict=True):
            counts = {"n_points": len(one.image.points), "n_predictions": len(one.image.predictions)}
            rows.append(
                {
                    "image_id": one.image.image_id,
                    "at": at,
                    "split": one.split,
                    "label": one.label,
                    **counts,
                    "true_positives": hits,
                    "correct": hits == counts["n_points"] == counts["n_predictions"],
                }
            )
    return rows


def table(chapter: str, outcomes: Mapping[Subject, Sequence[Row]]) -> pa.Table:
    """Table `tables.OUTCOMES` of one chapter; a subject's subset is the split of rows that name none."""
    rows = [
        {"split": subject.subset, **row, "chapter": chapter, "task": subject.task, "system": subject.system}
        for subject, several in outcomes.items()
        for row in several
    ]
    return tables.from_rows(rows, tables.OUTCOMES)


def selected(found: pa.Table, task: str, system: str, at: str) -> pa.Table:
    """Outcomes of one system at one threshold or tolerance."""
    return found.filter((pc.field("task") == task) & (pc.field("system") == system) & (pc.field("at") == at))
