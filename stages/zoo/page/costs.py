"""The part on cost: operations against average precision, and what a step of average precision costs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stages.lib.metrics.measures import Estimate
from stages.lib.report.blocks import (
    Axis,
    Block,
    Chart,
    Charts,
    Column,
    Fold,
    Heading,
    Note,
    Part,
    Point,
    Row,
    Rows,
    Series,
    Table,
)
from stages.lib.report.charts import steps, unit_axis
from stages.zoo.page.study import PRECISION, Study, amount, duration, shown


@dataclass(frozen=True)
class Card:
    """A graphics card that times are computed for: its name, and its dense bfloat16 operations per second."""

    name: str
    flops: float


def part(study: Study, card: Card) -> Part:
    """Front of operations and average precision, its prices, and what each row costs."""
    return Part(name="cost", title="What average precision costs", short="Cost", blocks=tuple(_of(study, card)))


def _of(study: Study, card: Card) -> Iterator[Block]:
    chart = pareto(study)
    if chart is None:
        yield Note(text=("No row has both operations that were counted and an average precision.",))
        yield _costs(study, card)
        return
    yield Note(
        text=(
            "Each row by its operations per image in all passes and its average precision on test images, with its "
            "interval over patients. Full dots are on the front: no row that may be chosen is as good for as few "
            "operations. The front is drawn from single values: where intervals overlap, another sample may draw "
            "another.",
        )
    )
    yield Charts(charts=(chart,))
    if study.notes.off_the_front:
        names = study.labels(study.notes.off_the_front)
        yield Note(text=(f"Not drawn, as their operations are not counted: {names}.",))
    step = study.notes.step
    yield Heading(title=f"What {step:g} of average precision costs", note="along the front, on test images")
    yield _prices(study)
    yield _costs(study, card)


def pareto(study: Study) -> Chart | None:
    """Chart of operations, on a scale of logarithms, against average precision."""
    found = []
    for name in study.measured:
        cost, estimate = study.rows[name].cost, study.of(name).get(PRECISION)
        if cost is not None and cost.whole and estimate is not None and estimate.value is not None:
            found.append((name, float(np.log10(cost.whole)), estimate))
    if not found:
        return None
    front = {one.model for one in study.notes.front}
    series = []
    line = [(np.log10(one.operations), one.average_precision) for one in study.notes.front if one.operations > 0]
    if len(line) > 1:
        xs, ys = steps([x for x, _ in line], [y for _, y in line])
        series.append(Series(x=tuple(round(x, 4) for x in xs), y=tuple(round(y, 4) for y in ys)))
    prevalence = next((one.n_positive / one.n for _, _, one in found if one.n and one.n_positive is not None), None)
    axis = log_axis([x for _, x, _ in found], "FLOP per image, all passes")
    if prevalence is not None:
        level = (round(prevalence, 4),) * 2
        series.append(Series(x=(axis.low, axis.high), y=level, label="fraction of images with a nodule (chance)"))
    for name, x, estimate in sorted(found, key=lambda one: one[1]):
        text = shown(PRECISION, estimate)
        whole = amount(10**x, "FLOP")
        point = Point(
            x=round(x, 4),
            y=round(float(estimate.value or 0.0), 4),
            title=f"{study.label(name)}: {text.text} {text.interval}, {whole}",
            low=estimate.low,
            high=estimate.high,
            open=name not in front,
        )
        note = " (seen)" if study.seen(name) else ""
        series.append(
            Series(
                x=(point.x,),
                y=(point.y,),
                look=study.systems[name].look,
                label=f"{study.label(name)}{note}",
                points=(point,),
            )
        )
    return Chart(
        title="Operations and average precision", x=axis, y=unit_axis("average precision, test"), series=tuple(series)
    )


def log_axis(logs: Sequence[float], title: str) -> Axis:
    """Axis of logarithms (base 10) from a whole one to a whole one, its ticks named by their numbers.

    >>> log_axis([6.2, 7.9], "FLOP").labels
    ('1M', '10M', '100M')
    """
    low, high = int(np.floor(min(logs))), int(np.ceil(max(logs)))
    high = max(high, low + 1)
    step = max(1, -(-(high - low) // 6))
    ticks = tuple(float(one) for one in range(low, high + 1, step))
    labels = tuple(amount(10.0**tick).replace(" ", "") for tick in ticks)
    return Axis(low=float(low), high=float(high), ticks=ticks, title=title, labels=labels)


def _prices(study: Study) -> Table:
    """A row for each step along the front."""
    columns = (
        "Average precision",
        "Operations of an image",
        "Gain on the row before",
        f"Further operations for {study.notes.step:g}",
        "",
    )
    rows = []
    for one in study.notes.front:
        estimate = study.of(one.model).get(PRECISION)
        gain = Estimate(value=one.gain, low=one.gain_low, high=one.gain_high, reason=one.reason)
        rows.append(
            Row(
                title=study.label(one.model),
                look=study.systems[one.model].look,
                key=one.model,
                selected=one.model == study.choice.chosen,
                cells=(
                    shown(PRECISION, estimate),
                    amount(one.operations, "FLOP"),
                    "" if one.gain is None else shown(PRECISION, gain, signed=True),
                    amount(one.price, "FLOP"),
                    one.reason or "",
                ),
            )
        )
    return Table(
        name="zoo.price",
        corner="Model",
        columns=tuple(Column(title=title) for title in columns),
        groups=(Rows(rows=tuple(rows)),),
        style="systems",
    )


def _costs(study: Study, card: Card) -> Fold:
    """What each row costs, measured and computed."""
    titles = (
        "Operations of a pass",
        "Passes",
        "Parameters",
        "Trained",
        "Features on disk",
        "Fit, this machine",
        "Image, this machine",
        f"Image, {card.name}, computed",
    )
    rows = []
    for name in study.measured:
        cost = study.rows[name].cost
        if cost is None:
            continue
        cells = (
            amount(cost.operations, "FLOP"),
            f"{cost.passes:,}",
            amount(cost.parameters),
            f"{cost.trained_parameters:,}",
            amount(cost.feature_bytes, "B"),
            duration(cost.fit_seconds),
            duration(cost.image_seconds),
            duration(None if cost.whole is None else cost.whole / card.flops),
        )
        rows.append(Row(title=study.label(name), look=study.systems[name].look, key=name, cells=cells))
    said = Note(
        text=(
            "An ensemble costs what its members cost together, those with the same features counted once. Rows with "
            "the same model, side and shifts share their features on disk. The last column is no measurement: "
            f"operations over the {amount(card.flops, 'FLOP')} a second that the maker of the {card.name} names; real "
            "times are longer.",
        )
    )
    columns = tuple(Column(title=title, count=True) for title in titles)
    table = Table(name="zoo.costs", corner="Model", columns=columns, groups=(Rows(rows=tuple(rows)),), style="systems")
    return Fold(title="What each row costs", blocks=(said, table))
