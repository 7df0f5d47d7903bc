"""Section: a heatmap that leaves one patient out, beside localizers of the study, on all annotated images.

in   measures  tables.MEASURES and
     curves    tables.CURVES by localizer_cv
     notes     JSON, see records.CrossValidated
out  section   JSON, see `blocks.Section`
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib.core import cli, documents, tables
from stages.lib.metrics import curves, measures
from stages.lib.metrics.catalog import TOLERANCES, at_label
from stages.lib.metrics.curves import Curve
from stages.lib.metrics.measures import Estimate, Key, Measures, Subject
from stages.lib.report.blocks import (
    Block,
    Chart,
    Charts,
    Column,
    Note,
    Number,
    Part,
    Row,
    Rows,
    Section,
    Series,
    Table,
)
from stages.lib.report.charts import fitting_axis, unit_axis
from stages.lib.report.numbers import label, number
from stages.lib.report.systems import System, spoken, systems
from stages.zoo.localizer_cv import COMPARISON, EQUAL_RATE, LOCALIZATION, NEGATIVES, SUBSET, UNCHOSEN, Params
from stages.zoo.records import CHAPTER, CrossValidated

TITLE = "A localizer trained on the study's own marks"
SUPERVISION = {"marks": "marks", "image_labels": "labels of images alone", "both": "marks and labels of images"}
SHOWN_RATE = 2.0  # false points per image up to which a curve is drawn
EXCEPTION = (
    "This is the one exception to the rule that numbers are of test images: annotated images are few, so each of them "
    "is looked at by a heatmap that no image of its patient has taught. Nothing is chosen by these numbers, and "
    "nothing is submitted."
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is shown.

    Attributes:
        measures: What was measured.
        curves: FROC curves.
        notes: What stands beside.
        systems: How each system looks.
        simulated: Whether the images are simulated.
    """

    measures: Measures
    curves: Mapping[Subject, Sequence[Curve]]
    notes: CrossValidated
    systems: Mapping[str, System]
    simulated: bool

    def of(self, system: str, subset: str, key: Key, other: str | None = None) -> Estimate | None:
        """One measure of a system; None if it was not measured."""
        task = LOCALIZATION if other is None else COMPARISON
        return self.measures.get(Subject(task, system, subset, other), {}).get(key)

    def recalls(self, system: str, subset: str) -> list[Number]:
        """Recall of a system at each tolerance."""
        return [number(Key("recall", at), self.of(system, subset, Key("recall", at))) for at in TOLERANCES]


def labelled(notes: CrossValidated, parameters: Mapping[str, Any]) -> dict[str, System]:
    """Systems of the page, called as their rows are."""
    trained = (parameters.get("zoo") or {}).get("localizers", {}).get(notes.localizer, {})
    name = trained.get("label") or spoken(notes.localizer)
    rows = {
        system: {"label": f"{name}, by {SUPERVISION[system.removeprefix(f'{notes.localizer}_')]}"}
        for system in notes.trained
    }
    return systems(notes.systems, {**(parameters.get("nodules") or {}).get("localizers", {}), **rows})


def part(found: Found) -> Part:
    """What the section has to show, as one part, for a page of the chapter."""
    return Part(
        name="localizer_cv", title=TITLE, short="Leave one out", blocks=(*_table(found), *_rivals(found), *_froc(found))
    )


def section(found: Found) -> Section:
    """What heatmaps find that leave one patient out."""
    warnings = []
    if found.simulated:
        warnings.append("The images are simulated, and every number here with them: nothing follows for any patient.")
    if found.notes.random_weights:
        warnings.append("The weights of the backbone are random: its heatmaps say nothing of a trained one.")
    return Section(
        chapter=CHAPTER, title=TITLE, finding=_finding(found), warnings=tuple(warnings), tiles=(), parts=(part(found),)
    )


def _finding(found: Found) -> tuple[str | Number, ...]:
    notes, key = found.notes, Key("recall", "tolerant")
    first = notes.systems[0]
    said: list[str | Number] = [
        f"At {notes.false_points_per_image:g} false points per negative image, {found.systems[first].label} finds ",
        number(key, found.of(first, EQUAL_RATE, key)),
        f" of {notes.points} nodules within {notes.tolerant_fraction:g} of the diagonal",
    ]
    for rival in notes.rivals:
        gap = found.of(first, EQUAL_RATE, key, rival.localizer)
        said += [
            f"; {found.systems[rival.localizer].label} ",
            number(key, found.of(rival.localizer, EQUAL_RATE, key)),
            ", difference ",
            number(key, gap, signed=True),
        ]
    return (*said, ".")


