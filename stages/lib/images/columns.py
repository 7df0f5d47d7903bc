"""Cells of tables as people fill them: numbers, labels, projections, sexes, ages, sizes."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stages.lib.images.dataset import Context, Point

NOTHING = ("", "-", "?", "nan", "na", "n/a", "#n/a", "<na>", "null", "nil", "none", "unknown")
VIEWS = {
    **dict.fromkeys(("pa", "posteroanterior", "postero-anterior", "posterior-anterior"), "PA"),
    **dict.fromkeys(("ap", "anteroposterior", "antero-posterior", "anterior-posterior", "ap supine", "ap erect"), "AP"),
    **dict.fromkeys(("lateral", "lat", "l", "ll", "rl", "lld", "rld"), "lateral"),
}
SEXES = {"f": "F", "female": "F", "m": "M", "male": "M", "other": "other", "o": "other"}
MAX_AGE_YEARS = 120
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
AGE = re.compile(r"0*([0-9]{1,3})(?:\.0*)? ?([YMWD])", re.IGNORECASE)  # as DICOM writes it: 058Y, 010M
PER_YEAR = {"y": 1, "m": 12, "w": 52.1775, "d": 365.2425}

# The names that people give a column, best first. They are compared as `folded`.
FILE = (
    "file_name", "file", "image", "image_name", "image_file", "image_file_name", "image_path", "file_path", "path",
    "image_index", "image_id", "img", "img_name", "img_path", "filename_path", "dicom", "dicom_id", "dicom_file",
    "dicom_path", "radiograph", "series_uid", "sop_instance_uid",
)  # fmt: skip
LABEL = (
    "label", "labels", "finding_label", "finding_labels", "class", "class_name", "classification", "target",
    "ground_truth", "gt", "diagnosis", "finding", "findings", "nodule", "nodules", "has_nodule",
)  # fmt: skip
PATIENT = (
    "patient_id", "patient", "patient_no", "patient_number", "patient_key", "patient_code", "patient_uid",
    "patient_hash", "pat_id", "subject_id", "subject", "subject_no", "subject_number", "subject_code", "participant_id",
    "participant", "person_id", "person", "pid", "mrn", "medical_record_number", "anon_patient_id",
    "pseudonym", "empi_anon", "empi", "case_id",
)  # fmt: skip
READER = (
    "reader", "reader_id", "rad_id", "radiologist", "radiologist_id", "annotator", "annotator_id", "rater", "rater_id",
    "observer", "observer_id", "doctor", "read_by", "seen_by",
)  # fmt: skip
SPACING = ("spacing_mm", "pixel_spacing", "pixel_spacing_mm", "mm_per_pixel", "imager_pixel_spacing")
VIEW = ("view", "view_position", "projection", "view_pos")
SEX = ("sex", "gender", "patient_sex", "patient_gender", "patients_sex")
AGE_YEARS = ("age_years", "age", "patient_age", "patients_age", "age_at_exam", "age_in_years")
X = ("x", "x_px", "x_center", "center_x", "x_centre", "centre_x", "cx", "xc", "x_coord", "coord_x", "x_coordinate")
Y = ("y", "y_px", "y_center", "center_y", "y_centre", "centre_y", "cy", "yc", "y_coord", "coord_y", "y_coordinate")
X_MIN = ("x_min", "x1", "x0", "left", "bbox_x_min", "box_x_min", "xmin_px", "x_left", "bbox_xmin")
Y_MIN = ("y_min", "y1", "y0", "top", "bbox_y_min", "box_y_min", "ymin_px", "y_top", "bbox_ymin")
X_MAX = ("x_max", "x2", "right", "bbox_x_max", "box_x_max", "xmax_px", "x_right", "bbox_xmax")
Y_MAX = ("y_max", "y2", "bottom", "bbox_y_max", "box_y_max", "ymax_px", "y_bottom", "bbox_ymax")
WIDTH = ("w", "width", "box_width", "bbox_width", "box_w", "bbox_w", "box_width_px", "width_px")
HEIGHT = ("h", "height", "box_height", "bbox_height", "box_h", "bbox_h", "box_height_px", "height_px")
CONTEXT = ("view", "sex", "age_years")
SIZES = ("diameter_mm", "diameter_px", "contrast")
USUAL = (
    *FILE, *LABEL, *PATIENT, *READER, *SPACING, *VIEW, *SEX, *AGE_YEARS, *X, *Y, *X_MIN, *Y_MIN, *X_MAX, *Y_MAX,
    *WIDTH, *HEIGHT, *SIZES,
)  # fmt: skip


class Columned(Protocol):
    """A table, as `csvfile.Table`."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def titles(self) -> Sequence[str]:
        """The columns."""

    @property
    def problems(self) -> Sequence[str]:
        """Why it cannot be read."""

    def find(self, names: Sequence[str]) -> str | None:
        """Title of the first of `names` that is a column."""


