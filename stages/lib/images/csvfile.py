"""Reading of a table as people write it: CSV, TSV or Parquet, with a BOM, CRLF, semicolons, spaces or quotes.

Every cell is text, because the id "007" is not 7 and the id "NA" is not missing. What a spreadsheet wrote in another
encoding is refused with what to choose there: which character a byte was meant to be cannot be told.
"""

import csv
import gzip
import io
import unicodedata
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stages.lib.images import columns as usual

DELIMITERS = ",;\t"
MAX_TITLE = 60  # characters of a title that a message spells out
MAX_BYTES = 1 << 29  # of a table; the largest public one, PadChest's, has a fifth of it
CHOOSE = "in the spreadsheet choose 'Save as', 'CSV UTF-8 (Comma delimited)'"
# What a file that is no text begins with, and what it then is.
WORKBOOKS = {b"PK\x03\x04": "a workbook (.xlsx or .ods)", b"\xd0\xcf\x11\xe0": "a workbook (.xls)"}
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
SENTENCES = {
    "field larger than field limit": f"a cell of more than {csv.field_size_limit()} characters: is a quote missing?",
    "unexpected end of data": "unexpected end of data: a quote is never closed",
    "expected after": "text after a closing quote; a quote inside a cell is written twice",
}


@dataclass(frozen=True)
class Row:
    """One row: its line in the file, from 1, and its stripped cells by column."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table that was found readable; the cells are read by `select`.

    Attributes:
        name: How messages call it.
        titles: The columns, as the table spells them; none if it could not be read.
        problems: Sentences about why it cannot be read.
    """

    name: str
    titles: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    source: "_Text | _Parquet | None" = field(default=None, repr=False)

    def find(self, names: Sequence[str]) -> str | None:
        """Title, as it is spelt, of the first of `names` that is a column; see `columns.folded`.

        >>> parse_table("Image Index,Patient ID\\n", "t.csv").find(["subject", "patient_id"])
        'Patient ID'
        """
        by_name = {usual.folded(title): title for title in reversed(self.titles)}
        return next((by_name[one] for name in names if (one := usual.folded(name)) in by_name), None)

    def where(self, row: Row) -> str:
        """The row, for messages."""
        return f"{self.name} {'row' if isinstance(self.source, _Parquet) else 'line'} {row.line}"

    def select(self, columns: Mapping[str, str | None]) -> tuple[list[Row], list[str]]:
        """Rows with the cells of some columns, and one sentence for each thing that is wrong with the table.

        Empty rows are skipped, missing cells empty.

        Args:
            columns: Title of each column wanted, by the key that its cells get; None for cells that are all empty.
        """
        if self.source is None:
            return [], list(self.problems)
        folded = [usual.folded(title) for title in self.titles]
        places = {key: folded.index(usual.folded(title)) for key, title in columns.items() if title is not None}
        problems = []
        for place in dict.fromkeys(places.values()):
            same = [title for title, one in zip(self.titles, folded, strict=True) if one == folded[place]]
            if len(same) > 1:
                spelt = "" if len(set(same)) == 1 else f", as {' and '.join(map(repr, same))}"
                problems.append(f"{self.name}: column {same[0]!r} occurs twice{spelt}")
        if problems:
            return [], problems
        known: dict[str, str] = {}  # one string for all equal cells: labels and patients repeat
        absent = {key: "" for key, title in columns.items() if title is None}
        rows = [
            Row(line, absent | {key: known.setdefault(cells[place], cells[place]) for key, place in places.items()})
            for line, cells in self.source.rows(self.name, len(self.titles), problems)
        ]
        return rows, problems


