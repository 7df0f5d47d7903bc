"""The layout of the challenge NoduLoCC2026: two folders of images, a table of labels and a table of points.

lidc_png_16_bit/  nih_filtered_images/       one of the two may be missing
classification_labels.csv                    file_name, label; perhaps LIDC_ID
localization_labels.csv                      file_name, x, y; may be missing
lesions.csv                                  what else is known of a nodule, if it is there
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stages.lib.core.errors import DataError
from stages.lib.images import annotations, columns, csvfile, labels, names
from stages.lib.images.dataset import Mark, Options, Point, Record, Tables
from stages.lib.images.listing import WORKBOOKS, Listing

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
    "points": f"{POINTS_CSV}: x, y, or a box; and there or in {LESIONS_CSV} diameter_mm, diameter_px, contrast",
    "spacing": f"{LABELS_CSV}: spacing_mm",
    "view": f"{LABELS_CSV}: view",
    "sex": f"{LABELS_CSV}: sex",
    "age": f"{LABELS_CSV}: age_years",
}


def recognized(listing: Listing) -> bool:
    """Whether one of its folders is there."""
    return any((listing.base / name).exists() for name in FOLDERS)


def holds(relative: str) -> bool:
    """Images in its two folders, at any depth."""
    return relative.split("/")[0] in FOLDERS


def source(relative: str) -> str:
    """By the folder that the image is in."""
    return FOLDERS.get(relative.split("/")[0], "other")


def tables(listing: Listing, options: Options) -> Tables:
    """Labels and points.

    Raises:
        DataError: If the table of labels is missing, or both folders are, or a part is a link out of the data folder.
    """
    base = listing.base
    missing = []
    if not any((base / name).is_dir() for name in FOLDERS):
        missing.append(f"no folder {' and no folder '.join(FOLDERS)}")
    missing += [
        f"{name} is a link out of the data folder: copy what it points to, or give the folder it points into"
        for name in (*FOLDERS, LABELS_CSV, POINTS_CSV)
        if names.leaves(base / name, base)
    ]
    of_labels, of_points, of_lesions = (_file(listing, name) for name in (LABELS_CSV, POINTS_CSV, LESIONS_CSV))
    if not missing and of_labels is None:
        near = [entry.relative for entry in listing.of("table")]
        found = f"; found {', '.join(map(repr, near[:3]))}" if near else ""
        if any(name.casefold().endswith(WORKBOOKS) for name in near):
            found += f", and of a workbook, {csvfile.CHOOSE}"
        missing.append(
            f"no file {LABELS_CSV} with the columns file_name and label{found}; for images without labels, or with a "
            "table of another name, set data.ingest.layout to folder"
        )
    if missing or of_labels is None:
        raise DataError(f"data folder {base} (wanted the layout of NoduLoCC2026):", missing)
    records, problems = read_labels(base / of_labels, options)
    told = Tables(records, [], of_labels, [of_labels], problems)
    left = sum(record.label is None and record.notices != (labels.notice(),) for record in records)
    if left:
        told.remarks[of_labels] = f"{left} rows are labelled neither as with nor as without a nodule, and are left out"
    return with_points(told, base, of_points, of_lesions, options)


def _file(listing: Listing, name: str) -> str | None:
    """The table of that name as it is spelt; None if there is none that may be opened."""
    entry = listing.find(name)
    return entry.relative if entry is not None and entry.problem is None else None


def with_points(found: Tables, base: Path, of_points: str | None, of_lesions: str | None, options: Options) -> Tables:
    """The tables, with the points of the other files; without any, where there is no such file."""
    if of_points is not None:
        records, found.marks, more = read_points(base / of_points, options)
        found.records += records
        found.read.append(of_points)
        found.problems += more
    if of_lesions is not None:
        _, lesions, more = read_points(base / of_lesions, options)
        known: dict[tuple[str, int, int], Point] = {}
        for lesion in lesions:
            known.setdefault((lesion.name, *_pixel(lesion.point)), lesion.point)
        found.marks = [_sized(mark, known) for mark in found.marks]
        found.read.append(of_lesions)
        found.problems += more
    return found


def read_labels(path: Path, options: Options) -> tuple[list[Record], list[str]]:
    """Record of each row of the label table, and the problems of the table.

    Args:
        path: Table with file_name and label ("Nodule", "No Finding", or empty). Perhaps with LIDC_ID (empty for NIH) or
            a column of patients; spacing_mm, millimetres per pixel of the image as it is stored; view ("PA", "AP",
            "lateral"), sex ("F", "M", "other") and age_years of the patient.
        options: With the column of the patient, and the words of the labels.
    """
    table = csvfile.table(path)
    titles = {
        "file_name": table.find(["file_name", *columns.FILE]),
        "label": table.find(["label", *columns.LABEL]),
        "lidc": table.find(["LIDC_ID"]),
        "spacing_mm": table.find(columns.SPACING),
        "view": table.find(columns.VIEW),
        "sex": table.find(columns.SEX),
        "age_years": table.find(columns.AGE_YEARS),
    }
    problems = columns.absent(table, {key: titles[key] for key in ("file_name", "label")})
    titles["patient"], wrong = (None, None) if table.problems else columns.patient_title(table, options.patient_column)
    problems += [wrong] if wrong else []
    rows, more = table.select(titles) if not problems else ([], [])
    problems += more
    words = labels.chosen(options, *([word for word, one in WORDS.items() if one == label] for label in (1, 0)))
    records = []
    for row in rows:
        where = table.where(row)
        name, word, lidc_id = row.cells["file_name"], row.cells["label"], names.known_id(row.cells["lidc"])
        label = words.label(labels.findings(word))
        if not name:
            problems.append(f"{where}: no file name")
            continue
        if label is None and not columns.is_nothing(word) and not words.open:
            problems.append(f"{where}: {name!r} is labelled {word!r}, wanted one of {', '.join(WORDS)}")
            continue
        spacing, wrong = columns.spacing_mm(row.cells["spacing_mm"])
        context, odd = columns.context(row.cells)
        if wrong or odd:
            problems += [f"{where}: {name!r} has {text}" for text in (wrong, *odd) if text]
            continue
        patient = names.known_id(row.cells["patient"])
        records.append(
            Record(
                name,
                where,
                label,
                patient or lidc_id,
                spacing,
                context,
                LIDC if lidc_id and not patient else None,
                () if label is not None else (labels.notice(word),),
            )
        )
    return records, problems


def read_points(path: Path, options: Options) -> tuple[list[Record], list[Mark], list[str]]:
    """Patients and nodules of a table, and the problems of the table.

    Args:
        path: Table with file_name, and x and y or a box, in the unit of `points_unit`; perhaps with diameter_mm,
            diameter_px and contrast, and a column of patients.
        options: With the unit and the column of the patient.
    """
    table = csvfile.table(path)
    title = table.find(["file_name", *columns.FILE])
    how = columns.point_columns(table)
    problems = columns.absent(table, {"file_name": title})
    if how is None and not table.problems:
        problems += columns.absent(table, {name: table.find([name]) for name in ("x", "y")})
    patient = table.find(columns.PATIENT if options.patient_column == "auto" else [options.patient_column])
    return annotations.points(table, title, how, patient, options, problems)


def _pixel(point: Point) -> tuple[int, int]:
    return round(point.x), round(point.y)


def _sized(mark: Mark, lesions: Mapping[tuple[str, int, int], Point]) -> Mark:
    """A nodule with the sizes and the contrast that the table of lesions says of it, where its own says nothing."""
    lesion = lesions.get((mark.name, *_pixel(mark.point)))
    if lesion is None:
        return mark
    known = {name: value for name in columns.SIZES if (value := getattr(mark.point, name)) is not None}
    return replace(mark, point=replace(lesion, x=mark.point.x, y=mark.point.y, **known))
