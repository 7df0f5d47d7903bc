"""A folder of images at any depth, with no table, one or several. Which table is which is told by its columns.

A table with a column of images and one of labels is a table of labels; with x and y, or boxes, one of points; with
both, it is both, a row for each nodule. Without either it may tell the patient, spacing, view, sex and age. Without any
table the images can be scored and localized, not trained or measured on.
"""

import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.lib.images import annotations, columns, csvfile, labels, names
from stages.lib.images.columns import PointColumns
from stages.lib.images.csvfile import Row, Table
from stages.lib.images.dataset import Context, Mark, Options, Point, Record, Tables
from stages.lib.images.labels import Words
from stages.lib.images.listing import Entry, Listing, Places
from stages.lib.images.notices import Notice
from stages.lib.images.readers import agreed

TAKES = {
    "label": "column label, class, finding ...: nodule, positive, yes, 1; no finding, negative, normal, no, 0",
    "patient": "column patient_id, subject_id, pid, MRN ...; else the name of an NIH image, or the DICOM header",
    "points": "columns x, y; or boxes: x, y, w, h, or x_min, y_min, x_max, y_max",
    "spacing": "column spacing_mm, or the DICOM header",
    "view": "column view, or the DICOM header",
    "sex": "column sex, or the DICOM header",
    "age": "column age, or the DICOM header",
}
FLAT = False
HOME = ""
PARTIAL = False
NOTHING = Context()
SAMPLE = 500  # rows that decide between two columns that may be the one wanted
WORKBOOK_BYTES = 1 << 22  # of a workbook that are looked through for the name of a column of images
WORDS_TOLD = 5


def recognized(listing: Listing) -> bool:
    """Any folder."""
    return True


def holds(relative: str) -> bool:
    """Every image."""
    return True


def source(relative: str) -> str:
    """Images of a folder are of no known source."""
    return "other"


def tables(listing: Listing, options: Options) -> Tables:
    """What all tables of the folder say; one that says nothing of an image is passed over with the reason."""
    found = Tables()
    places = Places(listing.of("image"))
    of_labels: list[str] = []
    with_patient = False
    for entry in listing.of("table"):
        table = csvfile.table(Path(entry.path), entry.relative) if entry.problem is None else Table(entry.relative)
        if table.source is None:
            if entry.problem or not _may_name_images(entry):
                told = "; ".join(problem.removeprefix(f"{entry.relative}: ") for problem in table.problems)
                found.remarks[entry.relative] = f"a table that is not read: {entry.problem or told}"
            else:
                found.problems += [f"{problem}; or move it out of the folder" for problem in table.problems]
            continue
        file = _file(table, places)
        if file is None:
            wanted = "no column of images (file_name, image ...)"
            found.remarks[entry.relative] = f"a table that is not read: {wanted}; found {', '.join(table.titles)}"
            continue
        titles = {
            "file": file,
            "label": _label(table, file, options),
            "reader": table.find(columns.READER),
            "spacing_mm": table.find(columns.SPACING),
            "view": table.find(columns.VIEW),
            "sex": table.find(columns.SEX),
            "age_years": table.find(columns.AGE_YEARS),
            "patient": columns.patient_title(table, options.patient_column)[0],
        }
        how = columns.point_columns(table)
        if how is None and not any(titles[key] for key in titles if key not in ("file", "reader")):
            wanted = "it says no label, point, patient, spacing, view, sex or age of its images"
            found.remarks[entry.relative] = f"a table that is not read: {wanted}; found {', '.join(table.titles)}"
            continue
        found.read.append(entry.relative)
        with_patient = with_patient or titles["patient"] is not None
        if titles["label"] is not None:
            of_labels.append(entry.relative)
        _read(table, titles, how, places, options, found)
    found.label_table = ", ".join(of_labels) or None
    if options.patient_column != "auto" and found.read and not with_patient:
        told = f"no column {options.patient_column!r}, which data.ingest.patient_column names"
        found.problems.append(f"{', '.join(found.read)}: {told}")
    return found


