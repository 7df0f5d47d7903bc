"""Which films the report shows: the clearest successes and the clearest failures, never a random pretty one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from stages.lib.images.geometry import Geometry


@dataclass(frozen=True)
class Record:
    """All that the study knows about one film.

    Attributes:
        image_id: Its id.
        source: Where it comes from.
        label: 1 nodule, 0 no finding, None not labelled.
        split: Part of the study; None outside of one.
        png: Path of the normalized film, relative to the results folder.
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
    """Films of one kind: what they have in common, how many there are, and those that are shown."""

    title: str
    rule: str
    total: int
    films: list[Record]


def records(
    manifest: pa.Table,
    normalized: pa.Table,
    split: pa.Table,
    points: pa.Table,
    infer: Mapping[str, pa.Table],
    localize: Mapping[str, pa.Table],
    answers: Mapping[str, pa.Table],
) -> dict[str, Record]:
    """Return one record per film that was normalized, by image_id."""
    films = {row["image_id"]: row for row in manifest.to_pylist()}
    parts = dict(zip(split["image_id"].to_pylist(), split["split"].to_pylist(), strict=True))
    found = {}
    for row in normalized.select(["image_id", "png", "side_px"]).to_pylist():
        film = films[row["image_id"]]
        geometry = Geometry(width_px=film["width_px"], height_px=film["height_px"], side_px=row["side_px"])
        part = parts.get(row["image_id"])
        record = Record(row["image_id"], film["source"], film["label"], part, row["png"], geometry)
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
    """Return the answers to several requests and views of one film as one: each told, and read if any of them was."""
    if len(answers) == 1:
        return answers[0]
    kinds = {answer["parsed"] for answer in answers}
    words = "\n".join(f"{answer['view']}, {answer['request']}: {answer['answer']}" for answer in answers)
    return {"parsed": next(kind for kind in ("ok", "malformed", "empty") if kind in kinds), "answer": words}


def score_column(infer: pa.Table) -> str:
    """Return the column that thresholds are applied to: the calibrated score where every film has one."""
    return "score" if infer["score_calibrated"].null_count else "score_calibrated"


def by_answer(films: Sequence[Record], model: str, threshold: float, count: int) -> list[Group]:
    """Return films that `model` got right and wrong, the most confident ones first.

    Args:
        films: Films to choose from.
        model: Name of the classifier.
        threshold: A film with this score or more is called positive.
        count: Number of films shown per group.
    """
    scored = [film for film in films if model in film.scores]
    groups = (
        ("Found", "with a nodule, called positive; highest score first", 1, True, -1),
        ("False alarms", "without a nodule, called positive; highest score first", 0, True, -1),
        ("Missed", "with a nodule, called negative; lowest score first", 1, False, 1),
    )
    made = []
    for title, rule, label, positive, sign in groups:
        chosen = [f for f in scored if f.label == label and (f.scores[model] >= threshold) == positive]
        chosen.sort(key=lambda film: (sign * film.scores[model], film.image_id))
        made.append(Group(title, rule, len(chosen), chosen[:count]))
    return made


def by_place(films: Sequence[Record], localizer: str, found_on: Callable[[Record], int], count: int) -> list[Group]:
    """Return films that `localizer` was asked about, test films first: nodules found, missed, points on healthy films.

    Args:
        films: All films.
        localizer: Name of the localizer.
        found_on: Returns how many of the true points of a film were found.
        count: Number of films shown per group.
    """
    asked = [film for film in films if localizer in film.answers]
    asked.sort(key=lambda film: (film.split != "test", film.image_id))
    marked = [film for film in asked if film.points]
    healthy = [film for film in asked if film.label == 0 and film.split == "test" and film.findings.get(localizer)]
    hits = {film.image_id: found_on(film) for film in marked}
    found = [film for film in marked if hits[film.image_id]]
    missed = [film for film in marked if not hits[film.image_id]]
    missed.sort(key=lambda film: -len(film.findings.get(localizer, ())))
    return [
        Group(
            "Nodules found", "at least one point within the tolerant distance of a true one", len(found), found[:count]
        ),
        Group("Nodules missed", "no point within the tolerant distance of a true one", len(missed), missed[:count]),
        Group("Points on healthy films", "test films without a nodule that got a point", len(healthy), healthy[:count]),
    ]
