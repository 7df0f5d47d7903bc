"""The layout of PadChest-GR.

grounded_reports_*.json           reports: sentences, and boxes of two readers
master_table.csv                  or in a ZIP archive; patient and split of each study
PadChest_GR.zip.001 to .037       16-bit PNG; or unpacked, at any depth

Boxes are fractions of the image before any padding. `boxes` are those of the first reader, `extra_boxes` of a second;
sentences about nothing abnormal often lack these keys. English sentences are taken. Known by its description, not from
the files themselves.

Source: de Castro et al., PadChest-GR, arXiv 2411.05085, 2024.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.lib.core.errors import ImageError
from stages.lib.images import archives, columns, csvfile, jsonlist, names
from stages.lib.images.dataset import Context
from stages.lib.images.listing import Entry, Listing
from stages.lib.images.notices import Notice
from stages.lib.images.reports.edges import FRACTION
from stages.lib.images.reports.reported import Box, Options, Sentence, Tables, Told, edges_of, split_named

CREDENTIALED = True
REPORTS, MASTER = "grounded_reports_", "master_table"
IMAGES = "padchest_gr"  # how the archive of the images begins
READERS = {"boxes": "first", "extra_boxes": "second"}
COLUMNS = {
    "study": "StudyID",
    "image": "ImageID",
    "patient": "PatientID",
    "sex": "PatientSex_DICOM",
    "split": "split",
}
REQUIRED = ("study", "image", "patient", "split")


def recognized(listing: Listing) -> bool:
    """Whether its reports are there, at any depth."""
    return _reports(listing) is not None


def tables(listing: Listing, options: Options) -> Tables:
    """What its reports and its table say, and the images of the folder and of its archive."""
    found = Tables(entries=listing.of("image"), flat=True)
    found.problems += archives.missing([entry.name for entry in listing.entries])
    if not found.problems:
        have = {names.match_key(entry.name) for entry in found.entries}
        for archive in _archives(listing):
            packed = archives.entries(archive, found.problems)
            found.entries += [entry for entry in packed if names.match_key(entry.name) not in have]
    reports = _reports(listing)
    entries: list[Any] = []
    if reports is None:
        found.problems.append(f"found no {REPORTS}*.json in {listing.base}, wanted the reports of PadChest-GR")
    else:
        entries = jsonlist.read(listing.base / reports.relative, found.problems, reports.relative)
    of_image = _master(listing, found.problems)
    told: dict[str, Told] = {}
    for number, entry in enumerate(entries):
        one = _report(entry, f"{reports.relative if reports else ''}/{number}", found.problems)
        if one is None:
            continue
        if (before := told.setdefault(one.name, one)) is not one:
            found.problems.append(f"{one.where}: {one.name!r} has a report before ({before.where}), wanted one report")
    if of_image is not None:
        for one in told.values():
            _complete(one, of_image.get(one.name), found.problems)
    found.told = list(told.values())
    without = [name for name in of_image or {} if name not in told]
    if without and entries:
        first = ", ".join(repr(name) for name in without[:5])
        found.remarks.append(f"{len(without)} images of {MASTER}.csv have no report, and take no part: {first}")
    return found


def _reports(listing: Listing) -> Entry | None:
    wanted = [e for e in listing.entries if e.name.startswith(REPORTS) and e.name.endswith(".json")]
    return wanted[-1] if wanted else None  # the latest, by its date


def _archives(listing: Listing) -> list[Entry]:
    """The archive of the images, or the first of its parts."""
    begins = [entry for entry in listing.entries if entry.name.casefold().startswith(IMAGES)]
    return [entry for entry in begins if entry.name.casefold().endswith((archives.ZIP, ".zip.001"))]


def _report(entry: Any, where: str, problems: list[str]) -> Told | None:
    """What one report says; None if it is none, which is a problem."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("ImageID"), str):
        problems.append(f"{where}: found {jsonlist.spelt(entry)}, wanted an object with ImageID, StudyID and findings")
        return None
    told = Told(entry["ImageID"], where, study=names.known_id(str(entry.get("StudyID") or "")))
    findings = entry.get("findings")
    if not isinstance(findings, Sequence) or isinstance(findings, str):
        problems.append(f"{where}: findings: found {jsonlist.spelt(findings)}, wanted a list")
        return told
    for number, finding in enumerate(findings):
        _finding(told, finding, number, problems)
    return told


