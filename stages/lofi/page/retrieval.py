"""The part on retrieval: R@K of each encoder both ways beside chance, and the paired difference of encoders."""

from collections.abc import Iterator

from stages.lib.metrics.measures import Key
from stages.lib.report.blocks import Block, Column, Fold, Heading, Note, Number, Part, Row, Rows, Table
from stages.lib.report.numbers import decimal, label, number
from stages.lofi.page.study import DIRECTIONS, NOUNS, RETRIEVAL, TEST, Study

RANKED = ("median_rank", "reciprocal_rank", "tied_pairs")


def part(study: Study) -> Part:
    """Tables of retrieval."""
    return Part(name="retrieval", title="Retrieval", short="Retrieval", blocks=tuple(_blocks(study)))


def _blocks(study: Study) -> Iterator[Block]:
    draws, confidence = study.measured_by["draws"], study.measured_by["confidence"]
    yield Note(
        text=(
            "A query is an image that looks for a part of its own report, or a part that looks for its image, among "
            "all of the test split. R@K is the fraction of queries with a right one among the first K; ties count "
            f"against it. Below each number its {confidence:.0%} interval over patients ({draws:,} resamples); the "
            "pool stays as it is, and R@K falls as a pool grows. Chance is computed, not drawn.",
        )
    )
    for direction, title in DIRECTIONS.items():
        yield Heading(title=title, note=_pool(study, direction))
        yield _table(study, direction, "")
    others = [_table(study, direction, "_lenient", title) for direction, title in DIRECTIONS.items()]
    yield Fold(title="The same where an equal text, or an image of the same study, is right too", blocks=tuple(others))
    yield from _compared(study)


def _pool(study: Study, direction: str) -> str:
    found = [study.retrieval(name, f"{TEST}/{direction}") for name in study.encoders]
    sizes = {one[Key("pool_size")].value for one in found if Key("pool_size") in one}
    queries = {one[Key("pool_size")].n for one in found if Key("pool_size") in one}
    told = [f"{decimal(int(size))} in the pool" for size in sorted(size for size in sizes if size is not None)]
    told += [f"{decimal(count)} queries" for count in sorted(count for count in queries if count is not None)]
    return ", ".join(told)


def _table(study: Study, direction: str, kind: str, corner: str = "") -> Table:
    """A row for each encoder, and one for chance."""
    subset = f"{TEST}/{direction}"
    ks = [str(k) for k in study.measured_by["ks"]]
    recalls = [Key(f"recall_at_k{kind}", k) for k in ks]
    others = [Key(f"{metric}{kind}") for metric in RANKED[:2]] + ([] if kind else [Key(RANKED[2])])
    columns = [Column(title=f"R@{key.at}") for key in recalls] + [Column(title=label(key.metric)) for key in others]
    rows, chance = [], None
    for encoder in study.encoders.values():
        found = study.retrieval(encoder.name, subset)
        cells: list[str | Number] = [number(key, found.get(key), nouns=NOUNS[RETRIEVAL]) for key in [*recalls, *others]]
        rows.append(Row(title=encoder.label, look=encoder.look, key=encoder.name, cells=tuple(cells)))
        chance = chance or [found.get(Key(f"chance_at_k{kind}", k)) for k in ks]
    by_chance: list[str | Number] = [
        "" if one is None or one.value is None else decimal(one.value) for one in chance or [None] * len(ks)
    ]
    rows.append(Row(title="Chance", cells=(*by_chance, *[""] * len(others))))
    return Table(
        name=f"retrieval.{direction}{kind}",
        corner=corner,
        columns=tuple(columns),
        groups=(Rows(rows=tuple(rows)),),
        style="systems",
    )


def _compared(study: Study) -> Iterator[Block]:
    """Differences of encoders on the same queries."""
    pairs = sorted(
        {
            (one.system, one.other)
            for one in study.measures
            if one.task == RETRIEVAL and one.other is not None and one.subset == TEST
        }
    )
    if not pairs:
        return
    ks = [str(k) for k in study.measured_by["ks"]]
    rows = []
    for first, second in pairs:
        for direction, title in DIRECTIONS.items():
            found = study.retrieval(first, f"{TEST}/{direction}", second)
            cells = tuple(
                number(key, found.get(key), signed=True, nouns=NOUNS[RETRIEVAL])
                for key in (Key("recall_at_k", k) for k in ks)
            )
            names = [study.encoders[name].label if name in study.encoders else name for name in (first, second)]
            rows.append(Row(title=f"{names[0]} less {names[1]}, {title.lower()}", cells=cells))
    yield Heading(title="Two encoders on the same queries")
    yield Table(
        name="retrieval.compared",
        columns=tuple(Column(title=f"R@{k}") for k in ks),
        groups=(Rows(rows=tuple(rows)),),
        style="systems",
    )
