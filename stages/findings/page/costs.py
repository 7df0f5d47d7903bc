"""The part on cost: what an answer takes in seconds, tokens and dollars, against how good it is."""

from collections.abc import Callable, Iterator, Mapping

from stages.findings.notes import Cost, Spread
from stages.findings.page.study import Study, number
from stages.lib.metrics.measures import Key
from stages.lib.report.blocks import Axis, Block, Chart, Charts, Column, Note, Part, Point, Row, Rows, Series, Table
from stages.lib.report.charts import fitting_axis, unit_axis
from stages.lib.report.numbers import DASH, label
from stages.lib.report.systems import System

GOOD = Key("good_fraction")
Price = Callable[[Cost], float | None]


def part(study: Study) -> Part:
    """Charts of quality against cost, and the table behind them."""
    return Part(name="costs", title="Cost against quality", short="Cost", blocks=tuple(_blocks(study)))


def _blocks(study: Study) -> Iterator[Block]:
    charts = [
        chart
        for chart in (
            _chart(study, "Dollars per 1,000 cases", _thousand),
            _chart(study, "Seconds per case, mean", _seconds(study)),
            _chart(study, "Tokens out per case, mean", _tokens(study)),
        )
        if chart is not None
    ]
    if charts:
        yield Charts(charts=tuple(charts))
    yield Note(
        text=(
            "Seconds are clock readings of one run and differ in the next. A good try is the one that gave the answer; "
            "all tries include those before it and the waits. Tokens are as the server counted them, never guessed. "
            "Dollars are of good tries, by dated prices; where a price or the tokens are not known there are none.",
        )
    )
    yield from _table(study)


def _thousand(cost: Cost) -> float | None:
    return None if cost.dollars_per_case is None else 1000 * cost.dollars_per_case


def _seconds(study: Study) -> Price:
    """Seconds of the good tries of a case: of several samples, of all of them."""

    def found(cost: Cost) -> float | None:
        tries = cost.latency.good_try if cost.latency else None
        return tries.mean * tries.n / study.n_cases if tries and tries.mean is not None and study.n_cases else None

    return found


def _tokens(study: Study) -> Price:
    """Tokens out of a case, as the server counted them."""

    def found(cost: Cost) -> float | None:
        said = cost.tokens.completion if cost.tokens else None
        return said / study.n_cases if said is not None and study.n_cases else None

    return found


def _chart(study: Study, title: str, price: Price) -> Chart | None:
    """Good answers against a price; None if fewer than two arms have one."""
    points: list[tuple[System, float, Point]] = []
    for arm in study.arms.values():
        cost, good = study.costs.get(arm.name), study.of(arm.name).get(GOOD)
        x = price(cost) if cost else None
        if x is None or good is None or good.value is None:
            continue
        shown = number(GOOD, good)
        tooltip = f"{arm.label}: {shown.text} {shown.interval} good at {x:.4g}"
        points.append((arm, x, Point(x=x, y=good.value, title=tooltip, low=good.low, high=good.high)))
    if len(points) < 2:
        return None
    x_axis: Axis = fitting_axis([0.0, *(x for _, x, _ in points)], title)
    series = tuple(
        Series(x=(x,), y=(point.y,), look=arm.look, label=arm.label, points=(point,)) for arm, x, point in points
    )
    return Chart(
        title=f"{label(GOOD.metric)} against {title.lower()}", x=x_axis, y=unit_axis("rated good"), series=series
    )


TIMES = {
    "good_try": "Good try",
    "good_try_without_looping": "Good try, without looping",
    "all_tries": "All tries",
    "all_tries_without_looping": "All tries, without looping",
}
COUNTED = {"prompt": "in", "cached": "of them cached", "completion": "out", "reasoning": "of them reasoning"}


def _table(study: Study) -> Iterator[Table]:
    """Seconds, tokens and dollars of each arm and judge."""
    systems = [*study.arms.values(), *study.judges.values()]
    found = [(system, study.costs[system.name]) for system in systems if system.name in study.costs]

    def table(name: str, corner: str, columns: Mapping[str, Callable[[Cost], str]], hint: str = "") -> Table:
        rows = tuple(
            Row(
                title=system.label,
                look=system.look if system.name in study.arms else None,
                hint="judge" if system.name in study.judges else "",
                key=system.name,
                cells=tuple(text(cost) for text in columns.values()),
            )
            for system, cost in found
        )
        heads = tuple(Column(title=title) for title in columns)
        return Table(name=name, corner=corner, columns=heads, groups=(Rows(title=hint, rows=rows),), style="systems")

    def spread(name: str) -> Callable[[Cost], str]:
        return lambda cost: _spread(getattr(cost.latency, name)) if cost.latency else DASH

    def tokens(name: str) -> Callable[[Cost], str]:
        return lambda cost: _count(getattr(cost.tokens, name) if cost.tokens else None)

    times = {title: spread(name) for name, title in TIMES.items()}
    times["Took more than one try"] = lambda cost: f"{cost.retried:,}" if cost.latency else DASH
    yield table("costs.seconds", "Seconds", times, "mean, median, 95th percentile")
    yield table("costs.tokens", "Tokens", {title: tokens(name) for name, title in COUNTED.items()}, "of all answers")
    yield table(
        "costs.dollars",
        "Dollars",
        {
            "All answers": lambda cost: _dollars(cost.dollars),
            "Without looping": lambda cost: _dollars(cost.dollars_without_looping),
            "Per case": lambda cost: _dollars(cost.dollars_per_case),
            "Per good answer": lambda cost: _dollars(cost.dollars_per_good),
            "Answers without a price": lambda cost: f"{cost.unpriced:,}" if cost.latency else DASH,
        },
    )


def _spread(found: Spread) -> str:
    if found.mean is None or found.median is None or found.p95 is None:
        return DASH
    return f"{found.mean:.2f}, {found.median:.2f}, {found.p95:.2f}"


def _count(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


def _dollars(value: float | None) -> str:
    return DASH if value is None else f"{value:.4g} $"
