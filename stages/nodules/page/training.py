"""The part on training: its curves, key figures, checkpoints and notes."""

from collections.abc import Iterator

from stages.lib.core import documents
from stages.lib.report import figures
from stages.lib.report.blocks import Block, Charts, Column, Facts, Heading, Note, Part, Row, Rows, Table
from stages.lib.report.numbers import fact, tree
from stages.nodules.page.study import Study
from stages.nodules.page.words import name


def part(study: Study) -> Part:
    """Everything that the log and the curve of the training say."""
    blocks = tuple(_blocks(study))
    nothing = (Note(text=("Nothing was trained.",)),)
    return Part(name="training", title="Training", short="Training", blocks=blocks or nothing)


def _blocks(study: Study) -> Iterator[Block]:
    columns = list(study.training_curve[0]) if study.training_curve else []
    losses = {column: name(column) for column in columns if "loss" in column}
    judged = {column: name(column) for column in columns if column.startswith("val_") and column not in losses}
    charts = [
        figures.training(study.training_curve, losses, "Loss"),
        figures.training(study.training_curve, judged, "Validation metric"),
    ]
    if any(charts):
        yield Charts(charts=tuple(chart for chart in charts if chart))
    if study.train is None:
        return
    for note in study.train.notes:
        yield Note(text=(note,), style="warning")
    log = documents.as_mapping(study.train)
    yield Heading(title="Key figures")
    yield Facts(
        facts=tree({name(key): fact(value) for key, value in log.items() if not isinstance(value, list | dict)})
    )
    if log["checkpoints"]:
        yield Heading(title="Checkpoints", note="selected on validation")
        first, *others = log["checkpoints"][0]
        rows = tuple(
            Row(
                title=fact(row[first]),
                cells=tuple(fact(row[key]) for key in others),
                selected=row[first] == study.train.selected_step,
            )
            for row in log["checkpoints"]
        )
        titles = tuple(Column(title=name(key)) for key in others)
        yield Table(corner=name(first), columns=titles, groups=(Rows(rows=rows),), scroll=True)
