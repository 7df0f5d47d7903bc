"""Agreement of two passes of ratings: of two judges, of a judge with itself, of a person and a judge."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.findings.measuring.ratings import GOOD, NONE, grade, rated
from stages.findings.measuring.study import Row, Study
from stages.findings.notes import Agreement
from stages.lib.core.case_tables import RATINGS
from stages.lib.metrics.measures import Estimate, Key, Subject

TASK = "agreement"
NO_BOTH = "no answer is rated by both"


@dataclass(frozen=True)
class Passes:
    """Ratings of the same answers by two passes.

    Attributes:
        kind: judges, repeats, or human.
        first: Name of the first.
        second: Name of the second.
        arms: Arm of each answer, shape (n,).
        grades: Place of each rating in `RATINGS`, -1 without one, shape (n, 2).
    """

    kind: Literal["judges", "repeats", "human"]
    first: str
    second: str
    arms: NDArray[np.str_]
    grades: NDArray[np.int64]


def passes(study: Study, primary: str) -> Iterator[Passes]:
    """Pairs of passes: each two judges, each judge's repeats with its first, each person with the primary judge."""
    for one, other in combinations(study.judges, 2):
        yield _of_judges(study, "judges", (one, 0), (other, 0))
    for judge, repeat in study.ratings:
        if repeat:
            yield _of_judges(study, "repeats", (judge, 0), (judge, repeat))
    raters: dict[str, list[Row]] = {}
    for row in study.tables.human.to_pylist() if study.tables.human else ():
        raters.setdefault(row["rater"], []).append(row)
    judged = study.ratings[primary, 0]
    for rater, rows in raters.items():
        grades = [(grade(row["rating"]), grade(judged[row["arm"], row["item"]]["rating"])) for row in rows]
        yield Passes("human", rater, primary, np.array([row["arm"] for row in rows], np.str_), _pairs(grades))


def _of_judges(
    study: Study, kind: Literal["judges", "repeats"], first: tuple[str, int], second: tuple[str, int]
) -> Passes:
    arms, grades = [], []
    for arm, asked in study.arms.items():
        one, other = (rated(study, asked, *which).grades for which in (first, second))
        arms += [arm] * len(one)
        grades += list(zip(one.tolist(), other.tolist(), strict=True))
    names = [judge if not repeat else f"{judge}_again_{repeat}" for judge, repeat in (first, second)]
    return Passes(kind, names[0], names[1], np.array(arms, np.str_), _pairs(grades))


def _pairs(grades: list[tuple[int, int]]) -> NDArray[np.int64]:
    return np.array(grades, np.int64).reshape(len(grades), 2)


def confusion(grades: NDArray[np.int64]) -> NDArray[np.int64]:
    """Answers by grade of the first pass (rows) and of the second, of those that both rated.

    >>> confusion(np.array([[0, 0], [2, 1], [2, -1]])).tolist()
    [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    """
    both = grades[(grades != NONE).all(axis=1)]
    size = len(RATINGS)
    return np.bincount(both[:, 0] * size + both[:, 1], minlength=size * size).reshape(size, size)


def noted(one: Passes) -> Agreement:
    """Two passes as the notes have them."""
    known = one.grades != NONE
    good = {}
    for arm in dict.fromkeys(one.arms.tolist()):
        mine = one.grades[one.arms == arm]
        (a, b), (c, d) = ((int((mine[:, k] == GOOD).sum()), int((mine[:, k] != NONE).sum())) for k in (0, 1))
        good[arm] = (a, b, c, d)
    return Agreement(
        kind=one.kind,
        first=one.first,
        second=one.second,
        confusion=tuple(tuple(row) for row in confusion(one.grades).tolist()),
        only_first=int((known[:, 0] & ~known[:, 1]).sum()),
        only_second=int((~known[:, 0] & known[:, 1]).sum()),
        neither=int((~known).all(axis=1).sum()),
        good=good,
    )


def measure(one: Passes) -> tuple[Subject, Mapping[Key, Estimate]]:
    """Agreement of two passes."""
    table = confusion(one.grades)
    n = int(table.sum())
    made = {
        Key("rating_agreement"): Estimate(value=float(np.trace(table) / n), n=n)
        if n
        else Estimate(value=None, n=0, reason=NO_BOTH)
    }
    return Subject(TASK, one.first, "test", one.second), made