def _read(
    table: Table,
    titles: Mapping[str, str | None],
    how: PointColumns | None,
    places: Places,
    options: Options,
    found: Tables,
) -> None:
    """Add what the rows of a table say to `found`."""
    keys: dict[str, str | None] = dict(titles)
    if how is not None:
        keys.update({name: table.find([name]) for name in columns.SIZES})
        keys.update(how.titles)
    rows, problems = table.select(keys)
    found.problems += problems
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        name = row.cells["file"]
        if name:
            entries = places.find(name)
            groups[entries[0].relative if len(entries) == 1 else name].append(row)
        else:
            found.problems.append(f"{table.where(row)}: no file name")
    words = labels.chosen(options, labels.POSITIVE, labels.NEGATIVE)
    neither: Counter[str] = Counter()
    left_out = others = 0
    for of_image in groups.values():
        each = _labels(of_image, titles, words, options)
        marks, other = _marks(table, of_image, how, words, options, found.problems)
        others += other
        odd: tuple[Notice, ...] = ()
        if titles["reader"] and marks:
            readers = len({row.cells["reader"] for row in of_image})
            marks, odd = _of_readers(marks, readers, each[0], options)
        if titles["label"] and set(each) == {None}:
            odd += (labels.notice(*(row.cells["label"] for row in of_image)),)
            told_words = {row.cells["label"] for row in of_image if not columns.is_nothing(row.cells["label"])}
            neither.update(told_words)
            left_out += bool(told_words)
        found.marks += [mark for _, mark in marks]
        found.records += _records(table, of_image, each, odd, titles["label"] is not None, found.problems)
    told = []
    if neither:
        most = ", ".join(f"{word!r} ({count})" for word, count in neither.most_common(WORDS_TOLD))
        more = f" and {len(neither) - WORDS_TOLD} more" if len(neither) > WORDS_TOLD else ""
        told.append(
            f"{left_out} of {len(groups)} images are labelled neither as with nor as without a nodule, and are left "
            f"out: {most}{more}; data.ingest.positive_labels and negative_labels say what means which"
        )
    if others:
        told.append(f"{others} points of other findings are left out")
    if told:
        found.remarks[table.name] = "; ".join(told)


def _labels(rows: Sequence[Row], titles: Mapping[str, str | None], words: Words, options: Options) -> list[int | None]:
    """Labels of the rows about one image: that of all of them on the first row, or each its own if they differ."""
    said = [labels.findings(row.cells["label"]) for row in rows]
    if titles["reader"]:
        readings: defaultdict[str, list[str]] = defaultdict(list)
        for row, findings in zip(rows, said, strict=True):
            readings[row.cells["reader"]] += findings
        together = labels.of_readers(readings, words, options.reader_rule)
    else:
        each = [words.label(findings) for findings in said]
        if len(rows) == 1 or {0, 1} <= set(each):
            return each
        together = words.label(word for findings in said for word in findings)
    return [together, *[None] * (len(rows) - 1)]


def _marks(
    table: Table,
    rows: Sequence[Row],
    how: PointColumns | None,
    words: Words,
    options: Options,
    problems: list[str],
) -> tuple[list[tuple[str, Mark]], int]:
    """The nodules of an image, each with its reader, and the number of points of other findings."""
    marks: list[tuple[str, Mark]] = []
    others = 0
    for row in rows:
        if how is None or not annotations.marked(row, how):
            continue
        said = labels.findings(row.cells["label"])
        if said and words.label(said) is None:
            others += 1
            continue
        mark = annotations.point(table, row, how, options)
        if isinstance(mark, str):
            problems.append(mark)
        else:
            marks.append((row.cells["reader"], mark))
    return marks, others


