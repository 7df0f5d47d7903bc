"""A chart: data in, positions on a drawing out.

Nothing here draws. A template turns a `Chart` into inline SVG whose colours are CSS classes, so that one image serves
a light page, a dark page and a printer, and the same data are the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

WIDTH, HEIGHT = 440.0, 360.0
LEFT, RIGHT, TOP, BOTTOM = 54.0, 14.0, 14.0, 48.0


@dataclass(frozen=True)
class Axis:
    """One axis: its range, where its ticks stand, and what it says.

    Attributes:
        low: Value at the left or lower end.
        high: Value at the right or upper end.
        ticks: Values that get a tick and a number.
        title: What is measured, with unit.
        labels: Text of each tick, where it is not its number.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    title: str
    labels: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Text of each tick."""
        return self.labels or tuple(tick_text(value) for value in self.ticks)


@dataclass(frozen=True)
class Line:
    """A line on the drawing: an SVG path, a CSS class, and its name in the legend (None keeps it out)."""

    path: str
    style: str
    label: str | None = None


@dataclass(frozen=True)
class Mark:
    """A point on the drawing, with a CSS class and a tooltip; `low_y` to `high_y` is its whisker, if it has one."""

    x: float
    y: float
    style: str
    title: str
    radius: float = 4.5
    low_y: float | None = None
    high_y: float | None = None


@dataclass
class Chart:
    """A plot area with two axes, and what lies in it, in drawing units from the top left corner."""

    title: str
    x: Axis
    y: Axis
    height: float = HEIGHT
    width: float = WIDTH
    note: str = ""
    lines: list[Line] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Left edge of the plot area."""
        return LEFT

    @property
    def right(self) -> float:
        """Right edge of the plot area."""
        return self.width - RIGHT

    @property
    def top(self) -> float:
        """Upper edge of the plot area."""
        return TOP

    @property
    def bottom(self) -> float:
        """Lower edge of the plot area."""
        return self.height - BOTTOM

    def at_x(self, value: float) -> float:
        """Return where `value` lies on the drawing, from the left, to a tenth of a unit."""
        fraction = (value - self.x.low) / (self.x.high - self.x.low)
        return round(self.left + fraction * (self.right - self.left), 1)

    def at_y(self, value: float) -> float:
        """Return where `value` lies on the drawing, from the top, to a tenth of a unit."""
        fraction = (value - self.y.low) / (self.y.high - self.y.low)
        return round(self.bottom - fraction * (self.bottom - self.top), 1)

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Position and text of every tick of the x axis."""
        return [(self.at_x(value), text) for value, text in zip(self.x.ticks, self.x.texts, strict=True)]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Position and text of every tick of the y axis."""
        return [(self.at_y(value), text) for value, text in zip(self.y.ticks, self.y.texts, strict=True)]

    @property
    def legend(self) -> list[Line]:
        """The lines that have a name."""
        return [line for line in self.lines if line.label]

    def add_line(self, xs: Sequence[float], ys: Sequence[float], style: str, label: str | None = None) -> None:
        """Add the line through the points (xs, ys), in data units."""
        corners = [(self.at_x(x), self.at_y(y)) for x, y in zip(xs, ys, strict=True)]
        self.lines.append(Line(path(corners), style, label))

    def add_mark(
        self,
        x: float,
        y: float,
        style: str,
        title: str,
        *,
        radius: float = 4.5,
        whisker: tuple[float, float] | None = None,
    ) -> None:
        """Add a point at (x, y), in data units, with a tooltip and perhaps a whisker from low to high."""
        low, high = (self.at_y(whisker[0]), self.at_y(whisker[1])) if whisker else (None, None)
        self.marks.append(Mark(self.at_x(x), self.at_y(y), style, title, radius, low, high))


def path(corners: Sequence[tuple[float, float]]) -> str:
    """Return the SVG path through `corners`, without those that change nothing.

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
    """Return the corners of the staircase that goes through (xs, ys), level first and then up or down.

    >>> steps([0.0, 1.0], [5.0, 7.0])
    ([0.0, 1.0, 1.0], [5.0, 5.0, 7.0])
    """
    across, up = [float(xs[0])], [float(ys[0])]
    for x, y in zip(xs[1:], ys[1:], strict=True):
        across += [float(x), float(x)]
        up += [up[-1], float(y)]
    return across, up


def unit_axis(title: str) -> Axis:
    """Return an axis from 0 to 1, for a fraction or a probability."""
    return Axis(0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), title)


def fitting_axis(values: Sequence[float], title: str, *, intervals: int = 5) -> Axis:
    """Return an axis with round ticks that holds all of `values` and starts and ends at a tick.

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
    return Axis(ticks[0], ticks[-1], ticks, title)


def tick_text(value: float) -> str:
    """Return the shortest text of a tick.

    >>> tick_text(0.2), tick_text(1500.0)
    ('0.2', '1,500')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
