"""A split from outside: an official list of test images, or a table of splits or folds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stages.lib.core.errors import SplitFileError
from stages.lib.images import csvfile

NAMES, KINDS = ("file_name", "image_id"), ("split", "fold")
PARTS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class SplitFile:
    """What a file says of images.

    Attributes:
        name: Of the file, as messages call it.
        kind: `list` names test images; `split` and `fold` are what a table gives each image.
        values: Of each file name or image_id, in the order of the file: a split, a fold as text, or "test" in a list.
    """

    name: str
    kind: Literal["list", "split", "fold"]
    values: Mapping[str, str]


def read(path: str | Path) -> SplitFile:
    """Content of a file of splits.

    Args:
        path: A CSV (.csv, .tsv) or Parquet table with a column file_name or image_id, and a column split (train, val,
            test) or fold (a number); or any other file: text with one file name of a test image per line. Empty cells
            and lines say nothing of their image.

    Raises:
        SplitFileError: With all problems: the file cannot be read, a column is missing, a value is none of those
            wanted, a name is given two values.
    """
    file = Path(path)
    kind: Literal["list", "split", "fold"]
    if file.suffix.lower() in (".csv", ".tsv", ".parquet"):
        found, kind, problems = _parquet(file) if file.suffix.lower() == ".parquet" else _csv(file)
    else:
        kind = "list"
        found, problems = _lines(file)
    values: dict[str, str] = {}
    for where, name, text in found:
        value = PARTS.get(text.casefold(), "") if kind != "fold" else text if text.isdecimal() else ""
        if text and not value:
            wanted = "a whole number" if kind == "fold" else "train, val or test"
            problems.append(f"{where}: {name!r} has the {kind} {text!r}, wanted {wanted}")
        elif text and values.setdefault(name, value) != value:
            problems.append(f"{where}: {name!r} is in {value}, and before in {values[name]}")
    if not values and not problems:
        problems.append("found no image in it")
    if problems:
        raise SplitFileError(f"data.split.file {str(path)!r}:", problems)
    return SplitFile(file.name, kind, values)


Cells = Sequence[tuple[str, str, str]]  # where, file name or image_id, text of the cell


def _lines(file: Path) -> tuple[Cells, list[str]]:
    try:
        lines = file.read_bytes().decode("utf-8-sig").splitlines()
    except OSError as error:
        return [], [error.strerror or str(error)]
    except UnicodeDecodeError as error:
        return [], [f"not UTF-8 text (byte {error.start}); wanted a file name per line, a CSV or a Parquet table"]
    return [(f"line {place}", line.strip(), "test") for place, line in enumerate(lines, 1) if line.strip()], []


def _csv(file: Path) -> tuple[Cells, Literal["split", "fold"], list[str]]:
    problems: dict[str, None] = {}
    for kind in KINDS:
        for name in NAMES:
            rows, wrong = csvfile.read(file, [name, kind])
            if rows or not wrong:
                cells = [(f"line {row.line}", row.cells[name], row.cells[kind]) for row in rows]
                return cells, _kind(kind), wrong
            problems |= dict.fromkeys(wrong)
    return [], "split", [*problems, _wanted()]


def _parquet(file: Path) -> tuple[Cells, Literal["split", "fold"], list[str]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(file)
    except (OSError, pa.ArrowException) as error:
        return [], "split", [f"not readable as Parquet ({error})"]
    names, kinds = ([name for name in wanted if name in table.column_names] for wanted in (NAMES, KINDS))
    if not names or not kinds:
        return [], "split", [f"found the columns {', '.join(table.column_names)}", _wanted()]
    pairs = zip(table[names[0]].to_pylist(), table[kinds[0]].to_pylist(), strict=True)
    return (
        [(f"row {place}", _text(name), _text(value)) for place, (name, value) in enumerate(pairs, 1)],
        _kind(kinds[0]),
        [],
    )


def _kind(name: str) -> Literal["split", "fold"]:
    return "fold" if name == "fold" else "split"


def _wanted() -> str:
    return f"wanted a column {' or '.join(NAMES)}, and a column {' or '.join(KINDS)}"


def _text(value: object) -> str:
    """Text of a cell: whole numbers without a dot, whatever the column's type.

    >>> _text(2.0), _text(None), _text(" a ")
    ('2', '', 'a')
    """
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def shared(images: Sequence[Mapping[str, str | None]], parts: Mapping[str, str]) -> list[str]:
    """A sentence for each patient, each image by its pixels, and each near-duplicate, that a file puts into two splits.

    Args:
        images: image_id, patient_id, pixel_sha256 and duplicate_group of each image.
        parts: Split of each image.
    """
    sentences = []
    for key, what in (
        ("patient_id", "patient"),
        ("pixel_sha256", "equal pixels"),
        ("duplicate_group", "near-duplicates"),
    ):
        groups: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for image in images:
            group, image_id = image[key], str(image["image_id"])
            if group is not None:
                groups[group][parts[image_id]].append(image_id)
        for group, found in groups.items():
            if len(found) > 1:
                members = "; ".join(f"{part}: {', '.join(ids[:3])}" for part, ids in sorted(found.items()))
                sentences.append(
                    f"{what} {group if key == 'patient_id' else ''}".strip() + f" in two splits ({members})"
                )
    return sentences