def _of_readers(
    marks: Sequence[tuple[str, Mark]], readers: int, label: int | None, options: Options
) -> tuple[list[tuple[str, Mark]], tuple[Notice, ...]]:
    """The nodules on which as many readers agree as the rule wants, and a remark on the others."""
    by_reader: defaultdict[str, list[Point]] = defaultdict(list)
    for reader, mark in marks:
        by_reader[reader].append(mark.point)
    kept, left = agreed(by_reader, readers, options.reader_rule)
    if label == 0:
        kept, left = [], len(marks)
    first = marks[0][1]
    told = f"{left} point(s) of fewer readers than data.ingest.reader_rule wants ({options.reader_rule}) are left out"
    return [("", Mark(first.name, first.where, point)) for point in kept], (Notice("points", told),) if left else ()


def _records(
    table: Table,
    rows: Sequence[Row],
    each: Sequence[int | None],
    odd: tuple[Notice, ...],
    of_labels: bool,
    problems: list[str],
) -> list[Record]:
    """Records of the rows about one image.

    The first one lists it. One that is the same as another row does so, too, and is then remarked; one of another
    nodule, finding or reader does not.
    """
    same = len(rows) > 1 and len({tuple(row.cells.values()) for row in rows}) < len(rows)
    records = []
    for place, (row, label) in enumerate(zip(rows, each, strict=True)):
        where, name = table.where(row), row.cells["file"]
        spacing, wrong = columns.spacing_mm(row.cells["spacing_mm"])
        context, odd_context = columns.context(row.cells)
        problems += [f"{where}: {name!r} has {text}" for text in (wrong, *odd_context) if text]
        listed = of_labels and (place == 0 or same)
        patient = names.known_id(row.cells["patient"])
        notices = odd if place == 0 else ()
        if listed or patient or label is not None or spacing or notices or context != NOTHING:
            records.append(Record(name, where, label, patient, spacing, context, None, notices, listed))
    return records


def _file(table: Table, places: Places) -> str | None:
    """Title of the column of images: of several that may be it, the one that names most files."""
    candidates = annotations.titles(table, columns.FILE)
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    rows, _ = table.select({title: title for title in candidates})
    found = Counter({title: sum(bool(places.find(r.cells[title])) for r in rows[:SAMPLE]) for title in candidates})
    return max(candidates, key=lambda title: found[title])


def _label(table: Table, file: str, options: Options) -> str | None:
    """Title of the column of labels: of several that may be it, the one with most words that are known."""
    candidates = [title for title in annotations.titles(table, columns.LABEL) if title != file]
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    words = labels.chosen(options, labels.POSITIVE, labels.NEGATIVE)
    rows, _ = table.select({title: title for title in candidates})
    known = {
        title: sum(words.label(labels.findings(row.cells[title])) is not None for row in rows[:SAMPLE])
        for title in candidates
    }
    return max(candidates, key=lambda title: known[title])


def _may_name_images(entry: Entry) -> bool:
    """Whether a table that cannot be read has a column of images, as far as its header or a workbook's texts tell."""
    known = {columns.folded(name) for name in columns.FILE}
    try:
        with Path(entry.path).open("rb") as handle:
            head = handle.read(1 << 16)
        if head.startswith(b"PK"):
            with zipfile.ZipFile(entry.path) as book:
                texts = ""
                for part in book.namelist():
                    if part.endswith(("sharedStrings.xml", "sheet1.xml", "content.xml")):
                        with book.open(part) as opened:
                            texts += opened.read(WORKBOOK_BYTES).decode("utf-8", "replace")
            return any(columns.folded(text) in known for text in re.findall(r">([^<>]{1,60})<", texts))
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return False
    encoding = "utf-16" if head.startswith(csvfile.UTF_16) else "utf-16-le" if b"\0" in head[:8] else "cp1252"
    text = head.decode(encoding, "replace").replace("\0", "")
    titles = re.split(r"[,;\t\"]+", next((line for line in text.splitlines() if line.strip()), ""))
    return any(columns.folded(title) in known for title in titles)