def _table(found: Found) -> Iterator[Block]:
    notes = found.notes
    yield Note(text=(EXCEPTION,), style="warning")
    yield Note(
        text=(
            f"{notes.images} annotated images ({', '.join(notes.sources)}) of {notes.patients} patients, "
            f"{notes.points} nodules: one fit per patient and kind of supervision, on the images of all others and "
            f"{notes.teaching_negatives} negative ones. Each fit's cutoff was chosen on {notes.choosing_negatives} "
            f"negative images that taught nothing. False points are counted on {notes.measured_negatives} further "
            "negative images, of patients of whom no image taught or chose.",
        )
    )
    near = [f"{title}, {getattr(notes, f'{at}_fraction'):g} of the diagonal" for at, title in TOLERANCES.items()]
    columns = [*(Column(title=f"Recall, {title}") for title in near), Column(title=label("false_points_per_image"))]
    subsets = {
        f"Each at its own cutoff, chosen before for {notes.false_points_per_image:g} false points per negative image": (
            SUBSET,
            NEGATIVES,
        ),
        f"Each at {notes.false_points_per_image:g} false points per negative image on these images": (
            EQUAL_RATE,
            f"{EQUAL_RATE}/negatives",
        ),
    }
    groups = [
        Rows(
            title=title,
            rows=tuple(
                Row(
                    title=system.label,
                    look=system.look,
                    key=f"{name}/{marked}",
                    cells=(*found.recalls(name, marked), _false(found, name, negative)),
                )
                for name, system in found.systems.items()
            ),
        )
        for title, (marked, negative) in subsets.items()
    ]
    if notes.unchosen_images and notes.rivals:
        rows = tuple(
            Row(
                title=system.label,
                look=system.look,
                key=f"{name}/{UNCHOSEN}",
                cells=(*found.recalls(name, UNCHOSEN), ""),
            )
            for name, system in found.systems.items()
        )
        title = f"At its own cutoff, on the {notes.unchosen_images} annotated images that chose nothing for any rival"
        groups.append(Rows(title=title, rows=rows))
    yield Table(name="localizer_cv", corner="Localizer", columns=tuple(columns), groups=tuple(groups), style="systems")
    first, *others = notes.systems
    rows = tuple(
        Row(
            title=f"{found.systems[first].label} less {found.systems[other].label}",
            key=f"{first}-{other}",
            cells=tuple(
                number(Key("recall", at), found.of(first, EQUAL_RATE, Key("recall", at), other), signed=True)
                for at in TOLERANCES
            ),
        )
        for other in others
    )
    if rows:
        title = "Differences at the same rate, paired over patients; not corrected for their number"
        yield Table(
            name="localizer_cv_differences",
            columns=tuple(Column(title=f"Recall, {title}") for title in near),
            groups=(Rows(title=title, rows=rows),),
            style="measured",
        )


def _false(found: Found, system: str, subset: str) -> Number:
    key = Key("false_points_per_image")
    return number(key, found.of(system, subset, key))


def _rivals(found: Found) -> Iterator[Block]:
    notes = found.notes
    for one in notes.rivals:
        name = found.systems[one.localizer].label
        yield Note(
            text=(
                f"{name} was shown {one.chose_marked} of the annotated and {one.chose_negative} of the negative images "
                "here when its prompt and cutoff were chosen: on these it has an advantage.",
            )
        )
    for name, system in found.systems.items():
        rate = found.of(name, f"{EQUAL_RATE}/negatives", Key("false_points_per_image"))
        if rate is not None and rate.value is not None and rate.value > notes.false_points_per_image:
            yield Note(text=(f"{system.label} gives no confidence that could bring it to the rate that is wanted.",))
    if notes.left_out:
        yield Note(text=(f"{notes.left_out} images are left out, as some rival was not asked about them.",))


def _froc(found: Found) -> Iterator[Block]:
    charts = []
    for at in TOLERANCES:
        series = []
        for name, system in found.systems.items():
            for one in found.curves.get(Subject(LOCALIZATION, name, SUBSET), ()):
                kept = [(x, y) for x, y in zip(one.x.tolist(), one.y.tolist(), strict=True) if x <= SHOWN_RATE]
                if one.at == at and kept:
                    xs, ys = zip(*kept, strict=True)
                    series.append(Series(x=xs, y=ys, look=system.look, label=system.label))
        if series:
            x = fitting_axis([0.0, SHOWN_RATE], "false points per image")
            charts.append(Chart(title=f"FROC, {at_label(at)}", x=x, y=unit_axis("sensitivity"), series=tuple(series)))
    if charts:
        yield Charts(charts=tuple(charts))


def main(argv: Sequence[str] | None = None) -> None:
    """Read what was measured, make the section, write it."""
    args = cli.parse(
        __doc__,
        argv,
        params={"zoo.localizer_cv": Params},
        reads=("measures", "curves", "notes"),
        writes=("section",),
    )
    notes = documents.read(args.notes, CrossValidated)
    root = (args.document.get("data") or {}).get("ingest", {}).get("root", "")
    found = Found(
        measures=measures.from_table(tables.read(args.measures, tables.MEASURES)).get(CHAPTER, {}),
        curves=curves.from_table(tables.read(args.curves, tables.CURVES)),
        notes=notes,
        systems=labelled(notes, args.document),
        simulated=Path(root).parts[:3] == ("results", "data", "simulate"),
    )
    documents.write(args.section, section(found))


if __name__ == "__main__":
    cli.run(main)
