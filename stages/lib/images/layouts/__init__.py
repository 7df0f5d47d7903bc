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

from stages.lib.core.errors import DataError
from stages.lib.images import listing, names
from stages.lib.images.dataset import Folder, Image, Mark, Options, PassedOver, Point, Record, Tables
from stages.lib.images.listing import Entry, Listing
from stages.lib.images.notices import Notice

ORDER = ("nodulocc", "folder")  # in which `auto` tries them; the last takes any folder
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
    entries = [entry for entry in found.of("image") if layout.holds(entry.relative)]
    records, folder.problems = agreed(tables.records)
    places = Places(entries)
    matched: dict[str, Record] = {}
    absent: list[Record] = []
    for record in records:
        entry = places.find(record.name, folder.problems, record.where)
        if entry is None:
            absent.append(record)
        elif (before := matched.setdefault(entry.relative, record)) is not record:
            problem = f"{record.where}: {record.name!r} is the file of {before.name!r} ({before.where}): remove one row"
            folder.problems.append(problem)
    for entry in entries:
        folder.images.append(of_file(found.base, entry, matched.get(entry.relative), tables, layout, options))
    if layout.PARTIAL and absent:
        sentence = f"{len(absent)} of {len(records)} images are not in the folder: " + some(
            [record.name for record in absent]
        )
        tables.remarks[tables.label_table or ""] = sentence
    else:
        folder.images += [without_file(found.base, record, tables, layout) for record in absent]
    _same_id(folder)
    folder.points = located(tables.marks, places, folder, layout)
    return folder


class Places:
    """Files by what a table may call them."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.exact: defaultdict[str, list[Entry]] = defaultdict(list)
        self.loose: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            for name in {entry.relative, entry.name}:
                self.exact[name].append(entry)
                self.loose[names.match_key(name)].append(entry)

    def find(self, name: str, problems: list[str], where: str) -> Entry | None:
        """The file that a table means: by its name or path, else without ending, letter case and form of Unicode."""
        for found in (self.exact.get(name), self.loose.get(names.match_key(name))):
            if found and len(found) > 1:
                paths = " and ".join(repr(entry.relative) for entry in found[:LISTED])
                problems.append(f"{where}: {name!r} may be {paths}: write the path in the table, or rename one")
                return found[0]
            if found:
                return found[0]
        return None


def agreed(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """One record of each image, and a sentence for each two that differ."""
    kept: dict[str, Record] = {}
    problems = []
    for record in records:
        before = kept.setdefault(record.name, record)
        if before is record:
            continue
        differing = [
            what
            for what, one, other in (
                ("label", before.label, record.label),
                ("patient", before.patient, record.patient),
                ("spacing_mm", before.spacing_mm, record.spacing_mm),
                ("view, sex or age", before.context, record.context),
            )
            if one != other
        ]
        if differing:
            problems.append(f"{record.where}: {record.name!r} is listed before with another {', '.join(differing)}")
        elif (twice := Notice("table", "listed twice")) not in before.notices:
            kept[record.name] = replace(before, notices=(*before.notices, twice))
    return list(kept.values()), problems


def of_file(
    base: Path, entry: Entry, record: Record | None, tables: Tables, layout: ModuleType, options: Options
) -> Image:
    """The image of a file, with what the tables say of it."""
    path = base / entry.relative
    parts = entry.relative.split("/")
    stem = names.without_ending(entry.name)
    image_id = stem if layout.FLAT else "__".join([*parts[:-1], stem])
    notices: list[Notice] = []
    if refused := names.refusal(Path(entry.path), base, image_id):
        notices.append(Notice("file", refused))
    image = Image(image_id, entry.name if layout.FLAT else entry.relative, entry.path, layout.source(entry.relative))
    patient, patient_from = None, None
    if record is not None:
        image = replace(image, label=record.label, label_from=tables.label_table, context=record.context)
        image = replace(image, spacing_mm=record.spacing_mm)
        notices += record.notices
        if record.folder is None or entry.relative.startswith(record.folder + "/"):
            patient, patient_from = record.patient, "table"
        else:
            notices.append(Notice("table", f"{record.where} has it in {record.folder}, it is in {path.parent.name}"))
        if record.name not in (entry.name, entry.relative):
            notices.append(Notice("name", f"{record.name!r} in the table"))
    elif tables.label_table is not None:
        notices.append(Notice("label", f"no label: it is not in {tables.label_table}"))
    if patient is None and (by_pattern := matched_patient(options.patient_pattern, entry.relative)):
        patient, patient_from = by_pattern, "pattern"
    if patient is None and layout.source(entry.relative) != "lidc" and (by_name := names.nih_patient(stem)):
        patient, patient_from = by_name, "name"
    return replace(image, patient=patient, patient_from=patient_from if patient else None, notices=tuple(notices))


def without_file(base: Path, record: Record, tables: Tables, layout: ModuleType) -> Image:
    """The row of an image that a table names and no file is there for."""
    folder = layout.HOME if record.folder is None else record.folder
    relative = f"{folder}/{record.name}" if folder else record.name
    plain = names.is_plain(record.name) and (not layout.FLAT or "/" not in record.name)
    wanted = "the bare name of a file" if layout.FLAT else "a path below the folder"
    problem = "file missing" if plain else f"unsafe name: found {record.name!r}, wanted {wanted}"
    patient = record.patient or names.nih_patient(names.without_ending(record.name))
    return Image(
        names.without_ending(record.name) if plain else record.name,
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


def located(marks: Sequence[Mark], places: Places, folder: Folder, layout: ModuleType) -> Mapping[str, Sequence[Point]]:
    """Points of each image, in the order of the table; a repeated one once, with a remark."""
    by_path = {image.path: image for image in folder.images}
    by_name = {image.file_name: image for image in folder.images}
    points: defaultdict[str, list[Point]] = defaultdict(list)
    twice: set[str] = set()
    lost: dict[str, str] = {}
    for mark in marks:
        entry = places.find(mark.name, [], mark.where)
        image = by_path.get(entry.path) if entry is not None else by_name.get(mark.name)
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
    repeated = Notice("points", "a point listed twice")
    folder.images = [
        replace(image, notices=(*image.notices, repeated)) if image.image_id in twice else image
        for image in folder.images
    ]
    return dict(points)


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
            reason = "a table that the layout does not read"
        over.append(PassedOver(entry.relative, entry.role, reason))
    return over


def some(found: Sequence[str]) -> str:
    """First names, and how many more there are.

    >>> some(["a", "b"]), some(list("abcdefg"))
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    more = len(found) - LISTED
    return ", ".join(found[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _same_id(folder: Folder) -> None:
    seen: defaultdict[str, list[str]] = defaultdict(list)
    for image in folder.images:
        seen[image.image_id].append(image.path)
    folder.problems += [
        f"{' and '.join(map(repr, paths[:LISTED]))} would both be {image_id!r}: rename one"
        for image_id, paths in seen.items()
        if len(paths) > 1
    ]


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
