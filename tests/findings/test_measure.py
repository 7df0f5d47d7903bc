"""Measures of the arms: published numbers from counts, made studies, and what is refused."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import findings_tables
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.findings import measure
from stages.findings.measuring import agreement
from stages.findings.measuring.pairs import Both, of_ratings
from stages.findings.measuring.parts import fraction
from stages.findings.measuring.parts import measure as measure_parts
from stages.findings.measuring.ratings import Rated, parts
from stages.findings.measuring.settings import MeasureParams
from stages.findings.measuring.verdicts import verdicts
from stages.findings.notes import Notes, Verdict
from stages.findings.page import sentences
from stages.lib.core import documents, tables
from stages.lib.core.errors import DataError, ParamsError
from stages.lib.metrics import measures
from stages.lib.metrics.measures import Estimate, Key, Measured, Subject
from stages.lib.report.numbers import MINUS

GRADES = {"g": 2, "m": 1, "p": 0, "-": -1}
# Of the published study: what each answer of the two models was called, case by case; - where the judge failed.
FIRST = ("gggppppppppppgpp----", "ggpgggppppppm---ggp-")
SECOND = ("gppppmmmpppppppp--p-", "gggggmmmppppppppgp--")


def rated(text: str) -> Rated:
    grades = np.array([GRADES[one] for one in text], np.int64)
    return Rated(grades, np.where(grades < 0, -1, (grades > 0).astype(np.int64)))


def compared(texts: Sequence[str]) -> tuple[Both, Verdict]:
    """MedGemma is the second arm, as in the published sentence the one that is named first."""
    both = Both(rated(texts[1]), rated(texts[0]))
    assert len(both.known) == 20
    params = MeasureParams(**findings_tables.PARAMETERS["findings"]["measure"])
    (found,) = verdicts("judge", {("flash", "medgemma"): both}, {("flash", "medgemma"): 20}, params)
    return both, found


def wilson(text: str) -> Estimate:
    one = rated(text)
    weights = np.ones((2, len(one.grades)))
    return measure_parts(parts(one, None), weights, {}, 0.95).estimates[Key("good_fraction")]


def test_the_first_published_pass_is_recomputed_and_undecided() -> None:
    both, found = compared(FIRST)
    assert found.good == (7, 4) and found.rated == (16, 16)
    ends = [wilson(text) for text in FIRST]
    assert [(one.wilson_low, one.wilson_high) for one in ends] == [
        (pytest.approx(0.1018, abs=5e-5), pytest.approx(0.4950, abs=5e-5)),
        (pytest.approx(0.2310, abs=5e-5), pytest.approx(0.6682, abs=5e-5)),
    ]
    assert (found.n_both, found.good_both) == (13, (5, 3))
    assert both.discordant(failures_poor=False) == (3, 1) and found.p == 0.625
    assert both.discordant(failures_poor=True) == (5, 2) and found.p_failures_poor == 0.453125
    assert (found.low, found.high) == (pytest.approx(-0.05), pytest.approx(0.35))
    assert found.better is None
    said = sentences.verdict(found, "Gemini Flash", "MedGemma", "")
    assert said.startswith(
        "MedGemma 25 % good (4 of 16) against Gemini Flash 43.8 % (7 of 16); on the 13 rated for both 3 and 5 are "
        "good, McNemar p 0.625; any rating of the judge's failures leaves a difference of "
        f"{MINUS}5 to +35 percentage points: undecided"
    )


def test_the_second_published_pass_is_rightly_read_and_undecided_too() -> None:
    both, found = compared(SECOND)
    assert found.good == (6, 1) and found.rated == (18, 17)
    ends = [wilson(text) for text in SECOND]
    assert [(one.wilson_low, one.wilson_high) for one in ends] == [
        (pytest.approx(0.0105, abs=5e-5), pytest.approx(0.2698, abs=5e-5)),
        (pytest.approx(0.1628, abs=5e-5), pytest.approx(0.5625, abs=5e-5)),
    ]
    assert (found.n_both, found.good_both) == (16, (5, 1))
    assert both.discordant(failures_poor=False) == (4, 0) and found.p == 0.125
    assert both.discordant(failures_poor=True) == (5, 0) and found.p_failures_poor == 0.0625
    assert (found.low, found.high) == (pytest.approx(0.10), pytest.approx(0.35))
    assert found.better is None and "p 0.125 after Holm" in " ".join(found.reasons)


def test_a_difference_is_called_one_only_if_bounds_and_both_tests_agree() -> None:
    clear = compared(("p" * 18 + "g-", "g" * 18 + "pg"))[1]
    assert clear.better == "flash" and not clear.reasons and clear.low > 0
    other = compared(("g" * 18 + "p-", "p" * 18 + "gp"))[1]
    assert other.better == "medgemma" and other.high < 0
    assert "is better" in sentences.verdict(clear, "Flash", "MedGemma", "Flash")
    unsure = compared(("p" * 10 + "-" * 10, "g" * 10 + "-" * 10))[1]
    assert unsure.better is None and unsure.p < 0.01 and unsure.low <= 0


def test_the_bounds_are_reached_by_some_rating_and_passed_by_none() -> None:
    rng = np.random.default_rng(5)
    grades = rng.integers(-1, 3, (2, 12))
    both = Both(*(Rated(row, row) for row in grades))
    low, high = both.bounds
    seen = []
    for _ in range(300):
        filled = np.where(grades < 0, rng.integers(0, 3, grades.shape), grades)
        seen.append(float(((filled[0] == 2).astype(int) - (filled[1] == 2)).mean()))
    assert low - 1e-9 <= min(seen) and max(seen) <= high + 1e-9
    worst = np.where(grades < 0, [[0], [2]], grades)
    assert low == pytest.approx(((worst[0] == 2).astype(int) - (worst[1] == 2)).mean())


def test_an_ordinal_effect_is_the_fraction_better_less_the_fraction_worse_and_ties_are_shown() -> None:
    both = Both(rated("gmp-g"), rated("ppg-g"))
    found = of_ratings(both, None, np.ones((3, 5)), 0.95, 5)
    values = {key.metric: one.value for key, one in found.items()}
    assert values["better_fraction"] == 0.5 and values["worse_fraction"] == 0.25 and values["equal_fraction"] == 0.25
    assert values["ordinal_effect"] == 0.25
    assert values["sign_test_p"] == 1.0
    assert found[Key("ordinal_effect")].n == 4


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
    assert judges.good["base"][1] == 30 and judges.good["base"][3] < 30


def test_the_published_passes_agree_as_their_ratings_say_and_hidden_failures_look_unreliable() -> None:
    """27 answers are rated twice, 13 once; the last were failures of one pass, in the second written down as poor."""
    both = [(0, 0)] * 18 + [(2, 1)] * 3 + [(2, 2)] * 6
    once = [(0, -1)] * 2 + [(1, -1)] + [(2, -1)] * 2 + [(-1, 0)] * 3 + [(-1, 1)] + [(-1, 2)] + [(-1, 0)] * 3
    found = of_passes(both + once)
    assert found["rating_agreement"].n == 27
    assert found["rating_agreement"].value == pytest.approx(24 / 27)
    assert found["rating_kappa"].value == pytest.approx(0.769231, abs=5e-7)
    assert found["rating_kappa_quadratic"].value == pytest.approx(0.930233, abs=5e-7)
    assert found["rating_alpha"].value == pytest.approx(0.770563, abs=5e-7)
    as_written = [(0, 0)] * 20 + [(1, 0)] + [(2, 0)] * 2 + [(2, 1)] * 3 + [(2, 2)] * 6
    assert of_passes(as_written)["rating_kappa"].value == pytest.approx(0.612121, abs=5e-7)
    assert of_passes([(0, -1)])["rating_kappa"].reason == "no answer is rated by both"


def of_passes(grades: list[tuple[int, int]]) -> dict[str, Estimate]:
    arms = np.array(["arm"] * len(grades))
    made = agreement.measure(agreement.Passes("repeats", "first", "second", arms, np.array(grades)))[1]
    return {key.metric: one for key, one in made.items()}


def test_the_published_discordant_shares_take_a_hundred_cases_or_so() -> None:
    found = compared(FIRST)[1]
    assert found.cases_needed is not None and 100 < found.cases_needed < 130  # power at 100 cases is 0.76
    assert "To find such a difference takes" in sentences.verdict(found, "Flash", "MedGemma", "")


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


RATING = st.sampled_from("gmp-")


@given(st.lists(st.tuples(RATING, RATING), min_size=1, max_size=30))
def test_the_three_readings_of_a_judges_failures_lie_within_the_bounds(pairs: list[tuple[str, str]]) -> None:
    both = Both(*(rated("".join(side)) for side in zip(*pairs, strict=True)))
    low, high = both.bounds
    poor = float((both.first.good.astype(int) - both.second.good).mean())
    assert low <= poor <= high
    swapped = Both(both.second, both.first)
    assert swapped.bounds == (pytest.approx(-high), pytest.approx(-low))
    assert swapped.discordant(failures_poor=True) == both.discordant(failures_poor=True)[::-1]
    if both.first.known.all() and both.second.known.all():
        assert low == high == poor
        assert both.discordant(failures_poor=True) == both.discordant(failures_poor=False)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20), st.integers(0, 2**31))
def test_a_ratio_on_resamples_is_that_of_the_drawn_items(members: list[tuple[bool, bool]], seed: int) -> None:
    part = fraction([one for one, _ in members], [among for _, among in members])
    drawn = np.random.default_rng(seed).integers(len(members), size=(3, len(members)))
    weights = np.stack([np.bincount(row, minlength=len(members)) for row in drawn]).astype(float)
    found = measure_parts({Key("good_fraction"): part}, weights, {}, 0.9).draws[Key("good_fraction")]
    for row, value in zip(drawn, found, strict=True):
        kept = [members[k][0] for k in row if members[k][1]]
        assert value == pytest.approx(np.mean(kept)) if kept else np.isnan(value)
