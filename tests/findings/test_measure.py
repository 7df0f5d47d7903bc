"""Measures of a made study, and what is refused."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import findings_tables
import pytest

from stages.findings import measure
from stages.findings.notes import Notes
from stages.lib.core import documents, tables
from stages.lib.core.errors import DataError, ParamsError
from stages.lib.metrics import measures
from stages.lib.metrics.measures import Estimate, Key, Measured, Subject


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = findings_tables.write(tmp_path_factory.mktemp("findings"))
    measure.main(findings_tables.measure_options(made))
    return made


def measured(results: Path) -> dict[Subject, dict[Key, Estimate]]:
    table = tables.read(results / "measure/measures.parquet", tables.MEASURES)
    return measures.from_table(table)["findings"]


def of(found: Mapping[Subject, Measured], arm: str, subset: str = "test", other: str | None = None) -> Measured:
    return found[Subject("comparison" if other else "description", arm, subset, other)]


def test_every_arm_is_a_row_with_its_n_and_its_interval_the_constant_guess_too(results: Path) -> None:
    found = measured(results)
    for arm in findings_tables.ARMS:
        good = of(found, arm)[Key("good_fraction")]
        assert good.n == 30 and good.value is not None
        assert good.low is not None and good.high is not None and good.low <= good.value <= good.high
        assert of(found, arm)[Key("good_fraction", "rules")].value == good.value
    values = {arm: of(found, arm)[Key("good_fraction")].value for arm in findings_tables.ARMS}
    assert values["tuned"] > max(values["base"], values["frequent"])


def test_failures_of_a_judge_leave_the_denominator_and_are_counted(results: Path) -> None:
    strict = {key.metric: one for key, one in of(measured(results), "base").items() if key.at == "strict"}
    n = strict["good_fraction"].n
    assert n is not None and n < 30
    assert strict["unrated_fraction"].value == pytest.approx((30 - n) / 30)
    good = round((strict["good_fraction"].value or 0) * n)
    assert strict["good_failures_poor"].value == pytest.approx(good / 30)
    assert strict["good_most"].value == pytest.approx((good + 30 - n) / 30)
    total = sum(strict[f"{name}_fraction"].value or 0 for name in ("good", "partial", "poor"))
    assert total == pytest.approx(1)


def test_answers_that_repeat_themselves_are_measured_with_and_without(results: Path) -> None:
    found = measured(results)
    every, calm = of(found, "base"), of(found, "base", "test/without_looping")
    assert every[Key("looping_fraction")].value == pytest.approx(4 / 30)
    assert calm[Key("looping_fraction")].value == 0 and calm[Key("words")].n == 26
    assert (calm[Key("words")].value or 0) < (every[Key("words")].value or 0) / 2
    assert of(found, "tuned")[Key("failed_fraction")].value == pytest.approx(1 / 30)


def test_a_part_of_too_few_cases_has_no_value_but_its_n_and_the_reason(results: Path) -> None:
    found = measured(results)
    few = of(found, "base", "test/stratum/head_CT")[Key("good_fraction")]
    assert few.value is None and few.n == 3 and few.reason == "too few: 3 cases, wanted 5"
    regions = [of(found, "base", f"test/region/{name}")[Key("good_fraction")] for name in ("head", "urinary")]
    assert all(one.value is not None and one.n == 6 for one in regions)
    subsets = {subject.subset for subject in found if subject.system == "base"}
    assert {"test/modality/CT", "test/plane/axial", "test/images/1", "test/images/2_or_more"} <= subsets
    assert {"test/gold_scope/imaged_only", "test/gold_scope/other_studies"} <= subsets


def test_only_declared_pairs_are_compared_and_p_is_corrected_for_their_number(results: Path) -> None:
    found = measured(results)
    pairs = {(s.system, s.other) for s in found if s.task == "comparison"}
    assert pairs == {tuple(pair) for pair in findings_tables.PARAMETERS["findings"]["measure"]["comparisons"]}
    notes = documents.read(results / "measure/notes.json", Notes)
    raw = {(v.first, v.second): v.p for v in notes.verdicts if v.judge == "rules"}
    adjusted = {(v.first, v.second): v.p_holm for v in notes.verdicts if v.judge == "rules"}
    least = min(raw, key=lambda pair: raw[pair])
    assert len(raw) == 3 and adjusted[least] == pytest.approx(min(1, 3 * raw[least]))
    difference = of(found, "tuned", other="base")
    assert {key.metric for key in difference if key.at is None} >= {
        "finding_f1",
        "rouge_l_f1",
        "words",
        "good_fraction",
    }
    assert "poor_fraction" not in {key.metric for key in difference}  # of each arm's own rated answers
    values = [of(found, arm)[Key("finding_f1")].value or 0 for arm in ("tuned", "base")]
    assert difference[Key("finding_f1")].value == pytest.approx(values[0] - values[1])
    by_pair = {(v.first, v.second, v.judge): v for v in notes.verdicts}
    assert by_pair["tuned", "frequent", "rules"].better == "tuned"
    assert by_pair["reworded", "base", "rules"].better is None


def test_rows_have_the_same_bytes_each_time_and_clocks_are_in_the_notes_alone(results: Path, tmp_path: Path) -> None:
    again = findings_tables.write(tmp_path)
    measure.main(findings_tables.measure_options(again))
    for name in ("measures", "outcomes", "findings"):
        ours, theirs = (folder / f"measure/{name}.parquet" for folder in (results, again))
        assert ours.read_bytes() == theirs.read_bytes()
    costs = {cost.name: cost for cost in documents.read(results / "measure/notes.json", Notes).costs}
    base = costs["base"]
    assert base.latency is not None and base.latency.good_try.n == 30
    assert base.latency.good_try_without_looping.n == 26
    mean, tries = base.latency.good_try.mean, base.latency.all_tries.mean
    assert mean is not None and tries is not None and tries > mean
    assert base.latency.good_try_without_looping.mean is not None and base.latency.good_try_without_looping.mean < mean
    assert base.dollars is not None and base.dollars_per_case == pytest.approx(base.dollars / 30)
    assert costs["reworded"].dollars is None and costs["reworded"].unpriced == 30
    assert costs["frequent"].latency is None
    assert "rules" not in costs and base.dollars_per_good is not None and base.dollars_per_good > base.dollars_per_case


def test_the_flat_file_has_a_line_per_measure(results: Path) -> None:
    with (results / "metrics.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    table = tables.read(results / "measure/measures.parquet", tables.MEASURES)
    assert len(rows) == table.num_rows > 500
    assert {row["metric"] for row in rows} == set(table["metric"].to_pylist())
    assert rows[0]["seed"] == ""


def test_two_passes_are_set_against_each_other_and_the_headline_of_each_is_kept(results: Path) -> None:
    notes = documents.read(results / "measure/notes.json", Notes)
    kinds = {(one.kind, one.first, one.second): one for one in notes.agreements}
    judges = kinds["judges", "rules", "strict"]
    assert sum(map(sum, judges.confusion)) + judges.only_first == 120
    assert judges.only_first > 0 and judges.only_second == 0
    assert kinds["repeats", "rules", "rules_again_1"].confusion[0][1] == 0
    assert sum(map(sum, kinds["human", "anna", "rules"].confusion)) == 20
    assert set(kinds) == {
        ("judges", "rules", "strict"),
        ("repeats", "rules", "rules_again_1"),
        ("repeats", "strict", "strict_again_1"),
        ("human", "anna", "rules"),
    }
    assert set(kinds["human", "anna", "rules"].good) == {"base", "tuned"}
    assert kinds["repeats", "strict", "strict_again_1"].only_second > 0
    assert judges.good["base"][1] == 30 and judges.good["base"][3] < 30


def test_tables_that_contradict_each_other_are_refused_with_every_problem(tmp_path: Path) -> None:
    made = findings_tables.write(tmp_path, cases=8)
    options = findings_tables.measure_options(made)
    parameters: dict[str, Any] = json.loads(options[1])
    parameters["findings"]["measure"] |= {"comparisons": [["tuned", "bse"]], "primary_judge": "rule"}
    options[1] = json.dumps(parameters)
    table = tables.read(made / "answer/base.parquet", measure.case_tables.ANSWERS)
    tables.write(made / "answer/base.parquet", table.slice(1), measure.case_tables.ANSWERS)
    with pytest.raises(DataError) as refused:
        measure.main(options)
    said = str(refused.value)
    assert "did you mean 'base'" in said and "did you mean 'rules'" in said and "have no final answer, MPX1000" in said


def test_a_pair_declared_twice_or_of_one_arm_is_refused(tmp_path: Path) -> None:
    made = findings_tables.write(tmp_path, cases=4)
    options = findings_tables.measure_options(made)
    parameters = json.loads(options[1])
    parameters["findings"]["measure"]["comparisons"] = [["a", "b"], ["b", "a"], ["c", "c"]]
    options[1] = json.dumps(parameters)
    with pytest.raises(ParamsError, match="c compares an arm with itself"):
        measure.main(options)
