"""The layout of the challenge NoduLoCC2026: two folders of images, a table of labels and a table of points.

lidc_png_16_bit/  nih_filtered_images/       one of the two may be missing
classification_labels.csv                    file_name, label, LIDC_ID
localization_labels.csv                      file_name, x, y
lesions.csv                                  what else is known of a nodule, if it is there
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stages.lib.core.errors import DataError
from stages.lib.images import columns, csvfile, names
from stages.lib.images.dataset import Mark, Options, Point, Record, Tables
from stages.lib.images.listing import Listing
from stages.lib.images.notices import Notice

FOLDERS = {"lidc_png_16_bit": "lidc", "nih_filtered_images": "nih"}
LIDC = "lidc_png_16_bit"
LABELS_CSV = "classification_labels.csv"
POINTS_CSV = "localization_labels.csv"
LESIONS_CSV = "lesions.csv"
WORDS = {"Nodule": 1, "No Finding": 0}

FLAT = True
HOME = "nih_filtered_images"
PARTIAL = False
TAKES = {
    "label": f"{LABELS_CSV}: label, Nodule or No Finding",
    "patient": f"{LABELS_CSV}: LIDC_ID, or a column of patients; else the name of an NIH image",
    "points": f"{POINTS_CSV}: x, y; and of {LESIONS_CSV} diameter_mm, diameter_px, contrast",
    "spacing": f"{LABELS_CSV}: spacing_mm",
    "view": f"{LABELS_CSV}: view",
    "sex": f"{LABELS_CSV}: sex",
    "age": f"{LABELS_CSV}: age_years",
}


def recognized(listing: Listing) -> bool:
    """Whether one of its folders or its table of labels is there."""
    return (listing.base / LABELS_CSV).exists() or any((listing.base / name).exists() for name in FOLDERS)


def holds(relative: str) -> bool:
    """Images in its two folders, at any depth."""
    return relative.split("/")[0] in FOLDERS


def source(relative: str) -> str:
    """By the folder that the image is in."""
    return FOLDERS.get(relative.split("/")[0], "other")


def tables(listing: Listing, options: Options) -> Tables:
    """Labels and points.

    Raises:
        DataError: If a table is missing, or both folders are, or a part is a link out of the data folder.
    """
    base = listing.base
    missing = [f"no file {name}" for name in (LABELS_CSV, POINTS_CSV) if not (base / name).is_file()]
    if not any((base / name).is_dir() for name in FOLDERS):
        missing.append(f"no folder {' and no folder '.join(FOLDERS)}")
    missing += [
        f"{name} is a link out of the data folder: copy what it points to, or give the folder it points into"
        for name in (*FOLDERS, LABELS_CSV, POINTS_CSV)
        if names.leaves(base / name, base)
    ]
    if missing:
        wanted = "wanted the layout of NoduLoCC2026, or a folder of nothing but images"
        raise DataError(f"data folder {base} ({wanted}):", missing)
    records, problems = read_labels(base / LABELS_CSV)
    marks, more = read_points(base / POINTS_CSV)
    found = Tables(records, marks, LABELS_CSV, [LABELS_CSV, POINTS_CSV], problems + more)
    if (base / LESIONS_CSV).is_file() and not names.leaves(base / LESIONS_CSV, base):
        lesions, more = read_points(base / LESIONS_CSV)
        known: dict[tuple[str, int, int], Point] = {}
        for lesion in lesions:
            known.setdefault((lesion.name, *_pixel(lesion.point)), lesion.point)
        found.marks = [_sized(mark, known) for mark in marks]
        found.read.append(LESIONS_CSV)
        found.problems += more
    return found


def read_labels(path: Path) -> tuple[list[Record], list[str]]:
    """Record of each row of the label table, and the problems of the table.

    Args:
        path: CSV with file_name, label ("Nodule", "No Finding", or empty) and LIDC_ID (empty for NIH); perhaps with
            a column of patients; spacing_mm, millimetres per pixel of the image as it is stored; view ("PA", "AP",
            "lateral"), sex ("F", "M", "other") and age_years of the patient.
    """
    optional = ["spacing_mm", *columns.CONTEXT, *columns.PATIENT]
    rows, problems = csvfile.read(path, ["file_name", "label", "LIDC_ID"], optional)
    words = {word.casefold(): label for word, label in WORDS.items()}
    records = []
    for row in rows:
        where = f"{path.name} line {row.line}"
        name, word, lidc_id = row.cells["file_name"], row.cells["label"], names.known_id(row.cells["LIDC_ID"])
        label = words.get(word.casefold())
        if not name:
            problems.append(f"{where}: no file name")
            continue
        if label is None and not columns.is_nothing(word):
            problems.append(f"{where}: {name!r} is labelled {word!r}, wanted one of {', '.join(WORDS)}")
            continue
        spacing, wrong = columns.numbers(row.cells, ["spacing_mm"])
        context, odd = columns.context(row.cells)
        if wrong or odd:
            problems += [f"{where}: {name!r} has {text}" for text in (wrong, *odd) if text]
            continue
        patient = next(filter(None, (names.known_id(row.cells[title]) for title in columns.PATIENT)), None)
        records.append(
            Record(
                name,
                where,
                label,
                patient or lidc_id,
                spacing["spacing_mm"],
                context,
                LIDC if lidc_id and not patient else None,
                () if label is not None else (Notice("label", "no label"),),
            )
        )
    return records, problems


def read_points(path: Path) -> tuple[list[Mark], list[str]]:
    """Nodules of a table, and the problems of the table.

    Args:
        path: CSV with file_name, x and y, pixels of the original, and perhaps diameter_mm, diameter_px and contrast.
            Nothing is shifted.
    """
    rows, problems = csvfile.read(path, ["file_name", "x", "y"], columns.SIZES)
    marks = []
    for row in rows:
        name, x, y = row.cells["file_name"], columns.number(row.cells["x"]), columns.number(row.cells["y"])
        where = f"{path.name} line {row.line}"
        sizes, wrong = columns.numbers(row.cells, columns.SIZES)
        if not name:
            problems.append(f"{where}: no file name")
        elif x is None or y is None:
            problems.append(f"{where}: {name!r} at ({row.cells['x']!r}, {row.cells['y']!r}), wanted two numbers")
        elif wrong:
            problems.append(f"{where}: {name!r} has {wrong}")
        else:
            marks.append(Mark(name, where, Point(x, y, **sizes)))
    return marks, problems


def _pixel(point: Point) -> tuple[int, int]:
    return round(point.x), round(point.y)


def _sized(mark: Mark, lesions: Mapping[tuple[str, int, int], Point]) -> Mark:
    """A nodule with the sizes and the contrast that the table of lesions says of it, where its own says nothing."""
    lesion = lesions.get((mark.name, *_pixel(mark.point)))
    if lesion is None:
        return mark
    known = {name: value for name in columns.SIZES if (value := getattr(mark.point, name)) is not None}
    return replace(mark, point=replace(lesion, x=mark.point.x, y=mark.point.y, **known))
