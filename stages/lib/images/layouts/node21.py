"""The layout of NODE21.

images/           .mha or .png, at any depth
metadata.csv      height, img_name, label, width, x, y: one row per nodule (label 1, with its box: top left corner and
                  size, pixels) and one per image without (label 0)

The images come from JSRT, PadChest, ChestX-ray14 and Open-i; which is from which, and whose they are, is not said.

Source: Sogancioglu et al., NODE21, IEEE TMI 43, 2024.
"""

from stages.lib.core.errors import DataError
from stages.lib.images import columns, csvfile, labels, names
from stages.lib.images.dataset import Mark, Options, Record, Tables
from stages.lib.images.listing import Entry, Listing
from stages.lib.images.notices import Notice

METADATA = "metadata.csv"
COLUMNS = ("img_name", "label", "x", "y", "width", "height")
POSITIVE = ("1",)
NEGATIVE = ("0",)
BOX = columns.PointColumns("corner", {"x": "x", "y": "y", "right": "width", "bottom": "height"})

FLAT = True
HOME = ""
PARTIAL = True
TAKES = {
    "label": "metadata.csv: label, 1 or 0",
    "patient": "metadata.csv: a column of patients, if one was added; else not known",
    "points": "metadata.csv: centres and sizes of the boxes (x, y, width, height) of rows with label 1",
    "spacing": "ElementSpacing of an .mha file, unless it is 1 by 1",
    "view": "none",
    "sex": "none",
    "age": "none",
}


def recognized(listing: Listing) -> bool:
    """Whether a metadata.csv has its columns, at any depth."""
    return _metadata(listing) is not None


def holds(relative: str) -> bool:
    """Every image."""
    return True


def source(relative: str) -> str:
    """Several sources, and it is not said which."""
    return "other"


def tables(listing: Listing, options: Options) -> Tables:
    """Labels and boxes.

    Raises:
        DataError: If the table is missing.
    """
    entry = _metadata(listing)
    if entry is None:
        wanted = f"no file {METADATA} with the columns {', '.join(COLUMNS)}"
        raise DataError(f"data folder {listing.base} (data.ingest.layout: node21):", [wanted])
    spelt = names.by_stem(image.name for image in listing.of("image"))
    found = Tables(label_table=entry.relative, read=[entry.relative])
    table = csvfile.table(listing.base / entry.relative, entry.relative, COLUMNS)
    patient, problem = columns.patient_title(table, options.patient_column)
    found.problems += [problem] if problem else []
    words = labels.chosen(options, POSITIVE, NEGATIVE)
    rows, problems = table.select({"img_name": "img_name", "label": "label", **BOX.titles, "patient": patient})
    found.problems += problems
    seen: dict[str, Record] = {}
    for row in rows:
        cells, where = row.cells, table.where(row)
        if not cells["img_name"]:
            found.problems.append(f"{where}: no file name")
            continue
        name = spelt.get(names.stem_key(cells["img_name"]), cells["img_name"])
        label = words.label([cells["label"]])
        notices = [] if label is not None else [labels.notice(cells["label"])]
        if label != 1 and any(columns.number(cells[side]) for side in ("right", "bottom")):
            notices.append(Notice("points", f"{where} has a box, but not the label of a nodule: the box is not taken"))
        record = Record(name, where, label, names.known_id(cells["patient"]), notices=tuple(notices))
        before = seen.setdefault(name, record)
        if before is record or (before.label, before.patient) != (record.label, record.patient):
            found.records.append(record)  # a row that differs is refused when they are put together
        elif label != 1:
            found.records.append(record)  # an image without nodule has one row
        if label == 1:
            point = BOX.point(cells, "pixels")
            if isinstance(point, str):
                found.problems.append(f"{where}: {cells['img_name']!r} {point}")
            else:
                found.marks.append(Mark(name, where, point))
    return found


def _metadata(listing: Listing) -> Entry | None:
    for entry in listing.of("table"):
        if entry.name.casefold() == METADATA:
            table = csvfile.table(listing.base / entry.relative, entry.relative, COLUMNS)
            if all(table.find([title]) for title in COLUMNS):
                return entry
    return None
