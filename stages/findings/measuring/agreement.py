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
from stages.lib.metrics import agreement as metrics
from stages.lib.metrics.bootstrap import attempt
from stages.lib.metrics.measures import Estimate, Key, Subject, estimate
from stages.lib.metrics.ratios import ratio

TASK = "agreement"
KAPPAS: Mapping[str, metrics.Weights] = {
    "rating_kappa": "none",
    "rating_kappa_linear": "linear",
    "rating_kappa_quadratic": "quadratic",
}
ALPHAS: Mapping[str, metrics.Level] = {"rating_alpha": "nominal", "rating_alpha_ordinal": "ordinal"}


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
    """Answers by grade of the first pass (rows) and of the second, of those that both rated."""
    return metrics.confusion(grades[:, 0], grades[:, 1], len(RATINGS))


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
    """Agreement of two passes: kappas of what both rated, alphas of all answers."""
    table = confusion(one.grades)
    n, size = int(table.sum()), len(RATINGS)
    made: dict[Key, Estimate] = {}
    same = attempt(ratio, float(np.trace(table)), float(n), "no answer is rated by both")
    made[Key("rating_agreement")] = estimate(same, n=n)
    for name, weights in KAPPAS.items():
        made[Key(name)] = estimate(attempt(metrics.cohen_kappa, table, weights), n=n)
    for name, level in ALPHAS.items():
        made[Key(name)] = estimate(attempt(metrics.krippendorff_alpha, one.grades.T, size, level), n=len(one.grades))
    return Subject(TASK, one.first, "test", one.second), made
