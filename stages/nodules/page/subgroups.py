"""The block on subgroups of the test images: does a classifier hold for each sex, age, view, source and nodule size?"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from stages.lib.metrics import catalog
from stages.lib.metrics.measures import Estimate, Key
from stages.lib.report.blocks import Block, Column, Fold, Heading, Note, Number, Row, Rows, Table
from stages.lib.report.numbers import DASH, label, number
from stages.lib.report.systems import System
from stages.nodules.notes import Subgroups
from stages.nodules.page.localization import stratum_name
from stages.nodules.page.study import Study

DIVISIONS: Mapping[str, str] = {
    "sex": "By sex",
    "age": "By age",
    "view": "By view",
    "source": "By source",
    "size": "By the size of the nodules",
}
UNITS: Mapping[str, str] = {"age": " years", "size": " mm"}
NAMES: Mapping[str, str] = {"F": "Female", "M": "Male", "PA": "PA", "AP": "AP"}
SIGNED = ("roc_auc_gap",)


def blocks(study: Study) -> Iterator[Block]:
    """A table of subgroups for each classifier, that of the last one in the open; nothing if none was measured."""
    if not study.notes.subgroups or not study.chosen:
        return
    yield Heading(title="Subgroups", note="test images")
    yield Note(text=(_how(study),))
    yield _table(study, study.chosen)
    for system in study.classifiers.values():
        if system != study.chosen:
            yield Fold(title=f"Subgroups, {system.label}", blocks=(_table(study, system),))


def _how(study: Study) -> str:
    tests = sorted(set(study.notes.subgroup_tests.values()))
    count = " or ".join(f"{number:,}" for number in tests)
    plural = "test" if tests == [1] else "tests"
    return (
        "Each subgroup at the thresholds of the study. Its ROC AUC is compared with that of the other images of the "
        f"division, on resamples of patients; p is corrected by Holm for the {count} {plural} of a classifier. The "
        "intervals are not corrected. A subgroup with few images says little: a wide interval is no sign of equality."
    )


def _columns(study: Study) -> dict[Key, str]:
    """Titles of the measured columns."""
    at = study.settings.threshold
    place = catalog.at_label(at)
    return {
        Key("roc_auc"): label("roc_auc"),
        Key("roc_auc_gap"): "Minus the others",
        Key("roc_auc_gap_p_holm"): "p after Holm",
        Key("sensitivity", at): f"Sensitivity, {place}",
        Key("specificity", at): f"Specificity, {place}",
    }


def _table(study: Study, system: System) -> Table:
    columns = _columns(study)
    whole = Rows(rows=(_row("All test images", "test", columns, study.of("classification", system.name)),))
    groups = (_rows(study, system, one, columns) for one in study.notes.subgroups)
    counts = tuple(Column(title=title, count=True) for title in ("Images", "With a nodule", "Patients"))
    return Table(
        name=f"subgroups.{system.name}",
        columns=(*counts, *(Column(title=title) for title in columns.values())),
        groups=(whole, *groups),
        style="measured",
    )


def _rows(study: Study, system: System, division: Subgroups, columns: Mapping[Key, str]) -> Rows:
    """Rows of one division, or why there are none."""
    rows = []
    for group, bounds in division.groups.items():
        subset = f"test/{division.name}/{group}"
        title = NAMES.get(group) or stratum_name(bounds, group, UNITS.get(division.name, ""))
        rows.append(_row(title, subset, columns, study.of("classification", system.name, subset)))
    what = "positive images" if division.name == "size" else "images"
    unknown = f"not known of {division.n_unknown:,} {what}" if division.n_unknown and rows else ""
    reason = f"not divided: {division.reason}" if division.reason else ""
    remarks = "; ".join(text for text in (division.note, unknown, reason) if text)
    return Rows(title=DIVISIONS[division.name], note=remarks, rows=tuple(rows))


def _row(title: str, subset: str, columns: Mapping[Key, str], measured: Mapping[Key, Estimate]) -> Row:
    area = measured.get(Key("roc_auc"))
    behind = (area.n, area.n_positive, area.n_patients) if area else (None, None, None)
    counts = tuple(DASH if count is None else f"{count:,}" for count in behind)
    whole = subset == "test"
    cells: list[Number | str] = []
    said: set[str | None] = set()  # reasons that the row has given, which need not be read five times
    for key in columns:
        cell = number(key, measured.get(key), signed=key.metric in SIGNED)
        missing = cell.value is None
        again = missing and cell.note in said
        cells.append("" if whole and key not in measured else replace(cell, note="") if again else cell)
        said |= {cell.note} if missing else set()
    return Row(title=title, key=subset, cells=(*counts, *cells))
