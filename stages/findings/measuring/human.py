"""Ratings by people, from a CSV file with the columns rater, arm, item and rating; empty by default."""

import csv
from dataclasses import dataclass
from pathlib import Path

from stages.lib.core.case_tables import RATINGS
from stages.lib.core.errors import DataError

COLUMNS = ("rater", "arm", "item", "rating")


@dataclass(frozen=True)
class HumanRating:
    """What one person called one answer."""

    rater: str
    arm: str
    item: str
    rating: str


def read(path: str | Path) -> tuple[HumanRating, ...]:
    """Ratings of a CSV file; none if it has no row.

    Raises:
        DataError: With every problem: a missing column, a rating that is none, an answer rated twice by one person.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}:", [f"cannot be read as UTF-8 text: {error}"]) from error
    if not text.strip():
        return ()
    lines = csv.DictReader(text.splitlines(keepends=True), strict=True)
    try:
        rows = list(lines)
    except csv.Error as error:
        raise DataError(f"{path}:", [f"is not CSV: {error}"]) from error
    absent = [name for name in COLUMNS if name not in (lines.fieldnames or ())]
    if absent:
        raise DataError(f"{path}:", [f"found no column {name}, wanted {', '.join(COLUMNS)}" for name in absent])
    problems, found, seen = [], [], set()
    for number, row in enumerate(rows, 2):
        cells = {name: (row[name] or "").strip() for name in COLUMNS}
        one = HumanRating(**{**cells, "rating": cells["rating"].lower()})
        if one.rating not in RATINGS:
            problems.append(f"row {number}: found the rating {cells['rating']!r}, wanted one of {', '.join(RATINGS)}")
        if not (one.rater and one.arm and one.item):
            problems.append(f"row {number}: rater, arm or item is empty")
        if (one.rater, one.arm, one.item) in seen:
            problems.append(f"row {number}: {one.rater} rates {one.arm} {one.item} twice")
        seen.add((one.rater, one.arm, one.item))
        found.append(one)
    if problems:
        raise DataError(f"{path}: ratings of people:", problems)
    return tuple(found)
