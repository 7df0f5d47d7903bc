"""Layouts of data folders: the images, their patients, and the facts of the tables. No image is opened here.

Two layouts. The challenge's: two folders of images and two CSVs, named below. A bare folder: PNG and DICOM files at any
depth, without labels. Files that begin with a dot, and files that are neither PNG nor DICOM by name, are passed over.

A problem is of one of three kinds, decided here and in `stages.data.ingest`:
  of the folder: its tables contradict themselves, or cannot be read. Nothing is written.
  of an image: it cannot be used (no file, an unsafe name, not an image, contradictory labels). Its row is rejected.
  a remark: the image takes part, and the manifest says what is odd (no label, listed twice, same pixels as another).
"""

import math
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from stages.lib.core.errors import DataError
from stages.lib.images import csvfile

FOLDERS = {"lidc_png_16_bit": "lidc", "nih_filtered_images": "nih"}
LABELS_CSV = "classification_labels.csv"
POINTS_CSV = "localization_labels.csv"
LESIONS_CSV = "lesions.csv"
SIZES = ("diameter_mm", "diameter_px", "contrast")  # columns that a table of points may have beyond its own
WORDS = {"Nodule": 1, "No Finding": 0}
UNLABELLED = ("", "nan", "na", "n/a", "null", "none")
SUFFIXES = (".png", ".dcm", ".dicom")
VIEWS = {"pa": "PA", "ap": "AP", "lateral": "lateral"}
SEXES = {"f": "F", "female": "F", "m": "M", "male": "M", "other": "other"}
CONTEXT = ("view", "sex", "age_years")  # columns that a table of labels may have beyond its own
MAX_AGE_YEARS = 120
NIH_NAME = re.compile(r"([0-9]{8})_[0-9]{3}")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
MAX_NAME_BYTES = 230  # of the 255 a file system allows; a file that is being written has a longer name


@dataclass(frozen=True)
class Context:
    """Projection (PA, AP, lateral), and the patient's sex (F, M, other) and age in years; None if not known."""

    view: str | None = None
    sex: str | None = None
    age_years: float | None = None


@dataclass(frozen=True)
class Image:
    """One image of a data folder.

    Attributes:
        image_id: Its name in every table of the study.
        file_name: As in the CSV; in a bare folder the path relative to it.
        path: The file, below the root as the root was given.
        source: nih, lidc or other.
        patient_id: The patient; None if only the file itself can tell.
        label: 1, 0, or None.
        spacing_mm: Millimetres per pixel, if the label table says so.
        context: Projection and patient, as far as the label table says.
        refused: Why it must not be opened; None if it may be.
        remarks: What is odd about it.
    """

    image_id: str
    file_name: str
    path: str
    source: str
    patient_id: str | None = None
    label: int | None = None
    spacing_mm: float | None = None
    refused: str | None = None
    remarks: tuple[str, ...] = ()
    context: Context = Context()


@dataclass(frozen=True)
class Point:
    """A nodule: x and y in pixels of the original; its diameter in either unit and its contrast, if they are known."""

    x: float
    y: float
    diameter_mm: float | None = None
    diameter_px: float | None = None
    contrast: float | None = None

    def diameter(self, spacing_mm: float | None) -> float | None:
        """Diameter in millimetres; None if it is not known.

        >>> Point(1, 2, diameter_px=20).diameter(0.5), Point(1, 2, diameter_px=20).diameter(None)
        (10.0, None)
        """
        if self.diameter_mm is None and self.diameter_px is not None and spacing_mm is not None:
            return self.diameter_px * spacing_mm
        return self.diameter_mm


