"""The layout of the JSRT database.

JPCLN001.IMG ... JPCLN154.IMG     with a nodule, at any depth; as given out, or converted (.png, .dcm and the like)
JPCNN001.IMG ... JPCNN093.IMG     without
CLNDAT_EN.txt                     without header: name, subtlety, size in mm, age, sex, x, y, and words of the diagnosis
CNNDAT_EN.txt                     name, age, sex

All are PA views, one of each patient. The places are taken as pixels of 2048 x 2048 from 0, so that they fit an image
that was converted to another size, too. 0.175 mm is the size of a pixel of 2048 x 2048.

Source: Shiraishi et al., AJR 174, 2000, and the tables themselves, whose order is not that of the user's guide.
"""

import itertools
import re

from stages.lib.images import columns, csvfile, names
from stages.lib.images.dataset import Context, Mark, Options, Point, Record, Tables
from stages.lib.images.listing import Entry, Listing

NAME = re.compile(r"JPC([LN])N[0-9]{3}", re.IGNORECASE)
TABLES = ("clndat", "cnndat")
LABELS = {"L": 1, "N": 0}
SPACING_MM = 0.175
SIDE_PX = 2048
FIELDS = {"clndat": ("subtlety", "size", "age", "sex", "x", "y"), "cnndat": ("age", "sex")}

FLAT = True
HOME = ""
PARTIAL = True
TAKES = {
    "label": "name of the image: JPCLN with a nodule, JPCNN without",
    "patient": "name of the image: each is another patient",
    "points": "CLNDAT_EN.txt: x, y and the size in mm",
    "spacing": "0.175 mm at 2048 x 2048",
    "view": "PA, all of them",
    "sex": "CLNDAT_EN.txt, CNNDAT_EN.txt: sex",
    "age": "CLNDAT_EN.txt, CNNDAT_EN.txt: age",
}


def recognized(listing: Listing) -> bool:
    """Whether there are images, and all have such names."""
    images = listing.of("image")
    return bool(images) and all(_named(entry.name) for entry in images)


def holds(relative: str) -> bool:
    """Images of such names."""
    return _named(relative.rpartition("/")[2]) is not None


def source(relative: str) -> str:
    """Neither the NIH's nor LIDC's."""
    return "other"


def tables(listing: Listing, options: Options) -> Tables:
    """Labels of the names, and what the two tables say, if they are there."""
    spelt = names.by_stem(entry.name for entry in listing.of("image"))
    found = Tables(points_unit=f"{SIDE_PX}x{SIDE_PX}")
    context: dict[str, Context] = {}
    for entry in listing.entries:
        kind = next((kind for kind in TABLES if entry.name.casefold().startswith(kind)), None)
        if kind is not None and entry.role in ("table", "other"):
            found.read.append(entry.relative)
            _read(listing, entry, kind, context, spelt, found)
    for entry in listing.of("image"):
        if (match := _named(entry.name)) is not None:
            stem = names.stem_key(entry.name)
            found.records.append(
                Record(
                    entry.name,
                    f"{entry.relative} name 1",
                    LABELS[match[1].upper()],
                    names.without_ending(entry.name),
                    SPACING_MM,
                    context.get(stem, Context("PA")),
                    patient_from="name",
                    spacing_size_px=(SIDE_PX, SIDE_PX),
                )
            )
    return found


def _named(name: str) -> re.Match[str] | None:
    return NAME.fullmatch(names.without_ending(name))


def _read(
    listing: Listing, entry: Entry, kind: str, context: dict[str, Context], spelt: dict[str, str], found: Tables
) -> None:
    """Add what a table says to `context` and to the points and problems of `found`."""
    try:
        data = (listing.base / entry.relative).read_bytes()
    except OSError as error:
        found.problems.append(f"{entry.relative}: {error.strerror or error}")
        return
    if b"\0" in data or data.startswith(tuple(csvfile.WORKBOOKS)):
        found.problems.append(f"{entry.relative}: not plain text (UTF-16, or a workbook): {csvfile.CHOOSE}")
        return
    # Only names, numbers and words of ASCII are taken. Rows are told by their names: some copies lack a line break.
    text = data.decode("latin-1")
    starts = [match.start() for match in NAME.finditer(text)]
    if not starts:
        found.problems.append(f"{entry.relative}: found no name of an image, wanted such as JPCLN001.IMG")
    for start, end in itertools.pairwise([*starts, len(text)]):
        where = f"{entry.relative} line {len(text[:start].splitlines()) or 1}"
        _row(text[start:end], kind, where, context, spelt, found)


def _row(text: str, kind: str, where: str, context: dict[str, Context], spelt: dict[str, str], found: Tables) -> None:
    name, *values = re.split(r"[\s,;]+", text.strip().replace('"', ""))
    cells = dict(zip(FIELDS[kind], [*values, *[""] * len(FIELDS[kind])], strict=False))
    told, odd = columns.context({"view": "PA", "sex": cells["sex"], "age_years": cells["age"]})
    wanted = f"wanted the name, {', '.join(FIELDS[kind])}"
    if odd:
        found.problems.append(f"{where}: {name!r} has {'; '.join(odd)}; {wanted}")
        return
    stem = names.stem_key(name)
    context[stem] = told
    if kind == "cnndat":
        return
    x, y, size = (columns.number(cells[key]) for key in ("x", "y", "size"))
    if x is None or y is None or not (columns.is_nothing(cells["size"]) or (size is not None and size > 0)):
        told_of = ", ".join(repr(cells[key]) for key in ("size", "x", "y"))
        found.problems.append(f"{where}: {name!r} has the size and the place {told_of}, wanted numbers; {wanted}")
        return
    found.marks.append(Mark(spelt.get(stem, name), where, Point(x, y, diameter_mm=size)))