def folded(title: str) -> str:
    """What the spellings of one column have in common: no letter case, spaces, underscores, hyphens or dots.

    >>> folded("Patient ID") == folded("patient_id") == folded("PatientID") == "patientid"
    True
    """
    return re.sub(r"[\s_.\-]+", "", unicodedata.normalize("NFKC", title).casefold())


def is_nothing(text: str) -> bool:
    """Whether a cell says that nothing is known."""
    return text.casefold() in NOTHING


def number(text: str) -> float | None:
    """Finite number that `text` is, else None.

    >>> number("443.5"), number("443,5"), number("nan"), number("1_0")
    (443.5, None, None, None)
    """
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def numbers(cells: Mapping[str, str], columns: Sequence[str]) -> tuple[dict[str, float | None], str]:
    """Number in each column, None where the cell is empty, and a sentence about the first wrong one.

    A contrast may be any number; a length is above 0.
    """
    values = {name: number(cells[name]) for name in columns}
    for name, value in values.items():
        if is_nothing(cells[name]):
            continue
        if value is None or (value <= 0 and name != "contrast"):
            wanted = "a number" if name == "contrast" else "a number above 0"
            return values, f"{name} {cells[name]!r}, wanted {wanted}, or nothing"
    return values, ""


def context(cells: Mapping[str, str]) -> tuple[Context, list[str]]:
    """View, sex and age of a row, None where the cell is empty, and a sentence about each that cannot be."""
    found: dict[str, str | None] = {}
    problems = []
    for name, words in (("view", VIEWS), ("sex", SEXES)):
        found[name] = words.get(cells[name].casefold())
        if found[name] is None and not is_nothing(cells[name]):
            wanted = ", ".join(dict.fromkeys(words.values()))
            problems.append(f"{name} {cells[name]!r}, wanted one of {wanted}, or nothing")
    age = age_years(cells["age_years"])
    if age is None and not is_nothing(cells["age_years"]):
        problems.append(f"age_years {cells['age_years']!r}, wanted a number from 0 to {MAX_AGE_YEARS}, or nothing")
    return Context(found["view"], found["sex"], age), problems


def age_years(text: str) -> float | None:
    """Age in years, from a number of years or as DICOM writes it; None for anything else.

    >>> age_years("61"), age_years("058Y"), age_years("006M"), age_years("414")
    (61.0, 58.0, 0.5, None)
    """
    spelt = AGE.fullmatch(text)
    age = int(spelt[1]) / PER_YEAR[spelt[2].casefold()] if spelt else number(text)
    return age if age is not None and 0 <= age <= MAX_AGE_YEARS else None


def spacing_mm(text: str) -> tuple[float | None, str]:
    """Millimetres per pixel, None where the cell is empty, and a sentence if it can be none.

    >>> spacing_mm("0.143"), spacing_mm("[0.2, 0.2]"), spacing_mm("")
    ((0.143, ''), (0.2, ''), (None, ''))
    >>> spacing_mm("0.1\\\\0.2")[1]
    "spacing_mm '0.1\\\\\\\\0.2', wanted a number above 0, or nothing"
    """
    if is_nothing(text):
        return None, ""
    values = {number(part.strip()) for part in re.split(r"[,;\\\\ ]+", text.strip("[]() "))}
    value = values.pop() if len(values) == 1 else None
    if value is not None and value > 0:
        return value, ""
    return None, f"spacing_mm {text!r}, wanted a number above 0, or nothing"