def _finding(told: Told, finding: Any, number: int, problems: list[str]) -> None:
    """Add a sentence and its boxes."""
    where = f"{told.where}: {told.name!r}, findings/{number}"
    text = finding.get("sentence_en") if isinstance(finding, Mapping) else None
    if not isinstance(text, str) or not text.strip():
        problems.append(f"{where}: found {jsonlist.spelt(finding)}, wanted an object with a text sentence_en")
        return
    abnormal, labels = finding.get("abnormal"), finding.get("labels") or []
    if abnormal not in (None, True, False):
        problems.append(f"{where}: abnormal {jsonlist.spelt(abnormal)}, wanted true or false")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        problems.append(f"{where}: labels {jsonlist.spelt(labels)}, wanted a list of words")
        labels = []
    told.sentences.append(Sentence(number, text, bool(abnormal) if abnormal is not None else None, tuple(labels)))
    for key, reader in READERS.items():
        drawn = finding.get(key) or []
        for place, box in enumerate(drawn if isinstance(drawn, list) else [drawn]):
            at = f"{where}/{key}/{place}"
            told.boxes.append(Box(number, reader, edges_of(box), FRACTION, _spelt(box), at))


def _spelt(box: Any) -> str:
    return jsonlist.spelt(box).strip("[]")


def _complete(told: Told, row: tuple[dict[str, str], str] | None, problems: list[str]) -> None:
    """Add what the master table says of an image."""
    if row is None:
        told.notices.append(Notice("listing", f"{MASTER}.csv has no row of it, wanted its patient and its split"))
        return
    cells, where = row
    if told.study is not None and cells["study"] and told.study != cells["study"]:
        found = f"found the study {cells['study']!r}, wanted {told.study!r}, as in {told.where}"
        problems.append(f"{where}: {told.name!r}: {found}")
    told.where = where
    told.study, told.patient = told.study or names.known_id(cells["study"]), names.known_id(cells["patient"])
    told.context = Context(sex=columns.SEXES.get(cells["sex"].casefold()))
    told.split = split_named(cells["split"])
    if told.split is None:
        problems.append(f"{where}: {told.name!r}: split {cells['split']!r}, wanted train, validation or test")


def _master(listing: Listing, problems: list[str]) -> dict[str, tuple[dict[str, str], str]] | None:
    """Cells and place of the first row of each image, in the master table; None if it cannot be read."""
    table = _master_table(listing, problems)
    if table is None:
        return None
    titles = {key: table.find([title]) for key, title in COLUMNS.items()}
    if missing := columns.absent(table, {key: titles[key] for key in REQUIRED}):
        problems += missing
        return None
    rows, wrong = table.select(titles)
    problems += wrong
    found: dict[str, tuple[dict[str, str], str]] = {}
    for row in rows:
        first, where = found.setdefault(row.cells["image"], (row.cells, table.where(row)))
        for key in REQUIRED:
            if first[key] != row.cells[key]:
                told = f"{COLUMNS[key]} {row.cells[key]!r}, in {where} {first[key]!r}"
                problems.append(f"{table.where(row)}: {row.cells['image']!r} has {told}: wanted one")
    return found


def _master_table(listing: Listing, problems: list[str]) -> csvfile.Table | None:
    entries = [entry for entry in listing.entries if entry.name.casefold().startswith(MASTER)]
    plain = [entry for entry in entries if entry.role == "table"]
    packed = [entry for entry in entries if entry.name.casefold().endswith(archives.ZIP)]
    if plain:
        return csvfile.table(Path(plain[0].path), plain[0].relative, tuple(COLUMNS.values()))
    if not packed:
        problems.append(f"found no {MASTER}.csv in {listing.base}, wanted the table of patients and splits")
        return None
    path = Path(packed[0].path)
    try:
        inside = next(name for name in archives.names(path) if name.rpartition("/")[2].startswith(MASTER))
        data = archives.read(path, inside)
    except (ImageError, OSError, StopIteration) as error:
        problems.append(f"{packed[0].relative}: found {error or 'no table in it'}, wanted {MASTER}.csv")
        return None
    name = f"{packed[0].relative}/{inside}"
    if wrong := csvfile.not_text(data):
        problems.append(f"{name}: {wrong}")
        return None
    return csvfile.parse_table(data.decode("utf-8-sig"), name, tuple(COLUMNS.values()))
