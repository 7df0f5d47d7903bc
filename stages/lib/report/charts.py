"""A chart as a drawing: data units in, positions on an SVG out.

The colours of a drawing are CSS classes, so that one picture serves a light page, a dark page and a printer, and the
same data are the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.lib.report import palette
from stages.lib.report.blocks import Axis, Chart

WIDTH, HEIGHT = 440.0, 360.0
LEFT, RIGHT, TOP, BOTTOM = 54.0, WIDTH - 14.0, 14.0, HEIGHT - 48.0  # edges of the plot area


@dataclass(frozen=True)
class Line:
    """A line: its SVG path, its CSS classes, and its text in the legend (empty keeps it out)."""

    path: str
    style: str
    label: str


@dataclass(frozen=True)
class Dot:
    """A point: its place, CSS classes, tooltip and radius; `low_y` to `high_y` is its whisker, if it has one."""

    x: float
    y: float
    style: str
    title: str
    radius: float
    low_y: float | None
    high_y: float | None


@dataclass(frozen=True)
class Drawing:
    """A chart in drawing units, from the top left corner.

    Attributes:
        chart: What is drawn.
        x_ticks: Position and text of each tick of the x axis.
        y_ticks: The same of the y axis.
        lines: The lines, from the back.
        dots: The points, above the lines.
    """

    chart: Chart
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line]
    dots: list[Dot]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = RIGHT
    top: float = TOP
    bottom: float = BOTTOM


def draw(chart: Chart) -> Drawing:
    """Drawing of a chart."""
    lines, dots = [], []
    for series in chart.series:
        style = "reference" if series.look is None else palette.style(series.look)
        corners = [(_at_x(chart.x, x), _at_y(chart.y, y)) for x, y in zip(series.x, series.y, strict=True)]
        lines.append(Line(path(corners), f"{style} faint" if series.faint else style, series.label))
        for point in series.points:
            low, high = (None if end is None else _at_y(chart.y, end) for end in (point.low, point.high))
            at = (_at_x(chart.x, point.x), _at_y(chart.y, point.y))
            dots.append(Dot(*at, f"{style} open" if point.open else style, point.title, point.radius, low, high))
    return Drawing(
        chart,
        [(_at_x(chart.x, value), text) for value, text in zip(chart.x.ticks, _texts(chart.x), strict=True)],
        [(_at_y(chart.y, value), text) for value, text in zip(chart.y.ticks, _texts(chart.y), strict=True)],
        lines,
        dots,
    )


def _at_x(axis: Axis, value: float) -> float:
    """Where `value` lies, from the left, to a tenth of a unit."""
    return round(LEFT + (value - axis.low) / (axis.high - axis.low) * (RIGHT - LEFT), 1)


def _at_y(axis: Axis, value: float) -> float:
    """Where `value` lies, from the top, to a tenth of a unit."""
    return round(BOTTOM - (value - axis.low) / (axis.high - axis.low) * (BOTTOM - TOP), 1)


def _texts(axis: Axis) -> Sequence[str]:
    return axis.labels or [tick_text(value) for value in axis.ticks]


def path(corners: Sequence[tuple[float, float]]) -> str:
    """SVG path through `corners`, without those that change nothing.

    >>> path([(0.0, 0.0), (0.0, 5.0), (0.0, 9.5), (4.0, 9.5)])
    'M0 0L0 9.5L4 9.5'
    """
    kept: list[tuple[float, float]] = []
    for corner in corners:
        if kept and corner == kept[-1]:
            continue
        if len(kept) > 1 and _straight(kept[-2], kept[-1], corner):
            kept.pop()
        kept.append(corner)
    return "".join(f"{'L' if k else 'M'}{x:g} {y:g}" for k, (x, y) in enumerate(kept))


def _straight(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether b lies on the horizontal or vertical way from a to c."""
    along_x = a[1] == b[1] == c[1] and min(a[0], c[0]) <= b[0] <= max(a[0], c[0])
    along_y = a[0] == b[0] == c[0] and min(a[1], c[1]) <= b[1] <= max(a[1], c[1])
    return along_x or along_y


def steps(xs: Sequence[float], ys: Sequence[float]) -> tuple[list[float], list[float]]:
    """Corners of the staircase through (xs, ys), level first and then up or down.

    >>> steps([0.0, 1.0], [5.0, 7.0])
    ([0.0, 1.0, 1.0], [5.0, 5.0, 7.0])
    """
    across, up = [float(xs[0])], [float(ys[0])]
    for x, y in zip(xs[1:], ys[1:], strict=True):
        across += [float(x), float(x)]
        up += [up[-1], float(y)]
    return across, up


def unit_axis(title: str) -> Axis:
    """Axis from 0 to 1, for a fraction or a probability."""
    return Axis(low=0.0, high=1.0, ticks=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0), title=title)


def fitting_axis(values: Sequence[float], title: str, *, intervals: int = 5) -> Axis:
    """Axis with round ticks that holds all of `values` and starts and ends at a tick.

    >>> fitting_axis([0.0, 9.3], "step").ticks
    (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
    """
    low, high = float(min(values)), float(max(values))
    span = high - low or abs(high) or 1.0
    rough = span / intervals
    power = 10.0 ** np.floor(np.log10(rough))
    size = float(power * next(step for step in (1, 2, 2.5, 5, 10) if step * power >= rough * (1 - 1e-9)))
    first, last = int(np.floor(low / size + 1e-9)), int(np.ceil(high / size - 1e-9))
    last = max(last, first + 1)
    ticks = tuple(float(round(k * size, 12)) for k in range(first, last + 1))
    return Axis(low=ticks[0], high=ticks[-1], ticks=ticks, title=title)


def tick_text(value: float) -> str:
    """Shortest text of a tick.

    >>> tick_text(0.2), tick_text(1500.0)
    ('0.2', '1,500')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
