"""Layouts of data folders: each module is one, named by `data.ingest.layout`.

A module reads the tables of its layout, and says what it takes from them. It offers

    TAKES      what is read, by subject: label, patient, points, spacing, view, sex, age; for the docs
    FLAT       whether an image is known by its bare name; else by its path
    HOME       folder in which an image that no file was found for is looked for; "" for the data folder itself
    PARTIAL    whether a table may list images that are not here: they are counted, and no rows of the manifest
    recognized(listing) -> bool             whether the folder looks like this layout
    holds(relative) -> bool                 whether an image, by its path, is one of the layout
    source(relative) -> str                 nih, lidc or other, by the path of the image
    tables(listing, options) -> Tables      what the tables say

and `read` joins that with the files: names, patients, contradictions. A new layout is a file and a name in
`ORDER`.

A problem is of one of three kinds, decided here and in `stages.data.ingest`:
  of the folder: its tables contradict themselves, or cannot be read. Nothing is written.
  of an image: a notice that rejects it, or a remark; see `notices`.
  of a file that is no image: the reason in its row of the table of files.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from stages.lib.core.errors import DataError
from stages.lib.images import columns, listing, names
from stages.lib.images.dataset import Context, Folder, Image, Mark, Options, PassedOver, Point, Record, Tables
from stages.lib.images.listing import Entry, Listing, Places
from stages.lib.images.notices import Notice

# The order in which `auto` tries them; the last takes any folder.
ORDER = ("nodulocc", "nih", "vindr", "node21", "jsrt", "padchest", "folder")
NO_CONTEXT = Context()
LISTED = 5  # names that a sentence spells out


def module(name: str) -> ModuleType:
    """The module of a layout."""
    return import_module(f"{__name__}.{name}")


def read(root: str | Path, options: Options) -> Folder:
    """What is in a data folder, with all problems of its tables.

    Args:
        root: The folder; a relative one gives relative paths.
        options: See `Options`.

    Raises:
        DataError: If there is no such folder, or a part of the layout is missing: then nothing more can be said.
    """
    base = Path(root)
    if not base.is_dir():
        raise DataError(f"data folder {base}:", [_no_folder(base)])
    found = listing.read(base)
    name = options.layout if options.layout != "auto" else next(n for n in ORDER if module(n).recognized(found))
    layout = module(name)
    tables = layout.tables(found, options)
    folder = join(found, tables, layout, options)
    folder.problems = [*found.problems, *tables.problems, *folder.problems]
    folder.passed_over = passed_over(found, tables, layout)
    if not folder.images and not folder.problems:
        folder.problems.append(_no_image(found, folder.passed_over))
    return folder


def join(found: Listing, tables: Tables, layout: ModuleType, options: Options) -> Folder:
    """Images of the files and of the tables together, each once."""
    folder = Folder(layout.__name__.rpartition(".")[2])
    folder.points_unit = tables.points_unit if options.points_unit == "auto" else options.points_unit
    folder.marked_on = tables.marked_on
    entries = [entry for entry in found.of("image") if layout.holds(entry.relative)]
    places = Places(entries)
    matched: defaultdict[str, list[Record]] = defaultdict(list)
    absent: defaultdict[str, list[Record]] = defaultdict(list)
    unclear: set[str] = set()
    for record in tables.records:
        places_of = places.find(record.name)
        if len(places_of) == 1:
            matched[places_of[0].relative].append(record)
        elif not places_of:
            absent[names.match_key(record.name) if names.is_plain(record.name) else record.name].append(record)
        elif record.name not in unclear:
            unclear.add(record.name)
            paths = " and ".join(repr(entry.relative) for entry in places_of[:LISTED])
            problem = f"{record.where}: {record.name!r} may be {paths}: write the path in the table, or rename one"
            folder.problems.append(problem)
    for entry in entries:
        told = merged(matched.pop(entry.relative, ()), folder.problems)
        folder.images.append(of_file(entry, told, tables, layout, options))
    missing = [one for one in (merged(records, folder.problems) for records in absent.values()) if one and one.listed]
    if layout.PARTIAL and missing:
        first = some([record.name for record in missing])
        sentence = f"{len(missing)} of {len(missing) + len(folder.images)} images are not in the folder: {first}"
        table = tables.label_table or ""
        tables.remarks[table] = "; ".join(filter(None, (tables.remarks.get(table), sentence)))
        missing = []
    _same_id(folder, missing)
    folder.images += [without_file(found.base, record, tables, layout) for record in missing]
    folder.points = located(tables.marks, places, folder, layout)
    return folder


def merged(records: Sequence[Record], problems: list[str]) -> Record | None:
    """What the rows about one image say together; None without a row.

    A row that says nothing of a thing agrees with one that does. Rows that differ are a problem, and the first counts.
    """
    if len(records) < 2:
        return records[0] if records else None
    first = records[0]
    known: dict[str, Any] = {}
    said_by: dict[str, Record] = {}
    for record in records:
        context = record.context
        said = {
            "label": record.label,
            "patient": record.patient,
            "spacing_mm": record.spacing_mm,
            "folder": record.folder,
            **{what: getattr(context, what) for what in columns.CONTEXT},
        }
        differing = []
        for what, value in said.items():
            if value is not None and known.setdefault(what, value) != value and what != "folder":
                differing.append(f"{what} ({known[what]!r} in {said_by[what].where}, {value!r} here)")
            if value is not None:
                said_by.setdefault(what, record)
        if differing:
            problems.append(f"{record.where}: {record.name!r} is listed before with another {', '.join(differing)}")
    notices = dict.fromkeys(one for record in records for one in record.notices)
    listed = [record for record in records if record.listed]
    if len({(record.table, record.listed) for record in listed}) < len(listed):
        notices[Notice("table", "listed twice")] = None
    if known.get("label") is not None:
        notices = {one: None for one in notices if one.kind != "label"}
    context = Context(*(known.get(what) for what in columns.CONTEXT))
    return replace(
        (listed or records)[0],
        label=known.get("label"),
        patient=known.get("patient"),
        spacing_mm=known.get("spacing_mm"),
        context=first.context if context == first.context else context,
        folder=known.get("folder"),
        notices=tuple(notices),
        listed=bool(listed),
    )


def of_file(entry: Entry, record: Record | None, tables: Tables, layout: ModuleType, options: Options) -> Image:
    """The image of a file, with what the tables say of it."""
    inside, _, name = entry.relative.rpartition("/")
    stem = names.without_ending(name)
    image_id = stem if layout.FLAT or not inside else f"{inside.replace('/', '__')}__{stem}"
    notices: list[Notice] = []
    if refused := entry.problem or names.too_long(image_id):
        notices.append(Notice("file", refused))
    patient = patient_from = None
    if record is not None:
        notices += record.notices
        if record.folder is None or entry.relative.startswith(record.folder + "/"):
            patient, patient_from = record.patient, record.patient_from
        else:
            here = inside.rpartition("/")[2]
            notices.append(Notice("table", f"{record.where} has it in {record.folder}, it is in {here}"))
        if record.name not in (name, entry.relative):
            notices.append(Notice("name", f"{record.name!r} in the table"))
    if tables.label_table is not None and (record is None or not record.listed):
        notices.append(Notice("label", f"no label: it is not in {tables.label_table}"))
    if patient is None and (by_pattern := matched_patient(options.patient_pattern, entry.relative)):
        patient, patient_from = by_pattern, "pattern"
    source = layout.source(entry.relative)
    if patient is None and source != "lidc" and (by_name := names.nih_patient(stem)):
        patient, patient_from = by_name, "name"
    return Image(
        image_id,
        name if layout.FLAT else entry.relative,
        entry.path,
        source,
        patient,
        patient_from if patient else None,
        record.label if record else None,
        tables.label_table if record and record.listed else None,
        record.spacing_mm if record else None,
        record.context if record else NO_CONTEXT,
        tuple(notices),
        record.spacing_size_px if record else None,
    )


def without_file(base: Path, record: Record, tables: Tables, layout: ModuleType) -> Image:
    """The row of an image that a table names and no file is there for."""
    folder = layout.HOME if record.folder is None else record.folder
    relative = f"{folder}/{record.name}" if folder else record.name
    plain = _may_be_file(record, layout)
    wanted = "the bare name of a file" if layout.FLAT else "a path below the folder"
    problem = "file missing" if plain else f"unsafe name: found {record.name!r}, wanted {wanted}"
    patient = record.patient or names.nih_patient(names.without_ending(record.name))
    return Image(
        _absent_id(record, layout),
        record.name,
        str(base / relative) if plain else record.name,
        layout.source(relative if plain else f"{folder}/x"),
        patient,
        ("table" if record.patient else "name") if patient else None,
        record.label,
        tables.label_table,
        record.spacing_mm,
        record.context,
        (Notice("file", problem), *record.notices),
    )


def _may_be_file(record: Record, layout: ModuleType) -> bool:
    return names.is_plain(record.name) and (not layout.FLAT or "/" not in record.name)


def _absent_id(record: Record, layout: ModuleType) -> str:
    """The id that the file would have, if it were there."""
    if not _may_be_file(record, layout):
        return record.name
    parts = [part for part in record.name.replace("\\", "/").split("/") if part not in ("", ".")]
    return names.without_ending("__".join(parts))


def located(marks: Sequence[Mark], places: Places, folder: Folder, layout: ModuleType) -> Mapping[str, Sequence[Point]]:
    """Points of each image, in the order of the table; a repeated one once, with a remark."""
    by_path = {image.path: image for image in folder.images}
    there = {entry.path for entry in places.entries}
    without = {names.match_key(image.file_name): image for image in folder.images if image.path not in there}
    points: defaultdict[str, list[Point]] = defaultdict(list)
    twice: set[str] = set()
    lost: dict[str, str] = {}
    for mark in marks:
        entries = places.find(mark.name)
        if len(entries) > 1:
            paths = " and ".join(repr(entry.relative) for entry in entries[:LISTED])
            problem = f"{mark.where}: {mark.name!r} may be {paths}: write the path in the table, or rename one"
            folder.problems.append(problem)
            continue
        image = by_path.get(entries[0].path) if entries else without.get(names.match_key(mark.name))
        if image is None:
            lost.setdefault(mark.name, mark.where)
        elif mark.point in points[image.image_id]:
            twice.add(image.image_id)
        else:
            points[image.image_id].append(mark.point)
    if not layout.PARTIAL:
        folder.problems += [
            f"{where}: points for {name!r}, which has neither a file nor a label" for name, where in lost.items()
        ]
    if twice:
        repeated = Notice("points", "a point listed twice")
        folder.images = [
            replace(image, notices=(*image.notices, repeated)) if image.image_id in twice else image
            for image in folder.images
        ]
    return dict(points)


def check_pattern(pattern: str) -> str:
    """The pattern, if it is one that `matched_patient` can use.

    Raises:
        ValueError: With what is wanted, if not.
    """
    wanted = "none, or a regular expression with at most one group, such as patient([0-9]+)"
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{wanted} ({error})") from error
    if groups > 1:
        raise ValueError(f"{wanted} (it has {groups} groups; one that is not the patient is written (?:...))")
    return pattern


def matched_patient(pattern: str, relative: str) -> str | None:
    """Patient that `patient_pattern` finds in a path: its first group, or the whole match.

    >>> matched_patient(r"patient([0-9]+)", "a/patient07_view1.png"), matched_patient("none", "a")
    ('07', None)
    """
    if pattern == "none":
        return None
    found = re.search(pattern, relative)
    return names.known_id(found[1] if found and found.re.groups else found[0]) if found else None


def passed_over(found: Listing, tables: Tables, layout: ModuleType) -> list[PassedOver]:
    """Every file that is no image of the layout, with what a reader must know of it."""
    over = []
    for entry in found.entries:
        if entry.role == "image":
            if not layout.holds(entry.relative):
                over.append(PassedOver(entry.relative, "other", "an image outside of the folders of the layout"))
            continue
        reason = tables.remarks.get(entry.relative)
        if entry.role == "archive":
            line = next(line for end, line in listing.ARCHIVES.items() if entry.name.casefold().endswith(end))
            reason = f"an archive is not read; unpack it: {line.format(name=repr(entry.name))}"
        elif entry.role == "table" and entry.relative not in tables.read:
            reason = reason or "a table that the layout does not read"
        over.append(PassedOver(entry.relative, entry.role, reason))
    return over


def some(found: Sequence[str]) -> str:
    """First names, and how many more there are.

    >>> some(["a", "b"]), some(list("abcdefg"))
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    more = len(found) - LISTED
    return ", ".join(found[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _same_id(folder: Folder, missing: Sequence[Record]) -> None:
    """A problem for each two files of one id, and for each row without a file whose id is another's."""
    seen: dict[str, list[str]] = {}
    for image in folder.images:
        seen.setdefault(image.image_id, []).append(image.path)
    folder.problems += [
        f"{' and '.join(map(repr, paths[:LISTED]))} would both be {image_id!r}: rename one"
        for image_id, paths in seen.items()
        if len(paths) > 1
    ]
    rows: dict[str, Record] = {}
    for record in missing:
        image_id = _absent_id(record, import_module(f"{__name__}.{folder.layout}"))
        if image_id in seen:
            folder.problems.append(
                f"{record.where}: there is no file {record.name!r}, and its id would be that of {seen[image_id][0]!r}: "
                "correct the name, or remove the row"
            )
        elif (before := rows.setdefault(image_id, record)) is not record:
            folder.problems.append(
                f"{record.where}: {record.name!r} and {before.name!r} ({before.where}), neither of which is there, "
                f"would both be {image_id!r}: remove one row"
            )


def _no_folder(base: Path) -> str:
    if base.is_file():
        lines = [line for end, line in listing.ARCHIVES.items() if base.name.casefold().endswith(end)]
        if lines:
            return f"an archive, wanted a folder; unpack it: {lines[0].format(name=repr(str(base)))}"
        return "a file, wanted a folder"
    return "found no such folder"


def _no_image(found: Listing, over: Sequence[PassedOver]) -> str:
    counts: defaultdict[str, int] = defaultdict(int)
    for entry in found.entries:
        counts[entry.role] += 1
    held = ", ".join(f"{count} of the kind {role}" for role, count in sorted(counts.items())) or "nothing"
    hints = [one.reason for one in over if one.role == "archive" and one.reason]
    return f"no image in it; found {held}; wanted PNG, DICOM, JPEG or TIFF files" + "".join(f"; {h}" for h in hints[:1])
