"""The layout of ChestX-ray14, as the NIH gives it out.

images_001/images/ ... images_012/images/    any part of them, at any depth
Data_Entry_2017.csv                          or Data_Entry_2017_v2020.csv, the corrected one, which goes before
BBox_List_2017.csv                           boxes on some of the images

The header of the table has commas within brackets, "OriginalImage[Width,Height]", and so its rows have: each is read as
two columns. The images are stored as 1024 x 1024, whatever shape the original had, and the spacing is that of the
original.

Source: Wang et al., ChestX-ray8, CVPR 2017, and the README of the data set.
"""

from collections.abc import Mapping

from stages.lib.core.errors import DataError
from stages.lib.images import columns, csvfile, labels, names
from stages.lib.images.dataset import Mark, Options, Record, Tables
from stages.lib.images.listing import Entry, Listing
from stages.lib.images.notices import Notice

ENTRIES = "data_entry_2017"
SAMPLE = "sample_labels.csv"  # the excerpt of 5,606 images on Kaggle has the same columns
BOXES = "bbox_list_2017.csv"
POSITIVE = ("Nodule",)
NEGATIVE = ("No Finding",)
MARKED_ON = "1024x1024"
BOX = columns.PointColumns("corner", {"x": "Bbox [x", "y": "y", "right": "w", "bottom": "h]"})
ORIGINAL = {
    "width": ("OriginalImage[Width", "OriginalImageWidth"),
    "height": ("Height]", "OriginalImageHeight"),
    "across": ("OriginalImagePixelSpacing[x", "OriginalImagePixelSpacing_x"),
    "down": ("y]", "OriginalImagePixelSpacing_y"),
}

FLAT = True
HOME = ""
PARTIAL = True
TAKES = {
    "label": "Data_Entry_2017*.csv: Finding Labels, with Nodule, or No Finding alone",
    "patient": "Data_Entry_2017*.csv: Patient ID; else the name of the image",
    "points": "BBox_List_2017.csv: centres and sizes of the boxes of positive labels",
    "spacing": "Data_Entry_2017*.csv: OriginalImagePixelSpacing and OriginalImage, for the width as stored",
    "view": "Data_Entry_2017*.csv: View Position",
    "sex": "Data_Entry_2017*.csv: Patient Gender",
    "age": "Data_Entry_2017*.csv: Patient Age",
}


def recognized(listing: Listing) -> bool:
    """Whether its table of labels is there, at any depth."""
    return _entries(listing) is not None


def holds(relative: str) -> bool:
    """Every image."""
    return True


def source(relative: str) -> str:
    """All are the NIH's."""
    return "nih"


def tables(listing: Listing, options: Options) -> Tables:
    """Labels and boxes.

    Raises:
        DataError: If the table of labels is missing.
    """
    entries = _entries(listing)
    if entries is None:
        missing = "no file Data_Entry_2017_v2020.csv and no Data_Entry_2017.csv, the tables of labels of ChestX-ray14"
        raise DataError(f"data folder {listing.base} (data.ingest.layout: nih):", [missing])
    words = labels.chosen(options, POSITIVE, NEGATIVE)
    found = Tables(label_table=entries.relative, read=[entries.relative], marked_on=MARKED_ON)
    table = csvfile.table(listing.base / entries.relative, entries.relative, ("Image Index", "Finding Labels"))
    found.records, found.problems = read_labels(table, words, options)
    for entry in listing.of("table"):
        if entry.name.casefold() == BOXES:
            table = csvfile.table(listing.base / entry.relative, entry.relative, ("Image Index", "Finding Label"))
            marks, problems = read_boxes(table, words)
            found.marks += marks
            found.problems += problems
            found.read.append(entry.relative)
        elif entry is not entries and _is_entries(entry):
            found.remarks[entry.relative] = f"not read: {entries.relative} is, in its place"
    return found


def _is_entries(entry: Entry) -> bool:
    folded = entry.name.casefold()
    return folded.startswith(ENTRIES) or folded == SAMPLE


def _entries(listing: Listing) -> Entry | None:
    """The table of labels: the corrected one goes before the first one, and that before an excerpt."""
    found = [entry for entry in listing.of("table") if _is_entries(entry)]
    rank = {True: 1, False: 0}
    return max(found, key=lambda e: (rank[e.name.casefold() != SAMPLE], e.name.casefold()), default=None)


