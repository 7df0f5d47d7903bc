"""What is drawn is what was measured, and every system has a look of its own."""

import re

import numpy as np
import pytest

from stages.lib.metrics.binary import average_precision, precision_recall_curve, roc_auc, roc_curve
from stages.lib.report import charts, figures, page, palette
from stages.lib.report.blocks import Charts, Column, Number, Part, Row, Rows, Section, Table

CLASSIFIERS, LOCALIZERS = 5, 8


def corners(drawing: charts.Drawing, look: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the line of a system, in data units."""
    line = next(line for line in drawing.lines if line.style == palette.style(look))
    drawn = np.array([[float(part) for part in corner.split()] for corner in re.split("[ML]", line.path)[1:]])
    x = (drawn[:, 0] - drawing.left) / (drawing.right - drawing.left)
    return x, (drawing.bottom - drawn[:, 1]) / (drawing.bottom - drawing.top)


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_under_the_drawn_curves_is_the_metric(ties: bool) -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 300)
    scores = 1 / (1 + np.exp(-(labels + rng.normal(0, 1, 300))))
    scores = np.round(scores, 1) if ties else scores
    false, found, _ = roc_curve(labels, scores)
    x, y = corners(charts.draw(figures.roc([figures.Curve(4, "", false.tolist(), found.tolist())])), 4)
    assert np.trapezoid(y, x) == pytest.approx(roc_auc(labels, scores), abs=2e-3)
    recall, precision, _ = precision_recall_curve(labels, scores)
    recall, first = np.unique(recall, return_index=True)
    curve = figures.Curve(4, "", recall[recall > 0].tolist(), precision[first][recall > 0].tolist())
    x, y = corners(charts.draw(figures.precision_recall([curve], 0.5)), 4)
    assert np.trapezoid(y, x) == pytest.approx(average_precision(labels, scores), abs=2e-3)


def test_a_froc_staircase_holds_its_last_height_to_the_end_of_the_axis() -> None:
    chart = figures.froc([figures.Curve(0, "", [0.0, 0.5, 9.0], [0.0, 0.6, 0.9])], "FROC")
    assert chart.series[0].x[0] == -4.0
    assert chart.series[0].x[-1] == 3.0
    assert chart.series[0].y[-1] == 0.6


def test_leaving_out_corners_leaves_the_line_as_it_is() -> None:
    there_and_back = [(0.0, 0.0), (4.0, 0.0), (2.0, 0.0), (2.0, 0.0), (2.0, 3.0)]
    assert charts.path(there_and_back) == "M0 0L4 0L2 0L2 3"


@pytest.mark.parametrize("values", [[0.0, 9.3], [-3.2, 7.0], [0.71, 0.74], [5.0], [0.0, 0.0], [1e-9, 3e-9], [0, 63179]])
def test_an_axis_holds_its_values_between_round_ticks(values: list[float]) -> None:
    axis = charts.fitting_axis(values, "step")
    assert axis.low <= min(values) <= max(values) <= axis.high
    assert (axis.ticks[0], axis.ticks[-1]) == (axis.low, axis.high)
    assert 2 <= len(axis.ticks) <= 8


def test_five_classifiers_and_eight_localizers_do_not_share_a_look() -> None:
    systems = range(CLASSIFIERS + LOCALIZERS)
    marks = {(palette.style(look).split()[0], palette.mark(50, 50, look)) for look in systems}
    lines = {palette.style(look) for look in systems}
    assert len(marks) == len(lines) == len(systems)
    localizers = range(CLASSIFIERS, CLASSIFIERS + LOCALIZERS)
    assert len({palette.style(look).split()[0] for look in localizers}) == LOCALIZERS
    assert len(palette.COLOURS) >= 10


def test_the_whiskers_of_a_table_lie_within_their_picture_however_many_there_are() -> None:
    cell = Number(text="0.5", interval="[0.0, 1.0]", value=0.5, low=0.0, high=1.0, note="")
    columns = tuple(Column(title=f"Model {look}", look=look) for look in range(CLASSIFIERS))
    row = Row(title="ROC AUC", key="roc_auc", cells=(cell,) * CLASSIFIERS)
    table = Table(columns=columns, groups=(Rows(rows=(row,)),), whiskers=CLASSIFIERS)
    part = Part(name="one", title="One", short="One", blocks=(table, Charts(charts=())))
    html = page.render("t", [Section(chapter="a", title="A", finding=(), warnings=(), tiles=(), parts=(part,))])
    picture = re.search(r'<svg class="whiskers" viewBox="0 0 (\d+) (\d+)".*?</svg>', html, re.DOTALL)
    assert picture
    width, height = int(picture[1]), int(picture[2])
    dots = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', picture[0])]
    assert len(dots) == CLASSIFIERS == len({y for _, y in dots})
    assert all(4 <= x <= width - 4 and 4 <= y <= height - 4 for x, y in dots)
    ends = re.findall(r'class="line [^"]*" d="M([\d.]+) ([\d.]+)H([\d.]+)"', picture[0])
    assert len(ends) == CLASSIFIERS
    assert all(0 <= float(left) < float(right) <= width for left, _, right in ends)