@dataclass(frozen=True)
class _Text:
    text: str
    delimiter: str

    def rows(self, name: str, width: int, problems: list[str]) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.delimiter, strict=True)
        try:
            _titles(reader)
            for values in reader:
                cells = [value.strip() for value in values]
                if len(cells) > width and any(cells[width:]):
                    problems.append(f"{name} line {reader.line_num}: {len(cells)} cells, the header has {width}")
                elif any("\0" in cell for cell in cells):
                    problems.append(f"{name} line {reader.line_num}: a NUL byte in a cell: the file is damaged")
                elif any(cells):
                    yield reader.line_num, cells + [""] * (width - len(cells))
        except csv.Error as error:
            told = next((text for part, text in SENTENCES.items() if part in str(error)), str(error))
            problems.append(f"{name} line {reader.line_num}: {told}")


@dataclass(frozen=True)
class _Parquet:
    columns: tuple[Sequence[object], ...]

    def rows(self, name: str, width: int, problems: list[str]) -> Iterator[tuple[int, list[str]]]:
        for line, values in enumerate(zip(*self.columns, strict=True), 1):
            cells = [_text(value) for value in values]
            if any(cells):
                yield line, cells


def table(path: Path, name: str | None = None, wanted: Sequence[str] = ()) -> Table:
    """The table in a file, or the sentences that say why there is none.

    Args:
        path: CSV or TSV (UTF-8 text with a header, delimited by comma, semicolon or tab), perhaps with the ending .gz;
            or Parquet.
        name: How messages call it; its file name if not given.
        wanted: Columns besides the usual ones that a header of the right delimiter may have.
    """
    name = path.name if name is None else name
    try:
        if path.stat().st_size > MAX_BYTES:
            return Table(name, problems=(f"{name}: {path.stat().st_size} bytes, wanted at most {MAX_BYTES}",))
        if path.name.casefold().endswith(".parquet"):
            return _parquet(path, name)
        data = path.read_bytes()
        if path.name.casefold().endswith(".gz"):
            with gzip.open(io.BytesIO(data)) as handle:
                data = handle.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                return Table(name, problems=(f"{name}: more than {MAX_BYTES} bytes when unpacked",))
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return Table(name, problems=(f"{name}: damaged: it cannot be unpacked as gzip",))
    except OSError as error:
        return Table(name, problems=(f"{name}: {error.strerror or error}",))
    wrong = not_text(data)
    return Table(name, problems=(f"{name}: {wrong}",)) if wrong else parse_table(data.decode("utf-8-sig"), name, wanted)


def not_text(data: bytes) -> str | None:
    """Why the bytes of a file are no UTF-8 text, with what to choose in the spreadsheet; None if they are.

    >>> not_text("Röntgen".encode()) is None
    True
    >>> not_text("a\\nRöntgen".encode("cp1252"))[:58]
    "not UTF-8 text: line 2, byte 3 of the file is 0xf6 ('ö' in"
    """
    for magic, what in WORKBOOKS.items():
        if data.startswith(magic):
            return f"{what}, not text: {CHOOSE}"
    if data.startswith(UTF_16) or data[1:8:2] == bytes(4) or data[:7:2] == bytes(4):
        return f"UTF-16 text, not UTF-8: {CHOOSE}"
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = data[error.start : error.start + 1]
        meant = byte.decode("cp1252", "replace")
        shown = f" ({meant!r} in cp1252)" if meant.isprintable() and meant != "\N{REPLACEMENT CHARACTER}" else ""
        line = data.count(b"\n", 0, error.start) + 1
        return f"not UTF-8 text: line {line}, byte {error.start} of the file is 0x{byte.hex()}{shown}: {CHOOSE}"
    return None


def parse_table(text: str, name: str, wanted: Sequence[str] = ()) -> Table:
    """The table in the text of a CSV, as `table`."""
    titles, delimiter = _header(text, wanted)
    if not any(titles):
        return Table(name, problems=(f"{name}: found no header, wanted the names of the columns in its first line",))
    return Table(name, tuple(titles), source=_Text(text, delimiter))