@dataclass
class Folder:
    """A data folder: its images by image_id, the points of each in the order of the CSV, the problems of its tables."""

    images: list[Image] = field(default_factory=list)
    points: dict[str, list[Point]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    passed_over: int = 0


@dataclass
class Label:
    """One row of the label table."""

    label: int | None
    lidc_id: str
    spacing_mm: float | None = None
    remarks: tuple[str, ...] = ()
    context: Context = Context()


def png_name(image_id: str) -> str:
    """A file name for the normalized image: any id gives one plain name, and no two ids the same.

    >>> png_name("00000012_000"), png_name("../a b")
    ('00000012_000.png', '..%2Fa%20b.png')
    """
    return quote(image_id, safe="") + ".png"


def nih_patient(stem: str) -> str | None:
    """Patient of an image named as in ChestX-ray14 (patient, underscore, number of the image), else None.

    >>> nih_patient("00000012_001")
    'nih-00000012'
    >>> nih_patient("0026") is None
    True
    """
    match = NIH_NAME.fullmatch(stem)
    return f"nih-{match[1]}" if match else None


def read(root: str | Path) -> Folder:
    """What is in a data folder, with all problems of its tables.

    Args:
        root: The folder; a relative one gives relative paths.

    Raises:
        DataError: If there is no such folder, or a part of the layout is missing: then nothing more can be said.
    """
    base = Path(root)
    if not base.is_dir():
        raise DataError(f"data folder {base}:", ["found no such folder"])
    challenge = any(os.path.lexists(base / name) for name in (*FOLDERS, LABELS_CSV))
    folder = _challenge(base) if challenge else _bare(base)
    if not folder.images and not folder.problems:
        folder.problems.append(f"no {', '.join(SUFFIXES)} file in it")
    seen: defaultdict[str, list[str]] = defaultdict(list)
    for image in folder.images:
        seen[image.image_id].append(image.path)
    for image_id, paths in seen.items():
        if len(paths) > 1:
            folder.problems.append(f"{' and '.join(map(repr, paths))} would both be {image_id!r}: rename one")
    return folder


def _challenge(base: Path) -> Folder:
    missing = [f"no folder {name}" for name in FOLDERS if not (base / name).is_dir()]
    missing += [f"no file {name}" for name in (LABELS_CSV, POINTS_CSV) if not (base / name).is_file()]
    missing += [
        f"{name} is a link out of the data folder: copy what it points to, or give the folder it points into"
        for name in (*FOLDERS, LABELS_CSV, POINTS_CSV)
        if _leaves(base / name, base)
    ]
    if missing:
        wanted = "wanted the layout of NoduLoCC2026, or a folder of nothing but images"
        raise DataError(f"data folder {base} ({wanted}):", missing)
    labels, problems = read_labels(base / LABELS_CSV)
    points, remarks, more = read_points(base / POINTS_CSV)
    folder = Folder(problems=problems + more)
    if (base / LESIONS_CSV).is_file() and not _leaves(base / LESIONS_CSV, base):
        lesions, more = read_lesions(base / LESIONS_CSV)
        folder.problems += more
        points = {
            name: [_sized(point, lesions.get((name, *_pixel(point)))) for point in points[name]] for name in points
        }
    for name, source in FOLDERS.items():
        for entry in sorted(os.scandir(base / name), key=lambda entry: entry.name):
            if not _is_image(entry.name):
                folder.passed_over += not entry.name.startswith(".")
                continue
            image = _on_disk(base, base / name / entry.name, source, flat=True)
            folder.images.append(_labelled(image, labels.pop(image.file_name, None)))
    absent = [(_without_file(base, name, label), label) for name, label in labels.items()]
    folder.images += [replace(image, context=label.context) for image, label in absent]
    known = {image.file_name: image for image in folder.images}
    for name, places in points.items():
        if name in known:
            folder.points[known[name].image_id] = places
        else:
            folder.problems.append(f"{POINTS_CSV}: points for {name!r}, which has neither a file nor a label")
    folder.images = [replace(f, remarks=f.remarks + remarks.get(f.file_name, ())) for f in folder.images]
    return folder


def _bare(base: Path) -> Folder:
    folder = Folder()
    for place, below, names in os.walk(base):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in below:
            if (Path(place) / name).is_symlink():
                folder.problems.append(
                    f"{_shown(str(Path(place) / name))!r} is a link to a folder, which is not followed"
                )
        for name in sorted(names):
            if _is_image(name):
                folder.images.append(_on_disk(base, Path(place) / name, "other", flat=False))
            else:
                folder.passed_over += not name.startswith(".")
    return folder


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _on_disk(base: Path, path: Path, source: str, *, flat: bool) -> Image:
    relative = path.relative_to(base)
    stem = _shown(path.stem)
    if flat:
        image_id = stem
        file_name = _shown(path.name)
    else:
        image_id = _shown("__".join([*relative.parts[:-1], path.stem]))
        file_name = _shown(relative.as_posix())
    patient = None if source == "lidc" else nih_patient(stem)
    refused = _refusal(path, base, image_id)
    return Image(image_id, file_name, _shown(str(path)), source, patient, refused=refused)


def _labelled(image: Image, label: Label | None) -> Image:
    if label is None:
        return replace(image, remarks=("no label",))
    image = replace(image, context=label.context)
    if image.source == "lidc":
        patient = label.lidc_id or None
        return replace(image, label=label.label, spacing_mm=label.spacing_mm, patient_id=patient, remarks=label.remarks)
    odd = ("has a LIDC_ID, but is not among the LIDC images",) if label.lidc_id else ()
    return replace(image, label=label.label, spacing_mm=label.spacing_mm, remarks=label.remarks + odd)


def _without_file(base: Path, name: str, label: Label) -> Image:
    folder = next(name for name, source in FOLDERS.items() if source == ("lidc" if label.lidc_id else "nih"))
    stem = Path(name).stem
    patient = label.lidc_id or nih_patient(stem)
    plain = name == Path(name).name and name not in (".", "..") and not CONTROL.search(name)
    if not plain:
        refused = f"unsafe name: found {name!r}, wanted the bare name of a file"
        return Image(name, name, name, FOLDERS[folder], patient, label.label, None, refused, label.remarks)
    image_id = stem if _is_image(name) else name
    path = str(base / folder / name)
    return Image(image_id, name, path, FOLDERS[folder], patient, label.label, None, "file missing", label.remarks)


def _refusal(path: Path, base: Path, image_id: str) -> str | None:
    """Why the file must not be opened, judged by its name and kind alone."""
    if _shown(str(path)) != str(path):
        return "unsafe name: not UTF-8"
    if CONTROL.search(str(path.relative_to(base))):
        return "unsafe name: it holds a control character"
    if len(png_name(image_id)) > MAX_NAME_BYTES:
        return f"its name is too long: quoted, it has {len(png_name(image_id))} bytes, wanted at most {MAX_NAME_BYTES}"
    if _leaves(path, base):
        return "a link out of the data folder, which is not followed"
    if not path.is_file():
        return "not a file (a folder, a device, or a link that leads nowhere)"
    return None


def _leaves(path: Path, base: Path) -> bool:
    if not path.is_symlink():
        return False
    try:
        return not path.resolve().is_relative_to(base.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return True


def _shown(text: str) -> str:
    """`text` as it can be stored: bytes of a file name that are not UTF-8 are spelt out."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def read_labels(path: Path) -> tuple[dict[str, Label], list[str]]:
    """Label of each file name in the label table, and the problems of the table.

    Args:
        path: CSV with file_name, label ("Nodule", "No Finding", or empty) and LIDC_ID (empty for NIH); perhaps with
            spacing_mm, millimetres per pixel of the image as it is stored; view ("PA", "AP", "lateral"), sex ("F", "M",
            "other") and age_years of the patient.
    """
    rows, problems = csvfile.read(path, ["file_name", "label", "LIDC_ID"], ["spacing_mm", *CONTEXT])
    words = {word.casefold(): label for word, label in WORDS.items()}
    labels: dict[str, Label] = {}
    for row in rows:
        where = f"{path.name} line {row.line}"
        name, word, lidc_id = row.cells["file_name"], row.cells["label"], row.cells["LIDC_ID"]
        label = words.get(word.casefold())
        if not name:
            problems.append(f"{where}: no file name")
            continue
        if label is None and word.casefold() not in UNLABELLED:
            problems.append(f"{where}: {name!r} is labelled {word!r}, wanted one of {', '.join(WORDS)}")
            continue
        spacing, wrong = _numbers(row.cells, ["spacing_mm"])
        context, odd = _context(row.cells)
        if wrong or odd:
            problems += [f"{where}: {name!r} has {text}" for text in (wrong, *odd) if text]
            continue
        remarks = () if label is not None else ("no label",)
        found = Label(label, lidc_id, spacing["spacing_mm"], remarks, context)
        before = labels.setdefault(name, found)
        if before is found:
            continue
        if replace(before, remarks=()) != replace(found, remarks=()):
            columns = f"label, LIDC_ID, spacing_mm, {', '.join(CONTEXT[:-1])} or {CONTEXT[-1]}"
            problems.append(f"{where}: {name!r} is listed before with another {columns}")
        elif "listed twice" not in labels[name].remarks:
            labels[name].remarks += ("listed twice",)
    return labels, problems


def read_points(path: Path) -> tuple[dict[str, list[Point]], dict[str, tuple[str, ...]], list[str]]:
    """Points of each file name in the point table, remarks by file name, and the problems of the table.

    Args:
        path: CSV with file_name, x and y, pixels of the original, and perhaps diameter_mm, diameter_px and contrast.
            Nothing is shifted; a repeated point counts once.
    """
    rows, problems = csvfile.read(path, ["file_name", "x", "y"], SIZES)
    points: dict[str, list[Point]] = {}
    remarks: dict[str, tuple[str, ...]] = {}
    for row in rows:
        name, x, y = row.cells["file_name"], number(row.cells["x"]), number(row.cells["y"])
        where = f"{path.name} line {row.line}"
        sizes, wrong = _numbers(row.cells, SIZES)
        if not name:
            problems.append(f"{where}: no file name")
        elif x is None or y is None:
            problems.append(f"{where}: {name!r} at ({row.cells['x']!r}, {row.cells['y']!r}), wanted two numbers")
        elif wrong:
            problems.append(f"{where}: {name!r} has {wrong}")
        elif (x, y) in [(point.x, point.y) for point in points.setdefault(name, [])]:
            remarks[name] = ("a point listed twice",)
        else:
            points[name].append(Point(x, y, **sizes))
    return points, remarks, problems


def read_lesions(path: Path) -> tuple[dict[tuple[str, int, int], Point], list[str]]:
    """What a table beside the challenge's says of each nodule, by file name and whole pixels, and its problems.

    Nodules that no point is marked for are among them: only those of the point table are ever measured.

    Args:
        path: CSV with file_name, x and y, and perhaps diameter_mm, diameter_px and contrast.
    """
    points, _, problems = read_points(path)
    return {(name, *_pixel(point)): point for name in points for point in reversed(points[name])}, problems


def _pixel(point: Point) -> tuple[int, int]:
    return round(point.x), round(point.y)


def _sized(point: Point, lesion: Point | None) -> Point:
    """Point with what the lesion says of it, where its own table says nothing."""
    if lesion is None:
        return point
    known = {name: getattr(point, name) for name in SIZES if getattr(point, name) is not None}
    return replace(lesion, x=point.x, y=point.y, **known)


def _numbers(cells: Mapping[str, str], columns: Sequence[str]) -> tuple[dict[str, float | None], str]:
    """Number in each column, None where the cell is empty, and a sentence about the first wrong one.

    A contrast may be any number; a length is above 0.
    """
    values = {name: number(cells[name]) for name in columns}
    for name, value in values.items():
        if cells[name].casefold() in UNLABELLED:
            continue
        if value is None or (value <= 0 and name != "contrast"):
            wanted = "a number" if name == "contrast" else "a number above 0"
            return values, f"{name} {cells[name]!r}, wanted {wanted}, or nothing"
    return values, ""


def _context(cells: Mapping[str, str]) -> tuple[Context, list[str]]:
    """View, sex and age of a row, None where the cell is empty, and a sentence about each that cannot be."""
    found: dict[str, str | None] = {}
    problems = []
    for name, words in (("view", VIEWS), ("sex", SEXES)):
        found[name] = words.get(cells[name].casefold())
        if found[name] is None and cells[name].casefold() not in UNLABELLED:
            wanted = ", ".join(dict.fromkeys(words.values()))
            problems.append(f"{name} {cells[name]!r}, wanted one of {wanted}, or nothing")
    age = number(cells["age_years"])
    if cells["age_years"].casefold() not in UNLABELLED and (age is None or not 0 <= age <= MAX_AGE_YEARS):
        problems.append(f"age_years {cells['age_years']!r}, wanted a number from 0 to {MAX_AGE_YEARS}, or nothing")
    return Context(found["view"], found["sex"], age), problems


def number(text: str) -> float | None:
    """Finite number that `text` is, else None.

    >>> number("443.5"), number("443,5"), number("nan"), number("1_0")
    (443.5, None, None, None)
    """
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None
