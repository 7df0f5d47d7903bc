"""The project's own layout: images, a table of sentences, and a table of boxes.

images/                           any images that can be read, at any depth
sentences.csv (.tsv, .parquet)    image, and sentence or report; number, abnormal, labels
boxes.csv                         image, number, x0, y0, x1, y1; unit, reader
images.csv                        image; patient_id, study_id, split, view, sex, age

A row of sentences is a sentence with its `number` in the report; without that column the order of the rows counts. A
row with `report` is a whole report, which is split into sentences; it has no boxes, as their sentences are the data's
own. `labels` are parted by semicolons or strokes. `unit` is pixels (of the original, what it is without the column) or
fraction; `reader` first (what it is without the column) or second.
"""

import re
from collections import Counter

from stages.lib.images import columns, csvfile, names
from stages.lib.images.listing import Entry, Listing, Places
from stages.lib.images.notices import Notice
from stages.lib.images.reports import sentences
from stages.lib.images.reports.edges import FRACTION, PIXELS
from stages.lib.images.reports.reported import Box, Options, Sentence, Tables, Told, split_named

CREDENTIALED = False
SENTENCES, BOXES, IMAGES = "sentences", "boxes", "images"
ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
SENTENCE = ("sentence", "text", "sentence_text", "phrase")
REPORT = ("report", "report_text", "full_report")
NUMBER = ("number", "sentence_number", "sentence_no")
ABNORMAL = ("abnormal", "is_abnormal")
LABELS = ("labels", "label", "groups", "label_group")
STUDY = ("study_id", "study", "study_uid", "study_instance_uid", "exam_id")
SPLIT = ("split", "set", "subset", "partition")
UNIT = ("unit", "units")
EDGES = {"x0": columns.X_MIN, "y0": columns.Y_MIN, "x1": ("x1", *columns.X_MAX), "y1": ("y1", *columns.Y_MAX)}
READERS = {"": "first", "first": "first", "1": "first", "second": "second", "2": "second"}
UNITS = {"": PIXELS, "pixels": PIXELS, "pixel": PIXELS, "px": PIXELS, "fraction": FRACTION, "fractions": FRACTION}
WORDS = {"": None, **dict.fromkeys(("true", "1", "yes"), True), **dict.fromkeys(("false", "0", "no"), False)}


def recognized(listing: Listing) -> bool:
    """Whether a table of sentences is there."""
    return bool(_entries(listing, SENTENCES))


def tables(listing: Listing, options: Options) -> Tables:
    """What the tables say of each image; of an image without a row, that nothing is said."""
    found = Tables(entries=listing.of("image"))
    images = _Images(found)
    of_sentences = _table(listing, SENTENCES, found.problems)
    if of_sentences is None:
        found.problems.append(f"found no {SENTENCES}.csv in {listing.base}, wanted a table of image and sentence")
    else:
        _read_sentences(of_sentences, images, found.problems)
    if (of_boxes := _table(listing, BOXES, found.problems)) is not None:
        _read_boxes(of_boxes, images, found.problems)
    if (of_images := _table(listing, IMAGES, found.problems)) is not None:
        _read_images(of_images, images, found.problems)
    for entry in found.entries:
        images.of(entry.relative, f"no row of {SENTENCES}.csv is about it")
    found.told = list(images.by_key.values())
    for told in found.told:
        told.sentences.sort(key=lambda sentence: sentence.number)
    return found


class _Images:
    """What is said of each image, whichever way a table spells it."""

    def __init__(self, found: Tables) -> None:
        self.places = Places(found.entries)
        self.by_key: dict[str, Told] = {}

    def of(self, name: str, where: str) -> Told:
        entries = self.places.find(name)
        if len(entries) > 1:
            inside = [entry for entry in entries if entry.relative == f"images/{name}"]
            entries = inside or entries
        key = entries[0].relative if len(entries) == 1 else names.match_key(name)
        return self.by_key.setdefault(key, Told(entries[0].relative if len(entries) == 1 else name, where))


def _entries(listing: Listing, stem: str) -> list[Entry]:
    """Tables of a name at the top of the folder."""
    wanted = {stem + ending for ending in ENDINGS}
    return [entry for entry in listing.of("table") if entry.relative.casefold() in wanted]


def _table(listing: Listing, stem: str, problems: list[str]) -> csvfile.Table | None:
    """The table of a name; None if there is none, or several, which is a problem."""
    entries = _entries(listing, stem)
    if len(entries) > 1:
        problems.append(f"found {' and '.join(entry.relative for entry in entries)}, wanted one of them")
    if len(entries) != 1:
        return None
    wanted = (*SENTENCE, *REPORT, *NUMBER, *ABNORMAL, *UNIT, *SPLIT, *STUDY)
    return csvfile.table(listing.base / entries[0].relative, entries[0].relative, wanted)