def absent(found: Columned, titles: Mapping[str, str | None]) -> list[str]:
    """A sentence for each column that is wanted and not there; what is wrong with the table, if it cannot be read."""
    if found.problems:
        return list(found.problems)
    spelt = ", ".join(found.titles)
    return [f"{found.name}: no column {key!r}; found {spelt}" for key, title in titles.items() if title is None]


def patient_title(found: Columned, wanted: str) -> tuple[str | None, str | None]:
    """Title of the column of patients, None without one, and a sentence if the one that is wanted is not there.

    Args:
        found: A table.
        wanted: `data.ingest.patient_column`; "auto" for any of `PATIENT`.
    """
    if wanted == "auto":
        return found.find(PATIENT), None
    title = found.find([wanted])
    if title is None:
        spelt = ", ".join(found.titles)
        return None, f"{found.name}: no column {wanted!r}, which data.ingest.patient_column names; found {spelt}"
    return title, None


@dataclass(frozen=True)
class PointColumns:
    """How a table marks nodules: by their centres, or by boxes.

    Attributes:
        kind: point (x, y: the centre), centred (the centre and the size of a box), corner (its top left corner and its
            size) or corners (its top left and bottom right corner).
        titles: Title of each column, by x, y and, for boxes, right and bottom: the other corner, or the size.
    """

    kind: str
    titles: Mapping[str, str]

    def point(self, cells: Mapping[str, str], unit: str, **sizes: float | None) -> Point | str:
        """The nodule of a row in the table's unit, or a sentence about what is wrong with it.

        A box spans from edge to edge of pixels, so that one of x 10 and width 4 covers the pixels 10 to 13, and its
        centre is 11.5. The centre of a box of fractions is a fraction.

        Args:
            cells: Cells by the keys of `titles`.
            unit: pixels, fraction, or the size of another image; see `points`.
            sizes: Other fields of the point.
        """
        values = {key: number(cells[key]) for key in self.titles}
        told = "(" + ", ".join(repr(cells[key]) for key in self.titles) + ")"
        x, y, right, bottom = (values.get(key) for key in ("x", "y", "right", "bottom"))
        if self.kind == "point":
            return f"at {told}, wanted two numbers" if x is None or y is None else Point(x, y, **sizes)
        if x is None or y is None or right is None or bottom is None:
            return f"in the box {told}, wanted four numbers"
        width, height = (right - x, bottom - y) if self.kind == "corners" else (right, bottom)
        if width <= 0 or height <= 0:
            wanted = "a right corner beyond the left one, and a bottom below the top"
            return f"in the box {told}, wanted {wanted if self.kind == 'corners' else 'a width and a height above 0'}"
        if self.kind != "centred":
            shift = 0.0 if unit == "fraction" else 0.5
            x, y = x + width / 2 - shift, y + height / 2 - shift
        return Point(x, y, **sizes, box_width_px=width, box_height_px=height)


def point_columns(found: Columned) -> PointColumns | None:
    """How a table marks nodules; None if it does not."""
    for kind, names in (
        ("corners", (X_MIN, Y_MIN, X_MAX, Y_MAX)),
        ("corner", (X_MIN, Y_MIN, WIDTH, HEIGHT)),
        ("centred", (X[2:8], Y[2:8], WIDTH, HEIGHT)),
        ("corner", (X, Y, WIDTH, HEIGHT)),
        ("point", (X, Y)),
    ):
        titles = [found.find(one) for one in names]
        if all(titles):
            return PointColumns(kind, dict(zip(("x", "y", "right", "bottom"), map(str, titles), strict=False)))
    return None
