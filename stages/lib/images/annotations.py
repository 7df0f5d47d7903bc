"""Rows of points of a table whose columns were found; what is wrong with a row is a sentence."""

from collections.abc import Sequence

from stages.lib.images import columns, names
from stages.lib.images.columns import PointColumns
from stages.lib.images.csvfile import Row, Table
from stages.lib.images.dataset import Mark, Options, Point, Record


def points(
    table: Table,
    file: str | None,
    how: PointColumns | None,
    patient: str | None,
    options: Options,
    problems: list[str],
) -> tuple[list[Record], list[Mark], list[str]]:
    """Patients and nodules of a table of one nodule a row.

    Args:
        table: The table.
        file: Title of the column of the image.
        how: Columns of the points.
        patient: Title of the column of the patient; None for none.
        options: With the unit of the points.
        problems: What is wrong with the columns; with any, no row is read.
    """
    if problems or how is None:
        return [], [], problems
    sizes = {name: table.find([name]) for name in columns.SIZES}
    rows, problems = table.select({"file": file, "patient": patient, **sizes, **how.titles})
    records, marks = [], []
    for row in rows:
        mark = point(table, row, how, options)
        if isinstance(mark, str):
            problems.append(mark)
            continue
        marks.append(mark)
        if one := names.known_id(row.cells["patient"]):
            records.append(Record(mark.name, mark.where, patient=one, listed=False))
    return records, marks, problems


def point(table: Table, row: Row, how: PointColumns, options: Options) -> Mark | str:
    """The nodule of a row with the cells file, x, y and `columns.SIZES`; or a sentence about what is wrong with it."""
    name, where = row.cells["file"], table.where(row)
    sizes, wrong = columns.numbers(row.cells, columns.SIZES)
    found = how.point(row.cells, options.points_unit, **sizes)
    if not name:
        return f"{where}: no file name"
    if wrong:
        return f"{where}: {name!r} has {wrong}"
    return Mark(name, where, found) if isinstance(found, Point) else f"{where}: {name!r} {found}"


def marked(row: Row, how: PointColumns) -> bool:
    """Whether a row says where a nodule is; one without a nodule has empty cells there."""
    return any(not columns.is_nothing(row.cells[key]) for key in how.titles)


def titles(table: Table, names_of: Sequence[str]) -> list[str]:
    """All columns of a table that have one of the names, best first."""
    return [title for name in names_of if (title := table.find([name])) is not None]
