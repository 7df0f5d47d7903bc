"""Charts of the kinds that every chapter draws: ROC, precision and recall, reliability, FROC, training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stages.lib.metrics.catalog import FALSE_POINT_RATES
from stages.lib.report.blocks import Axis, Chart, Point, Series
from stages.lib.report.charts import fitting_axis, steps, unit_axis
from stages.lib.report.numbers import MINUS, decimal

MIN_FALSE, MAX_FALSE = 1 / 16, 8.0  # false points per image at the ends of the axis of a FROC chart
RATES = {name.replace("_", "/"): rate for name, rate in FALSE_POINT_RATES.items()}  # its ticks
MANY = 60  # points of a training curve that are drawn one by one


@dataclass(frozen=True)
class Curve:
    """A curve of one system.

    Attributes:
        look: Index of the system on the page.
        label: Its text in the legend.
        x: Shape (n,), rising.
        y: Shape (n,).
        points: What is marked on it.
    """

    look: int
    label: str
    x: Sequence[float]
    y: Sequence[float]
    points: tuple[Point, ...] = ()

    def series(self, x: Sequence[float] | None = None, y: Sequence[float] | None = None) -> Series:
        """Line of the chart, through other places if any are given."""
        across, up = self.x if x is None else x, self.y if y is None else y
        return Series(x=_rounded(across), y=_rounded(up), look=self.look, label=self.label, points=self.points)


def roc(curves: Sequence[Curve]) -> Chart:
    """ROC curves: x is the false positive rate, y the sensitivity."""
    chance = Series(x=(0, 1), y=(0, 1))
    series = (chance, *(curve.series() for curve in curves))
    return Chart(title="ROC", x=unit_axis(f"1 {MINUS} specificity"), y=unit_axis("sensitivity"), series=series)


def precision_recall(curves: Sequence[Curve], prevalence: float) -> Chart:
    """Precision-recall curves as staircases: x is the recall, y the best precision at it."""
    lines = [Series(x=(0, 1), y=(prevalence, prevalence))]
    for curve in curves:
        across, up = steps([0.0, *curve.x], [*curve.y, curve.y[-1]])
        lines.append(curve.series(across, up))
    axes = {"x": unit_axis("sensitivity (recall)"), "y": unit_axis("precision")}
    return Chart(title="Precision and recall", **axes, series=tuple(lines))


def reliability(curves: Sequence[Curve], title: str, event: str) -> Chart:
    """How often the event came true, against the score that was given; a curve per kind of score."""
    diagonal = Series(x=(0, 1), y=(0, 1))
    series = (diagonal, *(curve.series() for curve in curves))
    return Chart(title=title, x=unit_axis("mean score of the bin"), y=unit_axis(f"fraction {event}"), series=series)


def froc(curves: Sequence[Curve], title: str) -> Chart:
    """Sensitivity (y) against false points per image (x): a staircase, or one point where no confidence is given.

    What lies beyond an end of the axis is drawn at that end; the tooltip has the true number.
    """
    ticks = tuple(float(np.log2(rate)) for rate in RATES.values())
    axis = Axis(
        low=float(np.log2(MIN_FALSE)),
        high=ticks[-1],
        ticks=ticks,
        title="false points per image (logarithmic)",
        labels=tuple(RATES),
    )
    lines = []
    for curve in curves:
        false, found = np.asarray(curve.x, float), np.asarray(curve.y, float)
        if len(false) > 1:
            end = found[false <= MAX_FALSE].max()
            shown = false <= MAX_FALSE
            false, found = np.append(false[shown], MAX_FALSE), np.append(found[shown], end)
        across, up = steps([on_log_axis(value) for value in false], found.tolist())
        points = tuple(
            Point(x=on_log_axis(p.x), y=p.y, title=p.title, radius=p.radius, low=p.low, high=p.high)
            for p in curve.points
        )
        line = Curve(curve.look, curve.label, across, up, points)
        lines.append(line.series())
    return Chart(title=title, x=axis, y=unit_axis("sensitivity"), series=tuple(lines))


def on_log_axis(false: float) -> float:
    """Place of a rate of false points on the axis of a FROC chart.

    >>> on_log_axis(0.0), on_log_axis(2.0)
    (-4.0, 1.0)
    """
    return float(np.log2(np.clip(false, MIN_FALSE, MAX_FALSE)))


def training(
    curve: Sequence[Mapping[str, float | None]], columns: Mapping[str, str], title: str, *, first_look: int = 1
) -> Chart | None:
    """Columns of a training curve against the step; None if none of them has a number.

    A column with more than 60 numbers is drawn faintly, with its running mean above.

    Args:
        curve: A row per step, with the key "step"; a missing value is None.
        columns: Columns shown, and what they are called.
        title: Title of the chart.
        first_look: Look of the first column; the others follow.
    """
    series = {
        column: [(float(row["step"] or 0), float(value)) for row in curve if (value := row.get(column)) is not None]
        for column in columns
    }
    series = {column: pairs for column, pairs in series.items() if pairs}
    if not series:
        return None
    across = [step for pairs in series.values() for step, _ in pairs]
    up = [value for pairs in series.values() for _, value in pairs]
    lines = []
    for look, (column, pairs) in enumerate(series.items(), first_look):
        xs, values, label = [step for step, _ in pairs], [value for _, value in pairs], columns[column]
        if len(pairs) > MANY:
            window = len(pairs) // 25
            lines.append(Series(x=_rounded(xs), y=_rounded(values), look=look, faint=True))
            label += f", mean of {2 * window + 1} steps"
            lines.append(Series(x=_rounded(xs), y=_rounded(running_mean(values, window)), look=look, label=label))
            continue
        points = tuple(Point(x=x, y=y, title=f"step {x:,.0f}: {label} {decimal(y)}", radius=2.5) for x, y in pairs)
        lines.append(Series(x=_rounded(xs), y=_rounded(values), look=look, label=label, points=points))
    low, high = min(up), max(up)
    y = fitting_axis([0.0 if 0 <= low < 0.5 * high else low, high], title.lower())
    return Chart(title=title, x=fitting_axis([0.0, *across], "optimizer step"), y=y, series=tuple(lines))


def running_mean(values: Sequence[float], reach: int) -> list[float]:
    """Mean of each value with up to `reach` neighbours on either side.

    >>> running_mean([0.0, 3.0, 6.0], 1)
    [1.5, 3.0, 4.5]
    """
    return [float(np.mean(values[max(k - reach, 0) : k + reach + 1])) for k in range(len(values))]


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    """Values to six digits, so that the file of a section stays small."""
    return tuple(float(f"{value:.6g}") for value in values)
