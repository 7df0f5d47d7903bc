"""The first sentence of the page, what a reader has to know before it, and the numbers to remember."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib.report.blocks import Number, Sentence, Tile
from stages.nodules.page.study import Settings, Study, System
from stages.nodules.page.words import cell, is_metric, name

FEW = 4  # systems that the first sentence names
HEADLINE = ("roc_auc", "pr_auc", "sensitivity_at_specificity_95")


@dataclass(frozen=True)
class Located:
    """What a localizer finds on the test split, within the tolerant distance."""

    system: System
    recall: Number
    chance: Number | None
    negatives: Mapping[str, Any]


def warnings(metrics: Mapping[str, Any], settings: Settings) -> tuple[str, ...]:
    """What a reader has to know before any number: the study's warnings, and whether its images are simulated."""
    found = [str(warning) for warning in metrics.get("warnings", ())]
    if settings.split_unit == "image":
        found.append(
            "The images were split by image, not by patient: images of one patient may be in training and in test."
        )
    if Path(settings.root).parts[:3] == ("results", "data", "simulate"):
        found.append(
            "The images are simulated, and every number here with them: this page shows that the pipeline works, "
            "and nothing about any patient."
        )
    return tuple(found)


def sentence(study: Study) -> Sentence:
    """The finding: the ROC areas on the test split, and the recall of each localizer, with their intervals."""
    areas = list(_areas(study))
    if not areas:
        return ("No image of the test split was measured.",)
    behind = areas[0][1]
    said: list[str | Number] = []
    if behind.get("n") is not None:
        said.append(f"On {behind['n']:,} test images")
        if behind.get("n_positive") is not None:
            said.append(f" ({behind['n_positive']:,} with a nodule)")
        said.append(", ")
    said.append("the ROC AUC is ")
    for number, (system, area) in enumerate(areas[:FEW]):
        said += ["; " if number else "", cell(area), f" ({system.label})"]
    said.append(_rest(len(areas)))
    difference = study.metrics.get("comparison", {}).get("test", {}).get("roc_auc")
    if is_metric(difference):
        said += ["The difference is ", cell(difference, signed=True), ". "]
    found = [one for one in located(study) if one.recall.value is not None]
    for number, one in enumerate(found[:FEW]):
        start = f"Within {study.settings.tolerant:g} of the image’s diagonal, " if not number else "; "
        said += [f"{start}{one.system.label} finds ", one.recall]
        said.append("" if number else " of the marked nodules of the test images")
        said.append(f" (chance {one.chance.text})" if one.chance else "")
    said.append(_rest(len(found)) if found else "")
    return tuple(part for part in said if part != "")


def _rest(count: int) -> str:
    return f"; {count - FEW} more are below. " if count > FEW else ". "


def _areas(study: Study) -> Iterator[tuple[System, Mapping[str, Any]]]:
    """Each classifier with its ROC area on the test split, the last one first."""
    measured = study.metrics.get("classification", {})
    for system in reversed(study.classifiers.values()):
        area = measured.get(system.name, {}).get("test", {}).get("roc_auc")
        if is_metric(area):
            yield system, area


def located(study: Study) -> Iterator[Located]:
    """What each localizer finds on the test split."""
    measured = study.metrics.get("localization", {})
    for system in study.localizers.values():
        view = measured.get(system.name, {}).get("test", {})
        near = view.get("tolerant", {})
        if is_metric(near.get("recall")):
            chance = near.get("random_placement_recall")
            shown = None if chance is None else cell(chance)
            yield Located(system, cell(near["recall"]), shown, view.get("negatives", {}))


def tiles(study: Study) -> tuple[Tile, ...]:
    """The numbers to remember: of the last classifier on the test split, and of each localizer."""
    system, made = study.chosen, []
    measured = study.metrics.get("classification", {}).get(system.name, {}).get("test", {}) if system else {}
    for key in HEADLINE:
        if system and is_metric(measured.get(key)):
            made.append(Tile(title=f"{_tile_name(key)}, {system.label}", number=cell(measured[key])))
    for one in located(study):
        more = [f"chance {one.chance.text}"] if one.chance else []
        points = one.negatives.get("false_points_per_image")
        more += [f"{cell(points).text} false points per negative image"] if is_metric(points) else []
        made.append(Tile(title=f"Nodules found, {one.system.label}", number=one.recall, more="; ".join(more)))
    return tuple(made)


def _tile_name(key: str) -> str:
    return "Sensitivity at a specificity of 0.95" if key == "sensitivity_at_specificity_95" else name(key)
