"""The tables of a study, and whether they are of one study: all that contradicts is said at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.findings.measuring.settings import MeasureParams
from stages.findings.timing import Timing
from stages.lib.core.errors import DataError
from stages.lib.core.params import unknown

Row = Mapping[str, Any]
NO_VARIANT = "none"


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What is measured.

    Attributes:
        cases: Table `case_tables.CASES`.
        case_images: Table `case_tables.CASE_IMAGES`.
        sample: Table `case_tables.SAMPLE`.
        answers: Table `case_tables.ANSWERS` of each arm.
        judgements: Table `case_tables.JUDGEMENTS` of each judge.
        timings: Document of each arm or judge that has one.
        human: Table `case_tables.HUMAN`: ratings by people; None without any.
    """

    cases: pa.Table
    case_images: pa.Table
    sample: pa.Table
    answers: Mapping[str, pa.Table]
    judgements: Mapping[str, pa.Table]
    timings: Mapping[str, Timing] = field(default_factory=dict)
    human: pa.Table | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """What an arm was asked about: a case of the test, or one image of it.

    Attributes:
        item: Its id.
        case: Row of the sample.
        gold: Text that the answer is measured against: of a case, or the image's caption.
        planes: Planes of the images that it is about.
        n_images: Their number.
    """

    item: str
    case: Row
    gold: str
    planes: tuple[str, ...]
    n_images: int


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An arm and its answers, one per item.

    Attributes:
        arm: Its name.
        items: What it was asked about, sorted.
        answers: Its final answer about each.
        samples: Every answer, those behind a consensus included.
    """

    arm: str
    items: tuple[Item, ...]
    answers: tuple[Row, ...]
    samples: tuple[Row, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Ids of the items."""
        return tuple(item.item for item in self.items)

    @property
    def case_ids(self) -> NDArray[np.str_]:
        """Case of each item, shape (n,)."""
        return np.array([item.case["case_id"] for item in self.items], np.str_)

    @property
    def strata(self) -> NDArray[np.str_]:
        """Stratum of the sample of each item, shape (n,)."""
        return np.array([f"{item.case['region']}/{item.case['modality']}" for item in self.items], np.str_)

    @property
    def statuses(self) -> NDArray[np.str_]:
        """What became of each answer, shape (n,)."""
        return np.array([answer["status"] for answer in self.answers], np.str_)


@dataclass(frozen=True, kw_only=True)
class Study:
    """The arms with their answers, and the judgements of them.

    Attributes:
        arms: Each arm, in the order of its file's name.
        ratings: By judge and repeat, the judgement of an arm's answer about an item: (arm, item).
        tables: What it was made from.
    """

    arms: Mapping[str, Asked]
    ratings: Mapping[tuple[str, int], Mapping[tuple[str, str], Row]]
    tables: Tables

    @property
    def judges(self) -> tuple[str, ...]:
        """Judges, in order."""
        return tuple(dict.fromkeys(judge for judge, _ in self.ratings))


def gather(tables: Tables, params: MeasureParams) -> Study:
    """The study that tables hold.

    Raises:
        DataError: With everything by which the tables contradict each other or the parameters.
    """
    problems: list[str] = []
    test = {row["case_id"]: row for row in tables.sample.to_pylist() if row["role"] == "test"}
    images: dict[str, dict[int, Row]] = {}
    for row in tables.case_images.to_pylist():
        images.setdefault(row["case_id"], {})[row["number"]] = row
    problems += [f"sample: {case} has no images in case_images" for case in sorted(test) if case not in images]
    arms = {arm: _asked(arm, table, test, images, problems) for arm, table in tables.answers.items()}
    problems += [
        f"findings.measure.comparisons: {unknown(name, list(arms))}"
        for name in dict.fromkeys(name for pair in params.comparisons for name in pair)
        if name not in arms
    ]
    if params.primary_judge not in tables.judgements:
        problems.append(f"findings.measure.primary_judge: {unknown(params.primary_judge, list(tables.judgements))}")
    ratings: dict[tuple[str, int], dict[tuple[str, str], Row]] = {}
    for judge, table in tables.judgements.items():
        for row in table.filter(pc.field("variant") == NO_VARIANT).to_pylist():
            ratings.setdefault((judge, row["repeat"]), {})[row["arm"], row["item"]] = row
        missing = [
            f"{arm} {item}"
            for arm, asked in arms.items()
            for item in asked.names
            if (arm, item) not in ratings.get((judge, 0), {})
        ]
        if missing:
            problems.append(f"judge {judge}: no row for {len(missing)} answers, {', '.join(missing[:3])}, ...")
    if not test:
        problems.append("sample: no case has the role test")
    if problems:
        raise DataError("the tables of the study contradict each other; run the stage again that wrote them:", problems)
    return Study(arms=arms, ratings=ratings, tables=tables)


def _asked(
    arm: str,
    table: pa.Table,
    test: Mapping[str, Row],
    images: Mapping[str, Mapping[int, Row]],
    problems: list[str],
) -> Asked:
    rows = table.to_pylist()
    wrong = sorted({row["arm"] for row in rows} - {arm})
    if wrong:
        problems.append(f"answers of {arm}: found rows of {', '.join(wrong)}")
    outside = sorted({row["case_id"] for row in rows} - {*test})
    if outside:
        problems.append(
            f"answers of {arm}: {len(outside)} are about no case of the test, {', '.join(outside[:3])}, ..."
        )
    final: dict[str, Row] = {}
    for row in rows:
        if row["final"] and row["case_id"] in test:
            if row["item"] in final:
                problems.append(f"answers of {arm}: {row['item']} has two final answers")
            final[row["item"]] = row
    without = sorted({*test} - {row["case_id"] for row in final.values()})
    if without:
        problems.append(f"answers of {arm}: {len(without)} cases have no final answer, {', '.join(without[:3])}, ...")
    items = tuple(item(name, test[final[name]["case_id"]], images) for name in sorted(final))
    answers = tuple(final[one.item] for one in items)
    return Asked(arm=arm, items=items, answers=answers, samples=tuple(rows))


def item(name: str, case: Row, images: Mapping[str, Mapping[int, Row]]) -> Item:
    """What stands behind the id of an item of a case.

    Args:
        name: The case's id, or with the number of an image behind a stroke.
        case: Row of the sample.
        images: Rows of `case_tables.CASE_IMAGES` by case and number.
    """
    rows = images.get(case["case_id"], {})
    _, _, number = name.removeprefix(case["case_id"]).partition("/")
    numbers = [int(number)] if number else case["numbers"]
    shown = [rows[one] for one in numbers if one in rows]
    gold = (shown[0]["caption"] or "") if number and shown else case["gold"]
    planes = tuple(dict.fromkeys(row["plane"] for row in shown if row["plane"]))
    return Item(item=name, case=case, gold=gold, planes=planes, n_images=len(numbers))
