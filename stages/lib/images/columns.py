"""Cells of tables as people fill them: numbers, labels, projections, sexes, ages, sizes."""

import math
import re
from collections.abc import Mapping, Sequence

from stages.lib.images.dataset import Context

NOTHING = ("", "nan", "na", "n/a", "null", "none")
VIEWS = {"pa": "PA", "ap": "AP", "lateral": "lateral"}
SEXES = {"f": "F", "female": "F", "m": "M", "male": "M", "other": "other"}
MAX_AGE_YEARS = 120
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
PATIENT = ("patient_id", "patientid", "patient id", "patient", "subject_id", "subject", "pid", "person_id")
CONTEXT = ("view", "sex", "age_years")
SIZES = ("diameter_mm", "diameter_px", "contrast")


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
    age = number(cells["age_years"])
    if not is_nothing(cells["age_years"]) and (age is None or not 0 <= age <= MAX_AGE_YEARS):
        problems.append(f"age_years {cells['age_years']!r}, wanted a number from 0 to {MAX_AGE_YEARS}, or nothing")
    return Context(found["view"], found["sex"], age), problems
