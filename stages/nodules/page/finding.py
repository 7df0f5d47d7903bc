"""The first sentence of the page, what a reader has to know before it, and the numbers to remember."""

from collections.abc import Iterator
from dataclasses import dataclass

from stages.lib.metrics.measures import Estimate, Key
from stages.lib.report.blocks import Number, Sentence, Tile
from stages.lib.report.numbers import label, number
from stages.lib.report.systems import System
from stages.nodules.page.study import Settings, Study

FEW = 4  # systems that the first sentence names
AREA, RECALL, CHANCE = Key("roc_auc"), Key("recall", "tolerant"), Key("random_placement_recall", "tolerant")
FALSE_POINTS, PRECISION = Key("false_points_per_image"), Key("precision", "tolerant")
TILES = {
    AREA: label("roc_auc"),
    Key("pr_auc"): label("pr_auc"),
    Key("sensitivity", "specificity_95"): "Sensitivity at the threshold for specificity 0.95",
}


@dataclass(frozen=True)
class Located:
    """What a localizer finds on the test split, within the tolerant distance."""

    system: System
    recall: Number
    chance: Number | None
    precision: Number | None  # over all test images
    false_points: Number | None


def warnings(found: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    """What a reader has to know before any number: the study's warnings, and whether its images are simulated."""
    more = []
    if settings.split_unit == "image":
        more.append(
            "The images were split by image, not by patient: images of one patient may be in training and in test."
        )
    if settings.simulated:
        more.append(
            "The images are simulated, and every number here with them: this page shows that the pipeline works, "
            "and nothing about any patient."
        )
    return (*found, *more)


def sentence(study: Study) -> Sentence:
    """The finding: the ROC areas on the test split, and the recall of each localizer, with their intervals."""
    areas = list(_areas(study))
    if not areas:
        return ("No image of the test split was measured.",)
    behind = areas[0][1]
    said: list[str | Number] = [f"On {behind.n:,} test images" if behind.n is not None else "On the test images"]
    said.append(f" ({behind.n_positive:,} with a nodule)" if behind.n_positive is not None else "")
    said.append(", the ROC AUC is ")
    for place, (system, area) in enumerate(areas[:FEW]):
        said += ["; " if place else "", number(AREA, area), f" ({system.label})"]
    said.append(_rest(len(areas)))
    for title, differences in study.compared("test").items():
        if AREA in differences:
            said += [f"{title}: ", number(AREA, differences[AREA], signed=True), ". "]
    found = [one for one in located(study) if one.recall.value is not None]
    for place, one in enumerate(found[:FEW]):
        start = f"Within {study.settings.tolerant:g} of the image's diagonal, " if not place else "; "
        said += [f"{start}{one.system.label} finds ", one.recall]
        said.append("" if place else " of the marked nodules of the test images")
        said.append(f" (by chance in the lungs {one.chance.text})" if one.chance else "")
    said.append(_rest(len(found)) if found else "")
    return tuple(part for part in said if part != "")


def _rest(count: int) -> str:
    return f"; {count - FEW} more are below. " if count > FEW else ". "


def _areas(study: Study) -> Iterator[tuple[System, Estimate]]:
    """Each classifier with its ROC area on the test split, the last one first."""
    for system in reversed(list(study.classifiers.values())):
        area = study.of("classification", system.name).get(AREA)
        if area is not None:
            yield system, area


def located(study: Study) -> Iterator[Located]:
    """What each localizer finds on the test split."""
    for system in study.localizers.values():
        measured = study.of("localization", system.name)
        negatives = study.of("localization", system.name, "test/negatives")
        if RECALL in measured:
            chance, precision, false = measured.get(CHANCE), measured.get(PRECISION), negatives.get(FALSE_POINTS)
            yield Located(
                system,
                number(RECALL, measured[RECALL]),
                None if chance is None else number(CHANCE, chance),
                None if precision is None else number(PRECISION, precision),
                None if false is None else number(FALSE_POINTS, false),
            )


def tiles(study: Study) -> tuple[Tile, ...]:
    """The numbers to remember: of the last classifier on the test split, and of each localizer."""
    made, system = [], study.chosen
    measured = study.of("classification", system.name) if system else {}
    for key, title in TILES.items():
        if system and key in measured:
            realised = Key("specificity", key.at) if key.at else None
            beside = f"specificity here {number(realised, measured.get(realised)).text}" if realised else ""
            made.append(Tile(title=f"{title}, {system.label}", number=number(key, measured[key]), more=beside))
    for one in located(study):
        more = [f"by chance in the lungs {one.chance.text}"] if one.chance else []
        more += [f"precision {one.precision.text}, negative images included"] if one.precision else []
        more += [f"{one.false_points.text} false points per negative image"] if one.false_points else []
        made.append(Tile(title=f"Nodules found, {one.system.label}", number=one.recall, more="; ".join(more)))
    return tuple(made)