def read(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> tuple[list[Row], list[str]]:
    """Rows of a table, and one sentence for each thing that is wrong with it.

    Other columns than these are left out, empty rows skipped, missing trailing cells empty.

    Args:
        path: See `table`.
        columns: The columns wanted; see `columns.folded` for how their names are compared.
        optional: Columns that may be missing; their cells are then empty.
    """
    return chosen(table(path, wanted=columns), columns, optional)


def parse(text: str, columns: Sequence[str], name: str, optional: Sequence[str] = ()) -> tuple[list[Row], list[str]]:
    r"""Rows and problems of the CSV `text`, as `read`; `name` is how the problems call it.

    >>> parse("file_name;x\r\n007.png ;1\r\n", ["file_name", "x"], "points.csv")
    ([Row(line=2, cells={'file_name': '007.png', 'x': '1'})], [])
    >>> parse("file_name,y\n", ["file_name", "x"], "points.csv")
    ([], ["points.csv: no column 'x'; found file_name, y"])
    """
    return chosen(parse_table(text, name, columns), columns, optional)


def chosen(found: Table, columns: Sequence[str], optional: Sequence[str] = ()) -> tuple[list[Row], list[str]]:
    """Rows of a table with the cells of these columns, as `read`."""
    if found.problems:
        return [], list(found.problems)
    titles = {column: found.find([column]) for column in (*columns, *optional)}
    spelt = _spelt(found.titles)
    missing = [f"{found.name}: no column {column!r}; found {spelt}" for column in columns if titles[column] is None]
    return ([], missing) if missing else found.select(titles)


def _spelt(titles: Sequence[str]) -> str:
    """The titles on one line: a quote that was lost can make a title of a whole file.

    >>> _spelt(["a", "b\\nc", "d" * 100])[:20], len(_spelt(["x" * 1000]))
    ('a, b c, dddddddddddd', 60)
    """
    shown = [" ".join(title.replace("\0", " ").split()) for title in titles]
    return ", ".join(title if len(title) <= MAX_TITLE else f"{title[: MAX_TITLE - 3]}..." for title in shown)


def _header(text: str, wanted: Sequence[str]) -> tuple[list[str], str]:
    """Titles, split by the delimiter that finds most of the wanted and usual ones, then most of all."""
    known = {usual.folded(column) for column in (*usual.USUAL, *wanted)}
    best: tuple[list[str], str] = ([], DELIMITERS[0])
    most = (0, 0)
    for delimiter in DELIMITERS:
        try:
            titles = _titles(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        except csv.Error:
            continue
        score = len(known & {usual.folded(title) for title in titles}), len(titles)
        if score > most:
            best, most = (titles, delimiter), score
    return best


def _titles(reader: Iterator[list[str]]) -> list[str]:
    """First row that holds something, but for the line "sep=;" that a spreadsheet puts above the header."""
    for values in reader:
        titles = [title.strip() for title in values]
        if any(titles) and not titles[0].startswith("sep="):
            return titles
    return []


def _parquet(path: Path, name: str) -> Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        found = parquet.read_table(path, page_checksum_verification=True)
        titles = tuple(unicodedata.normalize("NFC", title) for title in found.column_names)
        cells = tuple(column.to_pylist() for column in found.columns)
    # the last two are of texts and times that a flipped bit has made impossible
    except (OSError, pa.ArrowException, ValueError, OverflowError):
        return Table(name, problems=(f"{name}: not a Parquet file, or damaged",))
    return Table(name, titles, source=_Parquet(cells)) if titles else Table(name, problems=(f"{name}: no columns",))


def _text(value: object) -> str:
    """Text of a cell of Parquet: whole numbers without a dot, since a column of ids with gaps is one of floats.

    >>> _text(2.0), _text(None), _text(" a "), _text(True), _text(["a", "b"])
    ('2', '', 'a', 'true', 'a; b')
    """
    if isinstance(value, list):
        return "; ".join(map(_text, value))
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
