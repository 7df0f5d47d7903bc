"""The part with example images: the clearest successes and the clearest failures, never a random pretty one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from stages.lib.images.geometry import Geometry
from stages.lib.metrics.matching import distances, match
from stages.lib.report import gallery
from stages.lib.report.blocks import Album, Block, Card, Gallery, Heading, Key, Keys, Note, Part, Quote
from stages.nodules.page.study import Study
from stages.nodules.page.words import LABELS, name, threshold_name


@dataclass(frozen=True)
class Record:
    """All that the study knows about one image.

    Attributes:
        image_id: Its id.
        source: Where it comes from.
        label: 1 nodule, 0 no finding, None not labelled.
        split: Part of the study; None outside of one.
        png: Path of the normalized image, relative to the results folder.
        geometry: Its geometry.
        points: True points, rows of `tables.POINTS`.
        scores: Score of each model.
        findings: Predictions of each localizer that are shown, rows of `tables.LOCALIZE`.
        ranked: All predictions of each localizer, rows of `tables.LOCALIZE`.
        answers: What each localizer that was asked said: a row of `tables.ANSWERS`, several of them joined in one.
    """

    image_id: str
    source: str
    label: int | None
    split: str | None
    png: str
    geometry: Geometry
    points: list[Mapping[str, Any]] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    findings: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    ranked: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    answers: dict[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """Images of one kind: what they have in common, how many there are, and those that are shown."""

    title: str
    rule: str
    total: int
    images: list[Record]


def records(
    manifest: pa.Table,
    normalized: pa.Table,
    split: pa.Table,
    points: pa.Table,
    infer: Mapping[str, pa.Table],
    localize: Mapping[str, pa.Table],
    answers: Mapping[str, pa.Table],
) -> dict[str, Record]:
    """A record per image that was normalized, by image_id."""
    images = {row["image_id"]: row for row in manifest.to_pylist()}
    parts = dict(zip(split["image_id"].to_pylist(), split["split"].to_pylist(), strict=True))
    found = {}
    for row in normalized.select(["image_id", "png", "side_px"]).to_pylist():
        image = images[row["image_id"]]
        geometry = Geometry(width_px=image["width_px"], height_px=image["height_px"], side_px=row["side_px"])
        part = parts.get(row["image_id"])
        record = Record(row["image_id"], image["source"], image["label"], part, row["png"], geometry)
        found[row["image_id"]] = record
    for point in points.to_pylist():
        if point["image_id"] in found:
            found[point["image_id"]].points.append(point)
    for model, table in infer.items():
        chosen = score_column(table)
        for image_id, score in zip(table["image_id"].to_pylist(), table[chosen].to_pylist(), strict=True):
            found[image_id].scores[model] = score
    for localizer, table in answers.items():
        said: dict[str, list[Mapping[str, Any]]] = {}
        for answer in table.to_pylist():
            said.setdefault(answer["image_id"], []).append(answer)
        for image_id, several in said.items():
            found[image_id].answers[localizer] = joined(several)
    for localizer, table in localize.items():
        for finding in table.to_pylist():
            found[finding["image_id"]].ranked.setdefault(localizer, []).append(finding)
            if finding["shown"]:
                found[finding["image_id"]].findings.setdefault(localizer, []).append(finding)
    return found


def joined(answers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the answers to several requests and views of one image as one: each told, and read if any of them was."""
    if len(answers) == 1:
        return answers[0]
    kinds = {answer["parsed"] for answer in answers}
    words = "\n".join(f"{answer['view']}, {answer['request']}: {answer['answer']}" for answer in answers)
    return {"parsed": next(kind for kind in ("ok", "malformed", "empty") if kind in kinds), "answer": words}


def score_column(infer: pa.Table) -> str:
    """Return the column that thresholds are applied to: the calibrated score where every image has one."""
    return "score" if infer["score_calibrated"].null_count else "score_calibrated"


def by_answer(images: Sequence[Record], model: str, threshold: float, count: int) -> list[Group]:
    """Return images that `model` got right and wrong, the most confident ones first.

    Args:
        images: Images to choose from.
        model: Name of the classifier.
        threshold: An image with this score or more is called positive.
        count: Number of images shown per group.
    """
    scored = [image for image in images if model in image.scores]
    groups = (
        ("True positives", "with a nodule, called positive; highest score first", 1, True, -1),
        ("False positives", "without a nodule, called positive; highest score first", 0, True, -1),
        ("False negatives", "with a nodule, called negative; lowest score first", 1, False, 1),
    )
    made = []
    for title, rule, label, positive, sign in groups:
        chosen = [f for f in scored if f.label == label and (f.scores[model] >= threshold) == positive]
        chosen.sort(key=lambda image: (sign * image.scores[model], image.image_id))
        made.append(Group(title, rule, len(chosen), chosen[:count]))
    return made


def by_place(images: Sequence[Record], localizer: str, found_on: Callable[[Record], int], count: int) -> list[Group]:
    """Return images that `localizer` was asked about, test images first: nodules found, missed, points on negative
    images.

    Args:
        images: All images.
        localizer: Name of the localizer.
        found_on: Returns how many of the true points of an image were found.
        count: Number of images shown per group.
    """
    asked = [image for image in images if localizer in image.answers]
    asked.sort(key=lambda image: (image.split != "test", image.image_id))
    marked = [image for image in asked if image.points]
    negatives = [
        image for image in asked if image.label == 0 and image.split == "test" and image.findings.get(localizer)
    ]
    hits = {image.image_id: found_on(image) for image in marked}
    found = [image for image in marked if hits[image.image_id]]
    missed = [image for image in marked if not hits[image.image_id]]
    missed.sort(key=lambda image: -len(image.findings.get(localizer, ())))
    return [
        Group(
            "Nodules found", "at least one point within the tolerant distance of a true one", len(found), found[:count]
        ),
        Group("Nodules missed", "no point within the tolerant distance of a true one", len(missed), missed[:count]),
        Group(
            "Points on negative images",
            "test images without a nodule that got a point",
            len(negatives),
            negatives[:count],
        ),
    ]
