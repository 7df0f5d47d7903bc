"""The part on cost: what an answer takes in seconds, tokens and dollars, against how good it is."""

from collections.abc import Callable, Iterator

from stages.findings.notes import Cost, Spread
from stages.findings.page.study import Study, System, number
from stages.lib.metrics.measures import Key
from stages.lib.report.blocks import Axis, Block, Chart, Charts, Column, Note, Part, Point, Row, Rows, Series, Table
from stages.lib.report.charts import fitting_axis, unit_axis
from stages.lib.report.numbers import DASH, label

GOOD = Key("good_fraction")
Price = Callable[[Cost], float | None]


def part(study: Study) -> Part:
    """Charts of quality against cost, and the table behind them."""
    return Part(name="costs", title="Cost against quality", short="Cost", blocks=tuple(_blocks(study)))


def _blocks(study: Study) -> Iterator[Block]:
    charts = [
        chart
        for chart in (
            _chart(study, "Dollars per case", lambda cost: cost.dollars_per_case),
            _chart(study, "Seconds per answer, median", _median),
            _chart(study, "Tokens out per answer", _tokens),
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
    yield _table(study)


def _median(cost: Cost) -> float | None:
    return cost.latency.good_try.median if cost.latency else None


def _tokens(cost: Cost) -> float | None:
    found = cost.tokens
    return found.completion / found.n if found and found.n and found.completion is not None else None


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


def _table(study: Study) -> Table:
    costs = [(system.label, study.costs[name]) for name, system in study.arms.items() if name in study.costs]
    costs += [(f"{one.label} (judge)", study.costs[name]) for name, one in study.judges.items() if name in study.costs]
    columns = tuple(Column(title=title) for title, _ in costs)

    def row(title: str, text: Callable[[Cost], str]) -> Row:
        return Row(title=title, cells=tuple(text(cost) for _, cost in costs))

    def spread(title: str, name: str) -> Row:
        return row(title, lambda cost: _spread(getattr(cost.latency, name)) if cost.latency else DASH)

    seconds = (
        spread("Good try, seconds", "good_try"),
        spread("Good try, without looping", "good_try_without_looping"),
        spread("All tries, seconds", "all_tries"),
        spread("All tries, without looping", "all_tries_without_looping"),
        row("Answers that took more than one try", lambda cost: f"{cost.retried:,}" if cost.latency else DASH),
    )

    def counted(name: str) -> Row:
        return row(f"Tokens, {name}", lambda cost: _count(getattr(cost.tokens, name) if cost.tokens else None))

    tokens = tuple(counted(name) for name in ("prompt", "cached", "completion", "reasoning"))
    dollars = (
        row("All answers", lambda cost: _dollars(cost.dollars)),
        row("Without looping", lambda cost: _dollars(cost.dollars_without_looping)),
        row("Per case", lambda cost: _dollars(cost.dollars_per_case)),
        row("Per good answer", lambda cost: _dollars(cost.dollars_per_good)),
        row("Answers without a price", lambda cost: f"{cost.unpriced:,}" if cost.latency else DASH),
    )
    groups = (
        Rows(title="Seconds", note="mean, median, 95th percentile", rows=seconds),
        Rows(title="Tokens", rows=tokens),
        Rows(title="Dollars", rows=dollars),
    )
    return Table(name="costs", columns=columns, groups=groups, style="measured")


def _spread(found: Spread) -> str:
    if found.mean is None or found.median is None or found.p95 is None:
        return DASH
    return f"{found.mean:.2f}, {found.median:.2f}, {found.p95:.2f}"


def _count(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


def _dollars(value: float | None) -> str:
    return DASH if value is None else f"{value:.4g} $"
