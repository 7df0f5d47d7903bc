"""The part with example images: the clearest successes and the clearest failures, never a random pretty one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from stages.lib.core import tables
from stages.lib.images.geometry import Geometry
from stages.lib.metrics import catalog
from stages.lib.metrics.outcomes import selected
from stages.lib.report import gallery
from stages.lib.report.blocks import Album, Block, Card, Gallery, Heading, Key, Keys, Note, Part, Quote
from stages.nodules.page.study import Study
from stages.nodules.page.words import LABELS, name


@dataclass(frozen=True)
class Said:
    """Responses of a localizer to one image as one text, and what the parser made of them."""

    parsed: str
    text: str


@dataclass(frozen=True)
class Record:
    """All that the study knows about one image.

    Attributes:
        image_id: Its id.
        source: Where it comes from.
        label: 1 nodule, 0 no finding, None not labelled.
        split: Split of the study; None outside of one.
        png: Path of the normalized image, relative to the results folder.
        geometry: Its geometry.
        points: True points, rows of `tables.POINTS`.
        scores: Score of each classifier.
        shown: Detections of each localizer that are shown, rows of `tables.LOCALIZE`.
        responses: What each localizer that was run on it said.
    """

    image_id: str
    source: str
    label: int | None
    split: str | None
    png: str
    geometry: Geometry
    points: list[Mapping[str, Any]] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    shown: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    responses: dict[str, Said] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """Images of one kind: what they have in common, how many there are, and those that are shown."""

    title: str
    rule: str
    total: int
    images: list[Record]


def records(study: Study) -> dict[str, Record]:
    """A record per image that was normalized, by image_id."""
    images = study.normalized.select(["image_id", "png", "side_px"])
    images = tables.lookup(images, study.manifest, ["source", "label", "width_px", "height_px"])
    images = tables.lookup(images, study.split, ["split"])
    found = {}
    for row in images.to_pylist():
        geometry = Geometry(width_px=row["width_px"], height_px=row["height_px"], side_px=row["side_px"])
        known = (row["image_id"], row["source"], row["label"], row["split"], row["png"])
        found[row["image_id"]] = Record(*known, geometry)
    for point in study.points.to_pylist():
        if point["image_id"] in found:
            found[point["image_id"]].points.append(point)
    for classifier, table in study.infer.items():
        for image_id, score in tables.mapping(table, score_column(table)).items():
            found[image_id].scores[classifier] = score
    for localizer, table in study.responses.items():
        said: dict[str, list[Mapping[str, Any]]] = {}
        for response in table.to_pylist():
            said.setdefault(response["image_id"], []).append(response)
        for image_id, several in said.items():
            found[image_id].responses[localizer] = joined(several)
    for localizer, table in study.localize.items():
        for row in table.to_pylist():
            if row["shown"]:
                found[row["image_id"]].shown.setdefault(localizer, []).append(row)
    return found


def joined(responses: Sequence[Mapping[str, Any]]) -> Said:
    """Responses to several prompts and views of one image as one: each told, and read if any of them was."""
    if len(responses) == 1:
        return Said(responses[0]["parsed"], responses[0]["response"])
    kinds = {one["parsed"] for one in responses}
    text = "\n".join(f"{one['view']}, {one['prompt']}: {one['response']}" for one in responses)
    return Said(next(kind for kind in ("ok", "cut", "malformed", "empty") if kind in kinds), text)


def score_column(infer: pa.Table) -> str:
    """Column that thresholds are applied to: the calibrated score where every image has one."""
    return "score" if infer["score_calibrated"].null_count else "score_calibrated"


def by_call(images: Mapping[str, Record], outcomes: pa.Table, system: str, at: str, count: int) -> list[Group]:
    """Test images that a classifier called rightly and wrongly, the most confident ones first.

    Args:
        images: All images.
        outcomes: Table `tables.OUTCOMES`.
        system: Name of the classifier.
        at: Threshold of the calls.
        count: Number of images shown per group.
    """
    rows = selected(outcomes, "classification", system, at).to_pylist()
    rows = [row for row in rows if row["split"] == "test" and row["image_id"] in images]
    groups = (
        ("True positives", "with a nodule, called positive; highest score first", 1, True, -1),
        ("False positives", "without a nodule, called positive; highest score first", 0, True, -1),
        ("False negatives", "with a nodule, called negative; lowest score first", 1, False, 1),
    )
    made = []
    for title, rule, label, positive, sign in groups:
        found = [row for row in rows if row["label"] == label and row["positive"] == positive]
        found.sort(key=lambda row: (sign * row["score"], row["image_id"]))
        made.append(Group(title, rule, len(found), [images[row["image_id"]] for row in found[:count]]))
    return made


def by_detection(images: Mapping[str, Record], outcomes: pa.Table, system: str, count: int) -> list[Group]:
    """Images that a localizer was run on, test images first: nodules found, missed, points on negative images.

    Arguments as of `by_call`; a nodule is found within the tolerant distance.
    """
    rows = selected(outcomes, "localization", system, "tolerant").to_pylist()
    rows = [row for row in rows if row["image_id"] in images]
    rows.sort(key=lambda row: (row["split"] != "test", row["image_id"]))
    found = [row for row in rows if row["n_points"] and row["true_positives"]]
    missed = [row for row in rows if row["n_points"] and not row["true_positives"]]
    missed.sort(key=lambda row: -row["n_predictions"])
    negatives = [row for row in rows if not row["n_points"] and row["split"] == "test" and row["n_predictions"]]
    return [
        Group(title, rule, len(kind), [images[row["image_id"]] for row in kind[:count]])
        for title, rule, kind in (
            ("Nodules found", "at least one point within the tolerant distance of a true one", found),
            ("Nodules missed", "no point within the tolerant distance of a true one", missed),
            ("Points on negative images", "test images without a nodule that got a point", negatives),
        )
    ]


def part(study: Study, pixels: Callable[[str], bytes]) -> Part:
    """Examples of each classifier's and localizer's successes and failures.

    Args:
        study: What the page is made of.
        pixels: Returns the PNG of a normalized image, given its path relative to the results folder.
    """
    images, settings = records(study), study.settings
    truth = Key(title="true point: ring at the tight distance, dotted ring at the tolerant one")
    keys = (truth, *(Key(title=system.label, look=system.look) for system in study.localizers.values()))
    rest = (
        "Rest the pointer on a mark to read its coordinates. A box is shown where a localizer gives one, on its own "
        "examples. An image with a nodule but no ring has a label and no marked point."
    )
    blocks: list[Block] = [Keys(keys=keys), Note(text=(rest,))]
    if study.chosen:
        at = catalog.at_label(settings.threshold)
        blocks.append(Heading(title=f"Classification: {study.chosen.label} at the {at}, test images"))
        groups = by_call(images, study.outcomes, study.chosen.name, settings.threshold, settings.examples)
        blocks.append(_gallery(study, groups, None, pixels))
    for system in study.localizers.values():
        blocks.append(Heading(title=f"Localization: {system.label}"))
        groups = by_detection(images, study.outcomes, system.name, settings.examples)
        blocks.append(_gallery(study, groups, system.name, pixels))
    return Part(name="images", title="Images", short="Images", blocks=tuple(blocks))


def _gallery(study: Study, groups: Sequence[Group], localizer: str | None, pixels: Callable[[str], bytes]) -> Gallery:
    return Gallery(
        albums=tuple(
            Album(
                title=group.title,
                rule=group.rule,
                total=group.total,
                cards=tuple(card(study, image, localizer, pixels(image.png)) for image in group.images),
            )
            for group in groups
        )
    )


def card(study: Study, image: Record, localizer: str | None, png: bytes) -> Card:
    """One image as it is shown: its image, the detections of all localizers, and what was said about it.

    Boxes are shown of the localizer that the image is an example of, or of the only one there is.
    """
    settings, systems = study.settings, study.localizers
    alone = localizer or (next(iter(systems)) if len(systems) == 1 else None)
    marks = [
        mark
        for system in systems.values()
        for mark in gallery.marks(
            image.shown.get(system.name, ()),
            image.geometry,
            system.label,
            look=system.look,
            boxed=system.name == alone,
        )
    ]
    facts = [LABELS[image.label].lower(), name(image.source)]
    facts += [name(image.split).lower()] if image.split else []
    facts += [f"{study.classifiers[classifier].label} {score:.3f}" for classifier, score in image.scores.items()]
    quotes = [
        Quote(title=f"{systems[one].label} ({image.responses[one].parsed})", text=image.responses[one].text)
        for one in ([localizer] if localizer else systems)
        if one in image.responses
    ]
    return Card(
        name=image.image_id,
        image=gallery.embed(png, settings.image_px),
        rings=gallery.rings(image.points, image.geometry, (settings.tight, settings.tolerant)),
        marks=tuple(marks),
        facts=tuple(facts),
        quotes=tuple(quotes),
    )