def read_labels(table: csvfile.Table, words: labels.Words, options: Options) -> tuple[list[Record], list[str]]:
    """Record of each row of the table of labels, and the problems of the table.

    An age that cannot be (the first table has some, such as 414) is not known, and remarked. A side of a pixel is that
    of the original; `Record.spacing_size_px` is its size.

    Args:
        table: With Image Index, Finding Labels (joined by "|"), and perhaps Patient ID, Patient Age, Patient Gender,
            View Position, and the size and the spacing of the original.
        words: What the labels mean.
        options: With `patient_column`.
    """
    patient_title, problem = columns.patient_title(table, options.patient_column)
    titles = {
        "name": table.find(["Image Index"]),
        "label": table.find(["Finding Labels"]),
        "patient": patient_title,
        "age_years": table.find(["Patient Age"]),
        "sex": table.find(["Patient Gender", "Patient Sex"]),
        "view": table.find(["View Position"]),
        **{key: table.find(named) for key, named in ORIGINAL.items()},
    }
    problems = list(table.problems) or [
        f"{table.name}: no column {wanted!r}; found {', '.join(table.titles)}"
        for wanted, key in (("Image Index", "name"), ("Finding Labels", "label"))
        if titles[key] is None
    ]
    if problem and not problems:
        problems.append(problem)
    if problems:
        return [], problems
    rows, problems = table.select(titles)
    known: dict[str, int | None] = {}  # there are some 800 combinations of labels
    records = []
    for row in rows:
        cells, where = row.cells, table.where(row)
        if not cells["name"]:
            problems.append(f"{where}: no file name")
            continue
        said = cells["label"]
        if said not in known:
            known[said] = words.label(labels.findings(said))
        context, odd = columns.context(cells)
        spacing_mm, size_px, unusable = spacing(cells)
        patient, by_name = patient_id(cells["patient"]), names.nih_patient(names.without_ending(cells["name"]))
        notices = [Notice("table", text) for text in odd]
        if patient and by_name and patient != by_name:
            notices.append(Notice("table", f"its patient is {patient} in the table, and {by_name} by its name"))
        if known[said] is None:
            notices.append(labels.notice(*labels.unknown(labels.findings(said), words)))
        if unusable:
            notices.append(Notice("spacing", unusable))
        records.append(
            Record(
                cells["name"],
                where,
                known[said],
                patient,
                spacing_mm,
                context,
                notices=tuple(notices),
                spacing_size_px=size_px,
            )
        )
    return records, problems


def patient_id(text: str) -> str | None:
    """Patient as the names of the images have it, so that a copy without a row in the table keeps its patient.

    >>> patient_id("70"), patient_id("")
    ('nih-00000070', None)
    """
    known = names.known_id(text)
    number = columns.number(known) if known else None
    if number is not None and number.is_integer() and 0 < number <= names.NIH_PATIENTS:
        return f"nih-{int(number):08d}"
    return known


def spacing(cells: Mapping[str, str]) -> tuple[float | None, tuple[float, float] | None, str | None]:
    """Millimetres per pixel of the original, its width and height, and a sentence if they cannot be used.

    >>> spacing({"width": "2682", "height": "2749", "across": "0.143", "down": "0.143"})
    (0.143, (2682.0, 2749.0), None)
    """
    if all(columns.is_nothing(cells[key]) for key in ORIGINAL):
        return None, None, None
    width, height, across, down = (columns.number(cells[key]) for key in ORIGINAL)
    if not width or not height or not across or not down or min(width, height, across, down) <= 0:
        told = ", ".join(repr(cells[key]) for key in ORIGINAL)
        return None, None, f"size and spacing of the original {told}, wanted four numbers above 0"
    # Pixels that are not square are those of an original that is as much longer in pixels.
    return across, (width, height * down / across), None


def read_boxes(table: csvfile.Table, words: labels.Words) -> tuple[list[Mark], list[str]]:
    """Nodules of the table of boxes, and its problems. Boxes of other findings are passed over.

    Args:
        table: With Image Index, Finding Label and the top left corner and size of a box, in pixels of the image of
            1024 x 1024.
        words: What the labels mean.
    """
    wanted = {"name": "Image Index", "label": "Finding Label", **BOX.titles}
    titles = {key: table.find([title]) for key, title in wanted.items()}
    problems = list(table.problems) or [
        f"{table.name}: no column {wanted[key]!r}; found {', '.join(table.titles)}"
        for key, title in titles.items()
        if title is None
    ]
    if problems:
        return [], problems
    rows, problems = table.select(titles)
    marks = []
    for row in rows:
        if words.label([row.cells["label"]]) != 1:
            continue
        point = BOX.point(row.cells, "pixels")
        if isinstance(point, str):
            problems.append(f"{table.where(row)}: {row.cells['name']!r} {point}")
        else:
            marks.append(Mark(row.cells["name"], table.where(row), point))
    return marks, problems
