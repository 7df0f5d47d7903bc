"""Layouts of folders of images with reports: each module is one, named by `lofi.ingest.layout`.

A module offers

    CREDENTIALED   whether the data are given out under an agreement that forbids to pass them on
    recognized(listing) -> bool            whether the folder looks like this layout
    tables(listing, options) -> Tables     what its tables say, and which files may be its images

and `read` joins that with the files: names, and what contradicts itself over the whole folder. A new layout is a file
and a name in `ORDER`.

A problem is of one of two kinds: of the folder (its tables contradict themselves or cannot be read; nothing is
written), or of an image (a notice that rejects it, or a remark; see `notices`).
"""

from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from stages.lib.core.errors import DataError
from stages.lib.images import layouts, listing, names
from stages.lib.images.dataset import Image
from stages.lib.images.listing import Entry, Places
from stages.lib.images.notices import ACCEPTABLE, Notice, rejecting
from stages.lib.images.reports.reported import Options, Reported, ReportFolder, Tables, Told

ORDER = ("padchest_gr", "mimic", "pairs")  # the order in which `auto` tries them


def module(name: str) -> ModuleType:
    """The module of a layout."""
    return import_module(f"{__name__}.{name}")


def read(root: str | Path, options: Options) -> ReportFolder:
    """What is in a folder of images with reports, with all problems of its tables.

    Args:
        root: The folder; a relative one gives relative paths.
        options: See `Options`.

    Raises:
        DataError: If there is no such folder, or it looks like no layout: then nothing more can be said.
    """
    base = Path(root)
    if not base.is_dir():
        found_there = "a file" if base.exists() else "no such folder"
        raise DataError(f"data folder {base}:", [f"found {found_there}, wanted a folder of images with reports"])
    found = listing.read(base)
    name = options.layout
    if name == "auto":
        name = next((one for one in ORDER if module(one).recognized(found)), "")
        if not name:
            wanted = "wanted sentences.csv (or .parquet) beside images/, or the tables of a public data set"
            raise DataError(f"data folder {base}:", [f"found no table of sentences or reports; {wanted}"])
    tables = module(name).tables(found, options)
    folder = joined(tables, str(base))
    folder.layout = name
    folder.problems = [*found.problems, *tables.problems, *folder.problems, *contradictions(folder.images)]
    folder.remarks = tables.remarks
    if not folder.images and not folder.problems:
        folder.problems.append("found no image in it, wanted PNG, DICOM, JPEG or TIFF files")
    return folder


def joined(tables: Tables, base: str) -> ReportFolder:
    """The images that the tables tell of, each with its file."""
    folder = ReportFolder("")
    places = Places(tables.entries)
    of_id: defaultdict[str, list[str]] = defaultdict(list)
    for told in tables.told:
        if not _can_be_written(told):
            folder.problems.append(f"{told.where}: found half of a character in a text or id, wanted UTF-8 text")
            continue
        found = places.find(told.name)
        if len(found) > 1:
            paths = " and ".join(repr(entry.relative) for entry in found[: layouts.LISTED])
            folder.problems.append(f"{told.where}: {told.name!r} may be {paths}: write the path in the table")
            continue
        image = _image(told, found[0] if found else None, base, flat=tables.flat)
        of_id[image.image_id].append(told.name)
        folder.images.append(Reported(image, told))
    folder.problems += [
        f"found {' and '.join(map(repr, spelt[: layouts.LISTED]))} for the id {image_id!r}, wanted one: rename them"
        for image_id, spelt in of_id.items()
        if len(spelt) > 1
    ]
    return folder


def _can_be_written(told: Told) -> bool:
    """Whether all texts are UTF-8: JSON can spell half of a character."""
    labels = [label for sentence in told.sentences for label in sentence.labels]
    texts = (told.name, told.patient, told.study, *(sentence.text for sentence in told.sentences), *labels)
    try:
        "".join(filter(None, texts)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _image(told: Told, entry: Entry | None, base: str, *, flat: bool) -> Image:
    """The image of a file, or of a row without one."""
    relative = entry.relative if entry else told.name.replace("\\", "/")
    inside = relative.rpartition("/")[2] if flat else relative.removeprefix("images/")
    image_id = names.without_ending("__".join(part for part in inside.split("/") if part not in ("", ".")))
    notices = list(told.notices)
    if entry is None:
        plain = names.is_plain(told.name)
        missing = "found no such file" if plain else f"unsafe name: found {told.name!r}"
        wanted = f"wanted a file below the folder for {len(told.sentences)} sentence(s) of {told.where}"
        notices.insert(0, Notice("file", f"{missing}, {wanted}"))
        image_id = image_id if plain else told.name
    elif refused := entry.problem or names.too_long(image_id):
        notices.insert(0, Notice("file", refused))
    if not told.sentences:
        notices.append(Notice("report", "found no sentence of its report, wanted one or more"))
    return Image(
        image_id or told.name,
        told.name if entry is None else inside,
        entry.path if entry else f"{base}/{relative}",
        "other",
        told.patient or told.study,
        ("table" if told.patient else "study") if told.patient or told.study else None,
        context=told.context,
        notices=tuple(notices),
    )


def contradictions(images: Sequence[Reported]) -> list[str]:
    """What is said of studies, patients and splits over the whole folder that cannot be."""
    problems = []
    for what, attribute in (("study", "study"), ("patient", "patient")):
        splits: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for one in images:
            name = getattr(one.told, attribute)
            if name is not None and one.told.split is not None:
                splits[name].setdefault(one.told.split, one.told.where)
        problems += [
            f"{what} {name!r} is in two splits or more: "
            + ", ".join(f"{split} ({where})" for split, where in sorted(found.items()))
            + ", wanted one"
            for name, found in splits.items()
            if len(found) > 1
        ]
    patients: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for one in images:
        if one.told.study is not None and one.told.patient is not None:
            patients[one.told.study].setdefault(one.told.patient, one.told.where)
    problems += [
        f"study {study!r} is of two patients or more: "
        + ", ".join(f"{patient!r} ({where})" for patient, where in sorted(found.items()))
        + ", wanted one"
        for study, found in patients.items()
        if len(found) > 1
    ]
    taken = [one.told for one in images if not rejecting(one.image.notices, ACCEPTABLE)]
    without = sorted(told.name for told in taken if told.split is None)
    if without and len(without) < len(taken):
        problems.append(
            f"found no split of {len(without)} of {len(taken)} images ({layouts.some(without)}), wanted one of each "
            "image, or of none: then the images are split by lofi.pair"
        )
    return problems
