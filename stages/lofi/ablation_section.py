"""Section: what each part of the training does, as blocks.

in   ablations  tables.MEASURES by `ablate`
out  section    JSON, see `blocks.Section`
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.lib.core import cli, documents, tables
from stages.lib.metrics import measures
from stages.lib.metrics.measures import Estimate, Key, Measures, Subject
from stages.lib.report import blocks
from stages.lib.report.blocks import (
    Axis,
    Block,
    Chart,
    Charts,
    Column,
    Fold,
    Note,
    Number,
    Part,
    Point,
    Row,
    Rows,
    Series,
    Table,
)
from stages.lib.report.charts import fitting_axis
from stages.lib.report.numbers import label, number, tree
from stages.lib.report.systems import System, systems
from stages.lofi.ablations import AS_IS
from stages.lofi.ablations import Params as AblationParams
from stages.lofi.notes import CHAPTER
from stages.lofi.page.study import DIRECTIONS, GROUNDING, NOUNS, RETRIEVAL, TEST

TITLE = "What each part of the training does"
RECALL = Key("recall_at_k", "10")
LOCALIZATION = Key("rodeo_localization")


@dataclass(frozen=True)
class Shown:
    """A measure of each variant that is shown: its title, subset, key, and system on the other side if any."""

    title: str
    task: str
    subset: str
    key: Key
    blind: str = ""

    def subject(self, variant: str) -> Subject:
        """Where it stands among the measures."""
        return Subject(self.task, variant, self.subset, f"{variant}/{self.blind}" if self.blind else None)


SHOWN = (
    *(Shown(f"R@10, {title.lower()}", RETRIEVAL, f"{TEST}/{way}", RECALL) for way, title in DIRECTIONS.items()),
    Shown(f"{label(LOCALIZATION.metric)}", GROUNDING, TEST, LOCALIZATION),
    Shown("the same, own image less another's", GROUNDING, TEST, LOCALIZATION, "shuffled"),
)


def section(found: Mapping[int | None, Measures], parameters: Mapping[str, Any]) -> blocks.Section:
    """What the ablations show.

    Args:
        found: Measures of each seed, and under None their means.
        parameters: The document of parameters.
    """
    names = [AS_IS, *parameters["lofi"]["ablations"]["variants"]]
    variants = systems(names, {})
    seeds = sorted(seed for seed in found if seed is not None)
    means = found.get(None) or found[seeds[0]]
    parts = (
        Part(name="table", title="Variants", short="Variants", blocks=tuple(_table(variants, means, seeds))),
        Part(name="plot", title="Seed by seed", short="Plot", blocks=(_plots(variants, found, seeds),)),
        Part(name="changes", title="What was changed", short="Changes", blocks=tuple(_changes(parameters))),
    )
    return blocks.Section(
        chapter=CHAPTER,
        title=TITLE,
        finding=(_finding(variants, found, seeds),),
        warnings=(),
        tiles=(),
        parts=parts,
    )


def _finding(variants: Mapping[str, System], found: Mapping[int | None, Measures], seeds: Sequence[int]) -> str:
    """Which variants lie on one side of the chapter as it is with every seed, and how many do not."""
    said = []
    for shown in SHOWN[:3]:
        apart = []
        for name, variant in variants.items():
            gaps = [gap for seed in seeds if name != AS_IS and (gap := _less(found[seed], shown, name)) is not None]
            if len(gaps) == len(seeds) > 1 and (min(gaps) > 0 or max(gaps) < 0):
                apart.append(f"{variant.label} {'above' if min(gaps) > 0 else 'below'}")
        said.append(f"{shown.title}: {', '.join(apart) or 'none'}")
    count = f"all of {len(seeds)} seeds" if len(seeds) > 1 else "one seed, which decides nothing"
    return f"Variants on one side of the chapter as it is with {count}. {'; '.join(said)}."


def _less(found: Measures, shown: Shown, variant: str) -> float | None:
    """Value of a variant less that of the chapter as it is, with one seed."""
    values = []
    for name in (variant, AS_IS):
        one = found.get(shown.subject(name), {}).get(shown.key)
        if one is None or one.value is None:
            return None
        values.append(one.value)
    return values[0] - values[1]


def _table(variants: Mapping[str, System], means: Measures, seeds: Sequence[int]) -> Iterator[Block]:
    spread = "the spread (SD) is that of training alone" if len(seeds) > 1 else "one seed has no spread"
    yield Note(
        text=(
            f"Each variant was trained, embedded, fine-tuned for grounding and measured on the same images with the "
            f"seeds {', '.join(map(str, seeds))}; {spread}. Nothing was chosen by these numbers.",
        )
    )
    rows = []
    for name, variant in variants.items():
        cells: list[str | Number] = [_cell(means, shown, name) for shown in SHOWN]
        rows.append(Row(title=variant.label, look=variant.look, key=name, cells=tuple(cells)))
    differences = []
    for name, variant in variants.items():
        if name != AS_IS:
            gaps = [
                number(
                    shown.key,
                    means.get(shown.subject(name)._replace(other=AS_IS), {}).get(shown.key),
                    signed=True,
                    nouns=NOUNS[shown.task],
                )
                for shown in SHOWN
                if not shown.blind
            ]
            differences.append(Row(title=variant.label, look=variant.look, cells=(*gaps, "")))
    columns = tuple(Column(title=shown.title) for shown in SHOWN)
    groups = [Rows(rows=tuple(rows))]
    if differences:
        groups.append(Rows(title=f"Less {variants[AS_IS].label}, seed by seed", rows=tuple(differences)))
    yield Table(name="ablations", columns=columns, groups=tuple(groups), style="systems")


def _cell(found: Measures, shown: Shown, variant: str) -> Number:
    estimate = found.get(shown.subject(variant), {}).get(shown.key)
    return number(shown.key, estimate, signed=bool(shown.blind), nouns=NOUNS[shown.task])


def _plots(variants: Mapping[str, System], found: Mapping[int | None, Measures], seeds: Sequence[int]) -> Charts:
    charts = []
    for shown in SHOWN:
        series, values = [], [0.0]
        for place, (name, variant) in enumerate(variants.items()):
            points = []
            for seed in seeds:
                one = found[seed].get(shown.subject(name), {}).get(shown.key)
                if one is not None and one.value is not None:
                    points.append(Point(x=place, y=one.value, title=_tooltip(variant, seed, one)))
            values += [point.y for point in points]
            series.append(Series(x=(), y=(), look=variant.look, label=variant.label, points=tuple(points)))
        last = max(len(variants) - 1, 1)
        axis = Axis(
            low=-0.5,
            high=last + 0.5,
            ticks=tuple(float(place) for place in range(len(variants))),
            title="variant, in the order of the table",
            labels=tuple(str(place + 1) for place in range(len(variants))),
        )
        charts.append(Chart(title=shown.title, x=axis, y=fitting_axis(values, shown.title), series=tuple(series)))
    return Charts(charts=tuple(charts))


def _tooltip(variant: System, seed: int, one: Estimate) -> str:
    interval = f" [{one.low:.3g}, {one.high:.3g}]" if one.low is not None and one.high is not None else ""
    return f"{variant.label}, seed {seed}: {one.value:.3g}{interval}"


def _changes(parameters: Mapping[str, Any]) -> Iterator[Block]:
    rows = [
        Row(title=name, cells=(", ".join(f"{key}: {value}" for key, value in changes.items()),))
        for name, changes in parameters["lofi"]["ablations"]["variants"].items()
    ]
    begins = parameters["lofi"].get("train", {}).get("start", "none")
    if begins != "none":
        yield Note(
            text=(
                f"Training begins with {begins}. A variant of another shape (pooling, tokens, ranks) cannot, and "
                "begins with a pooling of random weights: it differs from the others by more than its change.",
            )
        )
    yield Table(name="changes", columns=(Column(title="Changes"),), groups=(Rows(rows=tuple(rows)),))
    yield Fold(title="Parameters", blocks=(blocks.Facts(facts=tree(parameters)),))


def main(argv: Sequence[str] | None = None) -> None:
    """Read the joined measures, make the section, write it."""
    args = cli.parse(
        __doc__, argv, params={"lofi.ablations": AblationParams}, reads=("ablations",), writes=("section",)
    )
    found = measures.by_seed(tables.read(args.ablations, tables.MEASURES), CHAPTER)
    documents.write(args.section, section(found, args.document))


if __name__ == "__main__":
    cli.run(main)
