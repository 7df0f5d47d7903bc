"""The layout of PadChest.

0/ ... 54/                                          16-bit PNG, any part of them, at any depth
PADCHEST_chest_x_ray_images_labels_160K*.csv        or .csv.gz, as it is given out

A label is a word of the list in the column Labels. A nodule is "nodule" or "multiple nodules"; "pseudonodule",
"pulmonary mass" and "granuloma" are none of these words, so that such an image, unless it has one of them too, is not
labelled. The age is the difference of two years.

Source: Bustos et al., PadChest, Medical Image Analysis 66, 2020.
"""

import re

from stages.lib.core.errors import DataError
from stages.lib.images import columns, csvfile, labels, names
from stages.lib.images.dataset import Context, Options, Record, Tables
from stages.lib.images.listing import Entry, Listing
from stages.lib.images.notices import Notice

TABLE = "padchest_chest_x_ray_images_labels"
POSITIVE = ("nodule", "multiple nodules")
NEGATIVE = ("normal",)
VIEWS = {"PA": "PA", "AP": "AP", "AP_horizontal": "AP", "L": "lateral"}
NO_FRONTAL = {"L": "a lateral view", "COSTAL": "a view of the ribs", "EXCLUDE": "excluded by its authors"}
WORD = re.compile(r"'([^']*)'|\"([^\"]*)\"")
COLUMNS = {
    "name": "ImageID",
    "labels": "Labels",
    "patient": "PatientID",
    "birth": "PatientBirth",
    "date": "StudyDate_DICOM",
    "sex": "PatientSex_DICOM",
    "projection": "Projection",
}
REQUIRED = ("name", "labels")

FLAT = True
HOME = ""
PARTIAL = True
TAKES = {
    "label": "PADCHEST_*.csv: Labels, with nodule or multiple nodules, or normal alone",
    "patient": "PADCHEST_*.csv: PatientID",
    "points": "none",
    "spacing": "none",
    "view": "PADCHEST_*.csv: Projection; L, COSTAL and EXCLUDE take no part unless data.ingest.accept has view",
    "sex": "PADCHEST_*.csv: PatientSex_DICOM",
    "age": "PADCHEST_*.csv: year of StudyDate_DICOM less PatientBirth",
}


def recognized(listing: Listing) -> bool:
    """Whether its table of labels is there, at any depth."""
    return _table(listing) is not None


def holds(relative: str) -> bool:
    """Every image."""
    return True


def source(relative: str) -> str:
    """Neither the NIH's nor LIDC's."""
    return "other"


def tables(listing: Listing, options: Options) -> Tables:
    """Labels.

    Raises:
        DataError: If the table is missing.
    """
    entry = _table(listing)
    if entry is None:
        wanted = "no file PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv, the table of labels of PadChest"
        raise DataError(f"data folder {listing.base} (data.ingest.layout: padchest):", [wanted])
    table = csvfile.table(listing.base / entry.relative, entry.relative, tuple(COLUMNS.values()))
    words = labels.chosen(options, POSITIVE, NEGATIVE)
    spelt = names.by_stem(image.name for image in listing.of("image"))
    records, problems = read_labels(table, words, options, spelt)
    return Tables(records, label_table=entry.relative, read=[entry.relative], problems=problems)


def read_labels(
    table: csvfile.Table, words: labels.Words, options: Options, spelt: dict[str, str]
) -> tuple[list[Record], list[str]]:
    """Record of each row, and the problems of the table.

    Args:
        table: With the columns of `COLUMNS`.
        words: What the labels mean.
        options: With `patient_column`.
        spelt: Names of the files by `names.stem_key`: other copies have other endings.
    """
    titles = {key: table.find([title]) for key, title in COLUMNS.items()}
    problems = list(table.problems) or [
        f"{table.name}: no column {COLUMNS[key]!r}; found {', '.join(table.titles)}"
        for key in REQUIRED
        if titles[key] is None
    ]
    if options.patient_column != "auto":
        titles["patient"], problem = columns.patient_title(table, options.patient_column)
        problems += [problem] if problem else []
    if problems:
        return [], problems
    rows, problems = table.select(titles)
    said: dict[str, tuple[int | None, Notice | None]] = {}
    records = []
    for row in rows:
        cells, where = row.cells, table.where(row)
        if not cells["name"]:
            problems.append(f"{where}: no file name")
            continue
        if cells["labels"] not in said:
            said[cells["labels"]] = _label(cells["labels"], words)
        label, unlabelled = said[cells["labels"]]
        age_years, odd = age(cells["birth"], cells["date"])
        projection = cells["projection"]
        notices = [unlabelled] if unlabelled else []
        if projection in NO_FRONTAL:
            notices.append(Notice("view", f"its Projection is {projection}: {NO_FRONTAL[projection]}"))
        elif projection not in VIEWS and not columns.is_nothing(projection):
            notices.append(Notice("table", f"Projection {projection!r}, wanted one of {', '.join(VIEWS)}"))
        if odd:
            notices.append(Notice("table", odd))
        records.append(
            Record(
                spelt.get(names.stem_key(cells["name"]), cells["name"]),
                where,
                label,
                names.known_id(cells["patient"]),
                context=Context(VIEWS.get(projection), columns.SEXES.get(cells["sex"].casefold()), age_years),
                notices=tuple(notices),
            )
        )
    return records, problems


def findings(cell: str) -> list[str] | None:
    """The words of a list as Python prints it, stripped; None if the cell is no such list. Nothing is evaluated.

    >>> findings("['nodule', ' normal', \\"crow's\\"]"), findings("[]"), findings("nan"), findings("nodule")
    (['nodule', 'normal', "crow's"], [], [], None)
    """
    if columns.is_nothing(cell):
        return []
    if not (cell.startswith("[") and cell.endswith("]")) or WORD.sub("", cell[1:-1]).strip(" ,"):
        return None
    return [word for match in WORD.finditer(cell) if (word := (match[1] or match[2] or "").strip())]


def age(birth: str, date: str) -> tuple[float | None, str | None]:
    """Age in years by the year of birth and the date of the study, and a sentence if it cannot be one.

    >>> age("1936.0", "20140915"), age("", "20140915")
    ((78.0, None), (None, None))
    """
    year, day = columns.number(birth), columns.number(date)
    if columns.is_nothing(birth) or columns.is_nothing(date):
        return None, None
    years = (day // 10000) - year if year is not None and day is not None else None
    if years is None or not 0 <= years <= columns.MAX_AGE_YEARS:
        return None, f"born in {birth!r}, study of {date!r}: no age from 0 to {columns.MAX_AGE_YEARS}"
    return years, None


def _label(cell: str, words: labels.Words) -> tuple[int | None, Notice | None]:
    found = findings(cell)
    if found is None:
        return None, Notice("label", f"no label: {cell!r} is no list of words, wanted such as ['nodule', 'normal']")
    label = words.label(found)
    return label, None if label is not None else labels.notice(*labels.unknown(found, words))


def _table(listing: Listing) -> Entry | None:
    found = [entry for entry in listing.of("table") if entry.name.casefold().startswith(TABLE)]
    return found[0] if found else None
