"""Reading of a CSV as people write it: with a BOM, CRLF, semicolons, spaces or quotes. Every cell stays text.

Text, because the id "007" is not 7 and the id "NA" is not missing.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Row:
    """One row: its line in the file, from 1, and its stripped cells by column."""

    line: int
    cells: dict[str, str]


def read(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> tuple[list[Row], list[str]]:
    """Rows of a CSV, and one sentence for each thing that is wrong with it as a CSV.

    Other columns than these are left out, empty rows skipped, missing trailing cells empty. Names of columns are
    compared without regard to case.

    Args:
        path: UTF-8 text with a header, delimited by comma, semicolon or tab.
        columns: The columns wanted.
        optional: Columns that may be missing; their cells are then empty.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        return [], [f"{path.name}: {error.strerror or error}"]
    except UnicodeDecodeError as error:
        return [], [f"{path.name}: not UTF-8 text (byte {error.start})"]
    return parse(text, columns, path.name, optional)


def parse(text: str, columns: Sequence[str], name: str, optional: Sequence[str] = ()) -> tuple[list[Row], list[str]]:
    r"""Rows and problems of the CSV `text`, as `read`; `name` is how the problems call it.

    >>> parse("file_name;x\r\n007.png ;1\r\n", ["file_name", "x"], "points.csv")
    ([Row(line=2, cells={'file_name': '007.png', 'x': '1'})], [])
    >>> parse("file_name,y\n", ["file_name", "x"], "points.csv")
    ([], ["points.csv: no column 'x'; found file_name, y"])
    """
    header, delimiter = _header(text, columns)
    folded = [title.casefold() for title in header]
    problems = [f"{name}: no column {c!r}; found {', '.join(header)}" for c in columns if c.casefold() not in folded]
    given = [*columns, *(c for c in optional if c.casefold() in folded)]
    problems += [f"{name}: column {c!r} occurs twice" for c in given if folded.count(c.casefold()) > 1]
    if problems:
        return [], problems
    places = {column: folded.index(column.casefold()) for column in given}
    absent = dict.fromkeys(optional, "")
    rows: list[Row] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        next(reader)
        for values in reader:
            cells = [value.strip() for value in values]
            if len(cells) > len(header) and any(cells[len(header) :]):
                problems.append(f"{name} line {reader.line_num}: {len(cells)} cells, the header has {len(header)}")
            elif any(cells):
                cells += [""] * (len(header) - len(cells))
                rows.append(Row(reader.line_num, absent | {column: cells[place] for column, place in places.items()}))
    except csv.Error as error:
        problems.append(f"{name} line {reader.line_num}: {error}")
    return rows, problems


def _header(text: str, columns: Sequence[str]) -> tuple[list[str], str]:
    """Titles, split by the delimiter that finds most of the wanted ones, and that delimiter."""
    wanted = {column.casefold() for column in columns}
    best: tuple[list[str], str] = ([], DELIMITERS[0])
    for delimiter in DELIMITERS:
        try:
            titles = [t.strip() for t in next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])]
        except csv.Error:
            continue
        hits = [len(wanted & {title.casefold() for title in found}) for found in (titles, best[0])]
        if hits[0] > hits[1] or not best[0]:
            best = (titles, delimiter)
    return best
