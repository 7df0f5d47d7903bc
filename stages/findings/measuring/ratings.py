"""Ratings of one judge on the answers of one arm, and the measures that they give."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.findings.measuring.study import Asked, Row, Study
from stages.lib.core.case_tables import RATINGS
from stages.lib.metrics.measures import Key
from stages.lib.metrics.parts import Part, fraction

GOOD, NONE = RATINGS.index("good"), -1
UNRATED = "the judge rated no answer"
JUDGED = (
    *(f"{name}_fraction" for name in RATINGS),
    "key_finding_rate",
    "good_failures_poor",
    "good_most",
    "unrated_fraction",
)  # measures that `parts` makes


@dataclass(frozen=True)
class Rated:
    """One judge on one arm.

    Attributes:
        grades: Place of each item's rating in `RATINGS`, from the worst; -1 where the judge gave none. Shape (n,).
        found: 1 where the primary finding is in the answer, 0 where not, -1 where the judge does not say. Shape (n,).
    """

    grades: NDArray[np.int64]
    found: NDArray[np.int64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether each item is rated, shape (n,)."""
        return self.grades != NONE

    @property
    def good(self) -> NDArray[np.bool_]:
        """Whether each item is called good, shape (n,)."""
        return self.grades == GOOD


def rated(study: Study, asked: Asked, judge: str, repeat: int = 0) -> Rated:
    """What a judge calls the answers of an arm."""
    rows = study.ratings.get((judge, repeat), {})
    mine = [rows.get((asked.arm, item)) for item in asked.names]
    return Rated(
        np.array([NONE if row is None else grade(row["rating"]) for row in mine], np.int64),
        np.array([NONE if row is None else _truth(row) for row in mine], np.int64),
    )


def grade(rating: str | None) -> int:
    """Place of a rating, from the worst; -1 of none.

    >>> grade("poor"), grade("good"), grade(None)
    (0, 2, -1)
    """
    return NONE if rating is None else RATINGS.index(rating)


def _truth(row: Row) -> int:
    found = row["primary_found"]
    return NONE if found is None else int(found)


def parts(found: Rated, at: str | None) -> dict[Key, Part]:
    """Measures that the ratings of a judge give.

    Failures of the judge leave the denominator of each grade. `good_failures_poor` counts them as poor, the least that
    any rating of them could make of it, and `good_most` as good.

    Args:
        found: The ratings.
        at: The judge; None for the primary one, whose measures are the headline.
    """
    made: dict[Key, Part] = {}
    for place, name in reversed(list(enumerate(RATINGS))):
        made[Key(f"{name}_fraction", at)] = fraction(found.grades == place, found.known, UNRATED)
    made[Key("key_finding_rate", at)] = fraction(found.found == 1, found.found != NONE, UNRATED)
    made[Key("good_failures_poor", at)] = fraction(found.good)
    made[Key("good_most", at)] = fraction(found.good | ~found.known)
    made[Key("unrated_fraction", at)] = fraction(~found.known)
    return made


def by_judge(study: Study, asked: Asked, primary: str) -> dict[Key, Part]:
    """Measures of an arm by the primary judge, and by each judge under its name."""
    of_judge: Mapping[str, Rated] = {judge: rated(study, asked, judge) for judge in study.judges}
    made = parts(of_judge[primary], None)
    for judge, found in of_judge.items():
        made |= parts(found, judge)
    return made
