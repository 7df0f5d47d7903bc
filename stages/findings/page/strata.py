"""The part on strata: which arm is good at what, as heat maps with their counts."""

from collections.abc import Iterator
from dataclasses import replace

from stages.findings.page.study import Study, number
from stages.lib.core.case_tables import REGIONS
from stages.lib.metrics.measures import Key
from stages.lib.report.blocks import Block, HeatCell, HeatColumn, HeatMap, HeatRow, Note, Number, Part
from stages.lib.report.numbers import label

SHOWN = ("good_fraction", "finding_f1")
TITLES = {
    "region": "Region",
    "modality": "Modality",
    "plane": "Plane",
    "images": "Images",
    "gold_scope": "Gold text speaks of",
}
DIVISIONS = (("region", "modality"), ("plane", "images", "gold_scope"))  # a heat map for each
WORDS = {"imaged_only": "the images alone", "other_studies": "other studies too", "2_or_more": "2 or more", "1": "1"}
FEW = "too few"


def part(study: Study) -> Part:
    """A heat map for each of a few metrics."""
    return Part(name="strata", title="Strata", short="Strata", blocks=tuple(_blocks(study)))


def _blocks(study: Study) -> Iterator[Block]:
    least = study.measured_by["min_stratum_cases"]
    yield Note(
        text=(
            f"A part of the sample with fewer than {least} cases has no number: too few. Strata were not compared with "
            "each other, and with so many fields some look better by chance. A case with images of several planes "
            "stands in each.",
        )
    )
    for metric in SHOWN:
        for divisions in DIVISIONS:
            yield heat_map(study, metric, divisions)
    yield heat_map(study, SHOWN[0], ("stratum",))


def heat_map(study: Study, metric: str, divisions: tuple[str, ...]) -> HeatMap:
    """A metric of each arm on each part of the sample."""
    subsets = _subsets(study, divisions)
    key = Key(metric)
    columns = []
    for subset in subsets:
        division, _, group = subset.removeprefix("test/").partition("/")
        ns = [study.of(arm, subset)[key].n_patients for arm in study.arms if key in study.of(arm, subset)]
        title = WORDS.get(group) or (group.replace("_", " ") if division != "stratum" else group.rpartition("_")[2])
        within = TITLES.get(division) or group.rpartition("_")[0].capitalize()
        columns.append(HeatColumn(title=title, group=within, hint=f"n {max((n or 0 for n in ns), default=0)}"))
    rows = []
    for arm in study.arms.values():
        cells = []
        for subset in subsets:
            estimate = study.of(arm.name, subset).get(key)
            shown = number(key, estimate)
            few = estimate is not None and estimate.value is None and (estimate.reason or "").startswith(FEW)
            cells.append(
                HeatCell(
                    number=replace(shown, text=FEW) if few else _short(shown),
                    fraction=None if estimate is None or estimate.value is None else min(max(estimate.value, 0.0), 1.0),
                )
            )
        rows.append(HeatRow(title=arm.label, look=arm.look, cells=tuple(cells), key=arm.name))
    by = f" by {study.primary.label}" if metric == "good_fraction" else ""
    return HeatMap(
        name=f"strata.{metric}.{divisions[0]}",
        title=label(metric) + by,
        columns=tuple(columns),
        rows=tuple(rows),
    )


def _short(shown: Number) -> Number:
    """A number with two decimals, as a field has room for."""
    if shown.value is None or shown.low is None or shown.high is None:
        return shown
    interval = f"{shown.low:.2f} to {shown.high:.2f}"
    return replace(shown, text=f"{shown.value:.2f}", interval=interval, note=f"{shown.interval} {shown.note}")


def _subsets(study: Study, divisions: tuple[str, ...]) -> list[str]:
    found = {subject.subset for subject in study.measures if subject.task == "description"}
    return [
        subset
        for division in divisions
        for subset in sorted((one for one in found if one.startswith(f"test/{division}/")), key=_place)
    ]


def _place(subset: str) -> tuple[int, str]:
    """Place of a part among those of its division: regions as the tables have them, others by name."""
    group = subset.rpartition("/")[2]
    region = group.partition("_")[0]
    return (REGIONS.index(region) if region in REGIONS else len(REGIONS), group)
