"""The parts on all that was tried on validation, and on fewer training patients."""

from collections.abc import Iterator

import numpy as np

from stages.lib.report.blocks import Block, Chart, Charts, Column, Fold, Note, Part, Point, Row, Rows, Series, Table
from stages.lib.report.charts import unit_axis
from stages.lib.report.numbers import DASH, decimal
from stages.zoo.page.costs import log_axis
from stages.zoo.page.study import LEARNING, PRECISION, Study


def part(study: Study) -> Part:
    """Every option of every row with its average precision on validation."""
    groups = []
    for name in study.models:
        tried = study.rows[name].tried
        rows = tuple(
            Row(
                title=one.option,
                selected=bool(study.rows[name].chosen) and one.option == study.rows[name].chosen,
                cells=(DASH if one.average_precision is None else decimal(one.average_precision), one.note),
            )
            for one in tried
        )
        if rows:
            groups.append(Rows(title=study.label(name), note=f"{len(rows)} tried", rows=rows))
    columns = (Column(title="Average precision, validation", count=True), Column(title="Note"))
    table = Table(name="zoo.tried", corner="Option", columns=columns, groups=tuple(groups))
    said = Note(
        text=(
            f"{study.notes.tried:,} options of {len(study.models)} rows were tried on {study.choice.images:,} "
            f"validation images ({study.choice.positive_images:,} with a nodule). The best of many is partly "
            "luck; test images were looked at once, with what is marked.",
        )
    )
    inside: tuple[Block, ...] = (table,) if groups else ()
    return Part(
        name="tried",
        title="All that was tried",
        short="Tried",
        blocks=(said, *(Fold(title="Every option", blocks=(one,)) for one in inside)),
    )


def learning(study: Study) -> Iterator[Part]:
    """Average precision by the number of training patients, where a learning curve was made."""
    means = study.learning.get(None, {})
    by_row: dict[str, list[tuple[int, float, float | None, int | None]]] = {}
    for subject, measured in means.items():
        found = measured.get(PRECISION)
        patients = subject.subset.rpartition("/")[2]
        if subject.task == LEARNING and found is not None and found.value is not None and patients.isdecimal():
            by_row.setdefault(subject.system, []).append((int(patients), found.value, found.sd, found.n_seeds))
    if not by_row:
        return
    counts = [count for points in by_row.values() for count, *_ in points]
    axis = log_axis([float(np.log10(count)) for count in counts], "training patients")
    series = []
    draws = max((one[3] or 0 for points in by_row.values() for one in points), default=0)
    for name, points in by_row.items():
        points.sort()
        xs = tuple(round(float(np.log10(count)), 4) for count, *_ in points)
        ys = tuple(round(value, 4) for _, value, *_ in points)
        dots = tuple(
            Point(
                x=x,
                y=y,
                title=f"{study.label(name)}: {value:.3f} with {count:,} patients"
                + ("" if sd is None else f", SD {sd:.3f}"),
                low=None if sd is None else value - sd,
                high=None if sd is None else value + sd,
                radius=3,
            )
            for x, y, (count, value, sd, _) in zip(xs, ys, points, strict=True)
        )
        look = study.systems[name].look if name in study.systems else None
        series.append(Series(x=xs, y=ys, look=look, label=study.label(name), points=dots))
    chart = Chart(title="Learning curve", x=axis, y=unit_axis("average precision, test"), series=tuple(series))
    said = Note(
        text=(
            f"Mean over {draws} draws of the training patients, and one standard deviation to either side: it tells "
            f"how much the draw matters, not how sure the mean is of patients. Measured on {study.behind}.",
        )
    )
    yield Part(
        name="learning", title="With fewer patients", short="Learning curve", blocks=(said, Charts(charts=(chart,)))
    )
