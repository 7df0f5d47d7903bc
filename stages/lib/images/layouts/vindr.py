"""The layout of VinDr-CXR, as on PhysioNet and on Kaggle.

train/  test/                                 .dicom (or .png), any part of them, at any depth
annotations_train.csv  annotations_test.csv   image_id, rad_id, class_name, x_min, y_min, x_max, y_max of findings
train.csv                                     the same, of Kaggle
image_labels_train.csv  image_labels_test.csv image_id, rad_id, and a column of 0 or 1 per class

Three radiologists have read each image of train; those of test have one reading, their consensus. What the tables say
of one image is put together by reader; `data.ingest.reader_rule` decides the label, and which nodules become points.
A nodule is of the class "Nodule/Mass".

Source: Nguyen et al., VinDr-CXR, Scientific Data 9, 2022.
"""

from collections import defaultdict
from collections.abc import Sequence

from stages.lib.core.errors import DataError
from stages.lib.images import columns, csvfile, labels, names, readers
from stages.lib.images.dataset import Mark, Options, Point, Record, Tables
from stages.lib.images.listing import Entry, Listing
from stages.lib.images.notices import Notice

FINDINGS = ("annotations_train.csv", "annotations_test.csv", "train.csv")
LABELS = ("image_labels_train.csv", "image_labels_test.csv")
POSITIVE = ("Nodule/Mass",)
NEGATIVE = ("No finding",)
CONSENSUS = "consensus"  # the reader of a table that names none
BOX = columns.PointColumns("corners", {"x": "x_min", "y": "y_min", "right": "x_max", "bottom": "y_max"})

FLAT = True
HOME = ""
PARTIAL = True
TAKES = {
    "label": "annotations_*.csv or train.csv: class_name, and image_labels_*.csv; by data.ingest.reader_rule",
    "patient": "PatientID of a DICOM file; else not known",
    "points": "annotations_*.csv or train.csv: boxes of positive labels, one point for those of several readers",
    "spacing": "the DICOM file",
    "view": "the DICOM file",
    "sex": "the DICOM file",
    "age": "the DICOM file",
}


class Readings:
    """What the readers of one image have said, and where the first of them did."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.words: defaultdict[str, list[str]] = defaultdict(list)
        self.boxes: defaultdict[str, list[Point]] = defaultdict(list)
        self.patient: str | None = None


def recognized(listing: Listing) -> bool:
    """Whether one of its tables is there, at any depth."""
    return bool(_tables(listing))


def holds(relative: str) -> bool:
    """Every image."""
    return True


def source(relative: str) -> str:
    """Neither the NIH's nor LIDC's."""
    return "other"


def tables(listing: Listing, options: Options) -> Tables:
    """Labels and boxes.

    Raises:
        DataError: If no table is there.
    """
    there = _tables(listing)
    if not there:
        wanted = f"no file {', '.join(FINDINGS)} with image_id, class_name and x_min, and no {' or '.join(LABELS)}"
        raise DataError(f"data folder {listing.base} (data.ingest.layout: vindr):", [wanted])
    words = labels.chosen(options, POSITIVE, NEGATIVE)
    found = Tables(label_table=there[0][0].relative, read=[entry.relative for entry, _ in there])
    images: dict[str, Readings] = {}
    for entry, table in there:
        read = _findings if entry.name.casefold() in FINDINGS else _labels
        found.problems += read(table, words, options, images)
    spelt = names.by_stem(image.name for image in listing.of("image"))
    for image_id, readings in images.items():
        name = spelt.get(names.stem_key(image_id), image_id)
        label = labels.of_readers(readings.words, words, options.reader_rule)
        said = [word for own in readings.words.values() for word in own]
        notices = () if label is not None else (labels.notice(*labels.unknown(said, words)),)
        points, left = readers.agreed(readings.boxes, len(readings.words), options.reader_rule)
        if left:
            told = (
                f"{left} box(es) of fewer readers than data.ingest.reader_rule wants ({options.reader_rule}) left out"
            )
            notices = (*notices, Notice("points", told))
        found.records.append(Record(name, readings.where, label, readings.patient, notices=notices))
        found.marks += [Mark(name, readings.where, point) for point in points]
    return found


def _findings(table: csvfile.Table, words: labels.Words, options: Options, images: dict[str, Readings]) -> list[str]:
    """Add the rows of a table of findings to `images`; returns the problems of the table."""
    patient, problem = columns.patient_title(table, options.patient_column)
    titles = {key: table.find([key]) for key in ("image_id", "rad_id", "class_name")}
    boxed = {key: table.find([title]) for key, title in BOX.titles.items()}
    missing = [BOX.titles[key] for key, title in boxed.items() if title is None]
    if problem or missing:
        spelt = ", ".join(table.titles)
        return [*([problem] if problem else []), *(f"{table.name}: no column {m!r}; found {spelt}" for m in missing)]
    rows, problems = table.select({**titles, **boxed, "patient": patient})
    for row in rows:
        cells, where = row.cells, table.where(row)
        problems += _add(cells["image_id"], where, cells["rad_id"], [cells["class_name"]], cells["patient"], images)
        if cells["image_id"] and words.label([cells["class_name"]]) == 1:
            point = BOX.point(cells, "pixels")
            if isinstance(point, str):
                problems.append(f"{where}: {cells['image_id']!r} {point}")
            else:
                images[cells["image_id"]].boxes[cells["rad_id"] or CONSENSUS].append(point)
    return problems


def _labels(table: csvfile.Table, words: labels.Words, options: Options, images: dict[str, Readings]) -> list[str]:
    """Add the rows of a table of labels to `images`; returns the problems of the table."""
    reader, patient = table.find(["rad_id"]), table.find([options.patient_column])
    image_id = table.find(["image_id"])
    classes = [title for title in table.titles if title and title not in (image_id, reader, patient)]
    rows, problems = table.select(
        {"image_id": image_id, "rad_id": reader, "patient": patient, **{f"is {title}": title for title in classes}}
    )
    for row in rows:
        cells, where = row.cells, table.where(row)
        said = []
        for title in classes:
            value = columns.number(cells[f"is {title}"])
            if value not in (0, 1) and not columns.is_nothing(cells[f"is {title}"]):
                problems.append(f"{where}: {title} {cells[f'is {title}']!r}, wanted 0 or 1")
            if value == 1:
                said.append(title)
        problems += _add(cells["image_id"], where, cells["rad_id"], said, cells["patient"], images)
    return problems


def _add(
    image_id: str, where: str, reader: str, said: Sequence[str], patient: str, images: dict[str, Readings]
) -> list[str]:
    if not image_id:
        return [f"{where}: no image_id"]
    readings = images.setdefault(image_id, Readings(where))
    readings.words[reader or CONSENSUS] += said
    known = names.known_id(patient)
    if known and readings.patient not in (None, known):
        return [f"{where}: {image_id!r} is listed before with another patient ({readings.patient!r}, {known!r} here)"]
    readings.patient = readings.patient or known
    return []


def _tables(listing: Listing) -> list[tuple[Entry, csvfile.Table]]:
    """Its tables: those of findings before those of labels, those of train before those of test."""
    found = []
    for wanted, columns_of in ((FINDINGS, ("image_id", "class_name", "x_min")), (LABELS, ("image_id", "No finding"))):
        for entry in sorted(listing.of("table"), key=lambda entry: entry.name.casefold(), reverse=True):
            if entry.name.casefold() in wanted:
                table = csvfile.table(listing.base / entry.relative, entry.relative, ("image_id", "class_name"))
                if all(table.find([title]) for title in columns_of):
                    found.append((entry, table))
    return found
