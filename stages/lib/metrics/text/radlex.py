"""RadLex ids of findings and places, from a user's own copy. Nothing of RadLex comes with the project.

Read is a table, CSV or TSV, with a column of ids (RID1234, or an address that ends so), one of preferred names, and one
of synonyms with | between them, if it has it.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stages.lib.core.errors import VocabularyError
from stages.lib.metrics.text.phrases import plain, tokens

ID = re.compile(r"(RID\d+)$")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "rid", "class id", "radlex id", "ridno"),
    "name": ("preferred label", "preferred name", "name", "label", "preferred_name", "preferred_label"),
    "synonyms": ("synonyms", "synonym"),
}
MOST_TOLD = 20  # problems of one file


def read(path: Path) -> dict[str, str]:
    """Id of each name and synonym of a RadLex table, as terms of a vocabulary are written.

    A name goes before a synonym, and an earlier row before a later one.

    Args:
        path: The table.

    Raises:
        VocabularyError: If it cannot be read, has no such columns, or a row without an id; with every problem.
    """
    rows = _rows(path)
    header = [cell.strip().lower() for cell in next(rows, [])]
    at = {name: next((header.index(one) for one in known if one in header), None) for name, known in COLUMNS.items()}
    problems = [
        f"no column of {name}: found {', '.join(header) or 'nothing'}, wanted one of {', '.join(COLUMNS[name])}"
        for name in ("id", "name")
        if at[name] is None
    ]
    names: dict[str, str] = {}
    synonyms: dict[str, str] = {}
    for number, row in enumerate(rows if not problems else (), start=2):
        if not any(row):
            continue
        id_ = ID.search(_cell(row, at["id"]))
        if id_ is None:
            problems.append(f"line {number}: found the id {_cell(row, at['id'])!r}, wanted RID and digits")
            continue
        names.setdefault(_term(_cell(row, at["name"])), id_[1])
        for one in _cell(row, at["synonyms"]).split("|"):
            synonyms.setdefault(_term(one), id_[1])
    if problems:
        more = [f"and {len(problems) - MOST_TOLD} more"] if len(problems) > MOST_TOLD else []
        raise VocabularyError(f"RadLex table {path}:", [*problems[:MOST_TOLD], *more])
    found = {**synonyms, **names}
    found.pop("", None)
    return found


def mapped(terms: Mapping[str, Sequence[str]], ids: Mapping[str, str]) -> dict[str, str]:
    """RadLex id of each entity or place that has one, by the first of its terms that is a name there.

    Args:
        terms: Terms of each entity or place.
        ids: As `read` gives them.

    >>> mapped({"NF:mass": ["mass", "lesion"], "NF:cyst": ["cyst"]}, {"lesion": "RID2"})
    {'NF:mass': 'RID2'}
    """
    found = {id_: next((ids[term] for term in several if term in ids), None) for id_, several in terms.items()}
    return {id_: rid for id_, rid in found.items() if rid is not None}


def _rows(path: Path) -> Iterator[list[str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise VocabularyError(f"RadLex table {path}:", [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise VocabularyError(f"RadLex table {path}:", ["not UTF-8 text: save it as UTF-8"]) from error
    lines = text.splitlines()
    return csv.reader(lines, delimiter="\t" if "\t" in lines[0] else ",") if lines else iter(())


def _cell(row: Sequence[str], at: int | None) -> str:
    return row[at].strip() if at is not None and at < len(row) else ""


def _term(name: str) -> str:
    return " ".join(plain(token.word) for token in tokens(name))
