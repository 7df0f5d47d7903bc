"""Ratings of answers by people, from a CSV: case_id (or item), arm, rater, rating."""

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from stages.lib.core import params, tables
from stages.lib.core.case_tables import HUMAN, RATINGS
from stages.lib.core.errors import DataError
from stages.lib.images import csvfile

ITEM = ("item", "case_id")  # names of the column, best first
COLUMNS = ("arm", "rater", "rating")
NONE = "none"


def read(path: str | Path, items: Collection[str], arms: Collection[str]) -> pa.Table:
    """Ratings of a file as case_tables.HUMAN; an empty cell is no rating, and without a file there are none.

    Args:
        path: A CSV, TSV or Parquet table with the columns case_id (or item), arm, rater and rating (poor, partial or
            good, in any letter case); "none" for no file.
        items: Cases, or images of cases, of which there are answers.
        arms: Rows of findings.arms.

    Raises:
        DataError: With all problems: the file cannot be read, a column is missing, an item or arm is not known, a value
            is no rating, a rater has rated an answer twice.
    """
    if str(path) == NONE:
        return tables.from_rows([], HUMAN)
    table = csvfile.table(Path(path), wanted=(*ITEM, *COLUMNS))
    item = table.find(ITEM)
    titles = {"item": item, **{name: table.find([name]) for name in COLUMNS}}
    problems = list(table.problems)
    if not problems:
        spelt = ", ".join(table.titles)
        problems = [
            f"no column {'case_id (or item)' if name == 'item' else name}; found {spelt}"
            for name, title in titles.items()
            if title is None
        ]
    rows, wrong = table.select(titles) if not problems else ([], [])
    problems += wrong
    found: dict[tuple[str, str, str], str] = {}
    for row in rows:
        where, rating = table.where(row), row.cells["rating"].casefold()
        if not rating:
            continue
        key = (row.cells["item"], row.cells["arm"], row.cells["rater"])
        if key[0] not in items:
            problems.append(f"{where}: {key[0]!r} is no case with an answer, wanted one such as {_some(items)}")
        if key[1] not in arms:
            problems.append(f"{where}: {params.unknown(key[1], sorted(arms))}")
        if not key[2]:
            problems.append(f"{where}: found no rater, wanted a name")
        if rating not in RATINGS:
            problems.append(f"{where}: found the rating {row.cells['rating']!r}, wanted {', '.join(RATINGS)}")
        if key in found:
            problems.append(f"{where}: {key[2]!r} has rated {key[0]!r} of {key[1]!r} before")
        found[key] = rating
    if problems:
        raise DataError(f"findings.human {str(path)!r}: {len(problems)} problem(s):", problems)
    return tables.from_rows(
        [{**dict(zip(HUMAN.key, key, strict=True)), "rating": one} for key, one in found.items()], HUMAN
    )


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:3]) or "none"