def _read_sentences(table: csvfile.Table, images: _Images, problems: list[str]) -> None:
    titles = {"image": table.find(columns.FILE), "sentence": table.find(SENTENCE), "report": table.find(REPORT)}
    optional = {"number": table.find(NUMBER), "abnormal": table.find(ABNORMAL), "labels": table.find(LABELS)}
    wanted = {"image": titles["image"], "sentence": titles["sentence"] or titles["report"]}
    if missing := columns.absent(table, wanted):
        problems += missing
        return
    rows, wrong = table.select({**titles, **optional})
    problems += wrong
    counts: Counter[str] = Counter()
    for row in rows:
        cells, where = row.cells, table.where(row)
        if not cells["image"]:
            problems.append(f"{where}: found no image, wanted the name of a file")
            continue
        told = images.of(cells["image"], where)
        if cells["abnormal"].casefold() not in WORDS:
            problems.append(f"{where}: abnormal {cells['abnormal']!r}, wanted true, false or nothing")
        abnormal = WORDS.get(cells["abnormal"].casefold())
        labels = tuple(label for part in re.split(r"[;|]", cells["labels"]) if (label := part.strip()))
        texts = [cells["sentence"]] if titles["sentence"] else sentences.split(cells["report"])
        if not any(texts):
            problems.append(f"{where}: {cells['image']!r}: found no text, wanted a sentence")
            continue
        for text in texts:
            number = counts[told.name] if not optional["number"] or not titles["sentence"] else _whole(cells["number"])
            counts[told.name] += 1
            if number is None:
                problems.append(
                    f"{where}: {cells['image']!r}: number {cells['number']!r}, wanted a whole number from 0"
                )
            elif any(sentence.number == number for sentence in told.sentences):
                problems.append(f"{where}: {cells['image']!r}: found sentence {number} twice, wanted each number once")
            else:
                told.sentences.append(Sentence(number, text, abnormal, labels))


def _read_boxes(table: csvfile.Table, images: _Images, problems: list[str]) -> None:
    titles = {
        "image": table.find(columns.FILE),
        "number": table.find(NUMBER),
        **{edge: table.find((edge, *names_of)) for edge, names_of in EDGES.items()},
    }
    if missing := columns.absent(table, titles):
        problems += missing
        return
    rows, wrong = table.select({**titles, "unit": table.find(UNIT), "reader": table.find(columns.READER)})
    problems += wrong
    for row in rows:
        cells, where = row.cells, table.where(row)
        number = _whole(cells["number"])
        unit, reader = UNITS.get(cells["unit"].casefold()), READERS.get(cells["reader"].casefold())
        about = f"{where}: {cells['image']!r}"
        if unit is None:
            problems.append(f"{about}: unit {cells['unit']!r}, wanted pixels or fraction")
        if reader is None:
            problems.append(f"{about}: reader {cells['reader']!r}, wanted first or second")
        if not cells["image"] or number is None:
            found = f"image {cells['image']!r}, number {cells['number']!r}"
            problems.append(f"{where}: found {found}, wanted the image and the number of its sentence")
            continue
        told = images.of(cells["image"], where)
        if all(sentence.number != number for sentence in told.sentences):
            have = ", ".join(str(sentence.number) for sentence in told.sentences) or "none"
            problems.append(f"{about}: found a box of sentence {number}, wanted a sentence of its report ({have})")
        elif unit and reader:
            spelt = [cells[edge] for edge in EDGES]
            values = [columns.number(text) for text in spelt]
            left, top, right, bottom = (float("nan") if value is None else value for value in values)
            told_as = ", ".join(text or "nothing" for text in spelt)
            told.boxes.append(Box(number, reader, (left, top, right, bottom), unit, told_as, where))


def _read_images(table: csvfile.Table, images: _Images, problems: list[str]) -> None:
    titles = {
        "image": table.find(columns.FILE),
        "patient": table.find(columns.PATIENT),
        "study": table.find(STUDY),
        "split": table.find(SPLIT),
        "view": table.find(columns.VIEW),
        "sex": table.find(columns.SEX),
        "age_years": table.find(columns.AGE_YEARS),
    }
    if missing := columns.absent(table, {"image": titles["image"]}):
        problems += missing
        return
    rows, wrong = table.select(titles)
    problems += wrong
    seen: dict[str, str] = {}
    for row in rows:
        cells, where = row.cells, table.where(row)
        if not cells["image"]:
            problems.append(f"{where}: found no image, wanted the name of a file")
            continue
        told = images.of(cells["image"], where)
        if (before := seen.setdefault(told.name, where)) != where:
            problems.append(f"{where}: {cells['image']!r} is listed before ({before}), wanted one row of each image")
            continue
        context, odd = columns.context(cells)
        problems += [f"{where}: {cells['image']!r} has {text}" for text in odd]
        split = split_named(cells["split"])
        if split is None and not columns.is_nothing(cells["split"]):
            problems.append(f"{where}: {cells['image']!r}: split {cells['split']!r}, wanted train, val or test")
        told.where, told.split, told.context = where, split, context
        told.patient, told.study = names.known_id(cells["patient"]), names.known_id(cells["study"])
        if context.view == "lateral":
            told.notices.append(Notice("view", "a lateral view, wanted PA or AP"))


def _whole(text: str) -> int | None:
    """Whole number from 0 that a text is, else None.

    >>> _whole("3"), _whole("3.0"), _whole("-1"), _whole("x")
    (3, 3, None, None)
    """
    value = columns.number(text)
    return int(value) if value is not None and value >= 0 and value == int(value) else None
