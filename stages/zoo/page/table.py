"""The part with all rows: what each reaches on test images, at which cost, with which right, and what it has seen."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from stages.lib.metrics.measures import Key
from stages.lib.report import published
from stages.lib.report.blocks import Block, Column, Fold, Heading, Note, Number, Part, Row, Rows, Table
from stages.lib.report.numbers import DASH
from stages.zoo.page.study import AREA, F1, PRECISION, Study, amount, duration, shown, unbroken
from stages.zoo.rows import SEEN

BEFORE, AFTER = Key("ece"), Key("ece_calibrated")
MEASURED = {
    PRECISION: "Average precision",
    AREA: "ROC AUC",
    F1: "F1 at 0.5",
    AFTER: "ECE, calibrated",
}
COLUMNS = (
    *(Column(title=title) for title in MEASURED.values()),
    Column(title="Operations", count=True),
    Column(title="Parameters", count=True),
    Column(title="Time", count=True),
    Column(title="Licence"),
    Column(title="Seen"),
)


def part(study: Study) -> Part:
    """All rows."""
    return Part(name="rows", title="What each model reaches, and what it costs", short="Rows", blocks=tuple(_of(study)))


def _of(study: Study) -> Iterator[Block]:
    how = study.measured_by
    yield Note(text=(f"Measured on {study.behind}.",), style="strong")
    yield Note(
        text=(
            f"Below each number its {how['confidence']:.0%} interval over patients ({how['draws']:,} resamples). "
            "Calibration errors (ECE) are those of the scores after and before they were calibrated on validation. "
            "Operations are those of one image in all its passes, counted, two per multiply-add; times are of one "
            "image on this machine, whatever else it did. Seen: whether the weights have seen ChestX-ray14.",
        )
    )
    own = [name for name in study.models if not study.seen(name)]
    free = [name for name in own if name in study.standings and study.standings[name].choosable]
    failed = [name for name in own if study.rows[name].failure is not None]
    barred = [name for name in own if name not in {*free, *failed}]
    groups = [Rows(title="May be chosen", rows=rows(study, study.ranked(free)))] if free else []
    if barred:
        groups.append(
            Rows(title="Shown, and may not be chosen", note=_reasons(study, barred), rows=rows(study, barred))
        )
    if failed:
        groups.append(Rows(title="Failed", note="zoo_check has the command that tries again", rows=rows(study, failed)))
    yield Table(name="zoo.rows", corner="Model", columns=COLUMNS, groups=tuple(groups), style="systems")
    seen = [name for name in study.models if study.seen(name)]
    if seen:
        yield Heading(title="Weights that have seen these images", note="never chosen, and never to be compared")
        yield Note(
            text=(
                "ChestX-ray14, which the study's images are from, was in their training. Their numbers say how well "
                "they remember as much as how well they see.",
            )
        )
        groups = [Rows(rows=rows(study, study.ranked(seen)))]
        yield Table(name="zoo.seen", corner="Model", columns=COLUMNS, groups=tuple(groups), style="systems")
    yield from published.classifiers()
    yield Fold(title="What each row is", blocks=tuple(_what(study)))


def _reasons(study: Study, names: Sequence[str]) -> str:
    return "; ".join(f"{study.label(name)}: {study.standings[name].reason}" for name in names)


def rows(study: Study, names: Sequence[str]) -> tuple[Row, ...]:
    """Rows of the table."""
    return tuple(_row(study, name) for name in names)


def _row(study: Study, name: str) -> Row:
    model, behind, found = study.models[name], study.rows[name], study.of(name)
    hints = [model.kind.replace("_", " ")]
    hints += ["random weights, not pretrained"] if behind.random_weights else []
    hints += ["chosen"] if name == study.choice.chosen else []
    hints += ["reference"] if name == study.notes.reference else []
    measured = {key: shown(key, found.get(key)) for key in MEASURED}
    failed, cost, cells = "", behind.cost, list[str | Number]()
    if behind.failure is not None:
        failed = f"{behind.failure.stage}: {behind.failure.reason}"
    else:
        before = shown(BEFORE, found.get(BEFORE))
        told = f"before {before.text} {before.interval}".strip()
        cells += [replace(one, beside=told) if key == AFTER else one for key, one in measured.items()]
        cells += [
            operations(study, name),
            DASH if cost is None else unbroken(amount(cost.parameters)),
            DASH if cost is None else unbroken(duration(cost.image_seconds)),
            model.licence,
            SEEN.get(model.seen, model.seen),
        ]
    return Row(
        title=study.label(name),
        hint=", ".join(hints),
        look=study.systems[name].look,
        key=name,
        cells=tuple(cells),
        failed=failed,
        selected=name == study.choice.chosen,
    )


def operations(study: Study, name: str) -> str:
    """Operations of an image, with the number of passes where there are several."""
    cost = study.rows[name].cost
    if cost is None or cost.whole is None:
        return "not counted"
    text = unbroken(amount(cost.whole, "FLOP"))
    return f"{text}, {unbroken(f'{cost.passes} passes')}" if cost.passes > 1 else text


def _what(study: Study) -> Iterator[Block]:
    """Keys of each row, and what was chosen for it."""
    columns = ("Kind", "Model or members", "Side", "Training images", "Chosen on validation")
    made = []
    for name in study.measured:
        model, behind = study.models[name], study.rows[name]
        source = [str(model.row[key]) for key in ("library", "source", "classifier") if model.row.get(key)]
        cells = (
            model.kind,
            " ".join(source) or study.labels(model.members) or DASH,
            f"{behind.side_px} px" if behind.side_px else DASH,
            f"{behind.images:,}",
            " ".join([f"{behind.chosen}." if behind.chosen else "", *behind.notes]).strip() or DASH,
        )
        made.append(Row(title=study.label(name), look=study.systems[name].look, cells=cells))
    yield Table(
        name="zoo.what",
        columns=tuple(Column(title=title) for title in columns),
        groups=(Rows(rows=tuple(made)),),
        style="systems",
    )
