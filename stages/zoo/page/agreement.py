"""The part on agreement: which nodules only one row finds, and which none does."""

from collections.abc import Iterator

from stages.lib.metrics import catalog
from stages.lib.report.blocks import Block, Column, Fold, Note, Part, Row, Rows, Table
from stages.lib.report.numbers import decimal
from stages.zoo.page.study import Study


def part(study: Study, shown: int) -> Part:
    """What each row alone finds.

    Args:
        study: The artifacts.
        shown: Images that are named for each row.
    """
    return Part(name="agreement", title="Who finds what", short="Agreement", blocks=tuple(_of(study, shown)))


def _of(study: Study, shown: int) -> Iterator[Block]:
    notes = study.notes
    if not notes.alone:
        yield Note(text=("No row has such a threshold.",))
        return
    at, count = catalog.at_label(notes.agreement_at), sum(notes.found_by)
    by_all = notes.found_by[-1] if len(notes.found_by) == len(notes.alone) + 1 else 0
    yield Note(
        text=(
            f"Each row at its own {at}, chosen on validation. Of {count:,} positive test images, {by_all:,} are called "
            f"positive by all {len(notes.alone)} rows, {notes.found_by[0]:,} by none, and "
            f"{notes.found_by[1] if len(notes.found_by) > 1 else 0:,} by one row alone. An image that one row alone "
            "finds may be found by luck: see its false alarms. Rows that have seen the images, ensembles and constants "
            "are left out; rows that share a model seldom find one alone.",
        )
    )
    rows = []
    for one in notes.alone:
        named = ", ".join(one.images[:shown]) + (", ..." if len(one.images) > shown else "")
        cells = (f"{one.found:,}", f"{one.false_alarms:,}", f"{len(one.images):,}", decimal(one.threshold), named)
        rows.append(Row(title=study.label(one.model), look=study.systems[one.model].look, key=one.model, cells=cells))
    titles = ("Positive images found", "False alarms", "Found alone", "Threshold", "Images found alone")
    yield Table(
        name="zoo.alone",
        corner="Model",
        columns=tuple(Column(title=title, count=place < 4) for place, title in enumerate(titles)),
        groups=(Rows(rows=tuple(rows)),),
        style="systems",
    )
    if notes.found_by_none:
        yield Fold(
            title=f"Positive images that no row finds: {len(notes.found_by_none):,}",
            blocks=(Note(text=(", ".join(notes.found_by_none),)),),
        )
