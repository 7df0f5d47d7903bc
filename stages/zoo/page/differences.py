"""The part on differences: each row less the reference, on the same images and resamples of patients."""

from stages.lib.metrics.measures import Key
from stages.lib.report.blocks import Column, Note, Number, Part, Row, Rows, Table
from stages.zoo.page.study import AREA, F1, PRECISION, Study, shown

KEYS = {PRECISION: "Average precision", AREA: "ROC AUC", F1: "F1 at 0.5", Key("brier_calibrated"): "Brier, calibrated"}
TESTS = {Key("pr_auc_p"): "p", Key("pr_auc_p_holm"): "p after Holm"}


def part(study: Study) -> Part:
    """Differences to the reference."""
    reference = study.label(study.notes.reference)
    blocks: list[Note | Table] = []
    if not study.notes.compared:
        blocks.append(Note(text=(f"{reference}, the reference, has no numbers, so nothing is compared with it.",)))
    else:
        count = len(study.notes.compared)
        blocks.append(
            Note(
                text=(
                    f"Each row less {reference}, paired over patients, on test images. The p values are those of the "
                    f"average precision, from the resamples, and after Holm for the {count} rows that are compared. "
                    f"Before that, {study.notes.tried:,} options of {len(study.models)} rows were tried on validation; "
                    "no correction counts these.",
                )
            )
        )
        blocks.append(_table(study))
    return Part(name="differences", title=f"Against {reference}", short="Differences", blocks=tuple(blocks))


def _table(study: Study) -> Table:
    groups = []
    for title, chosen in (("", False), ("Weights that have seen these images", True)):
        rows = []
        for name in study.ranked(study.notes.compared):
            if study.seen(name) != chosen:
                continue
            found = study.difference(name)
            cells: list[str | Number] = [shown(key, found.get(key), signed=True) for key in KEYS]
            cells += [p_value(found[key].value) if key in found else "" for key in TESTS]
            rows.append(
                Row(
                    title=study.label(name),
                    look=study.systems[name].look,
                    key=name,
                    cells=tuple(cells),
                    selected=name == study.choice.chosen,
                )
            )
        if rows:
            groups.append(Rows(title=title, rows=tuple(rows)))
    columns = (
        *(Column(title=title) for title in KEYS.values()),
        *(Column(title=title, count=True) for title in TESTS.values()),
    )
    return Table(name="zoo.differences", corner="Model", columns=columns, groups=tuple(groups), style="systems")


def p_value(p: float | None) -> str:
    """P as text.

    >>> p_value(0.0004), p_value(0.25), p_value(None)
    ('< 0.001', '0.250', '—')
    """
    if p is None:
        return "—"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
