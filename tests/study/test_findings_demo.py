"""What the demo of the chapter shows as shipped: which arms differ, which do not, and that its judge is right."""

import json
import re
from pathlib import Path
from typing import Any

import checkout as checkouts
import findings_study
import pytest

from stages.lib.core import tables
from stages.lib.core.case_tables import SAMPLE

pytestmark = pytest.mark.slow

CONSTANTS = ("most_frequent", "nothing_abnormal")
STRATUM, CASES = 25, 250


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo of the chapter with the audits of its judge, run once."""
    folder = checkouts.copy(tmp_path_factory.mktemp("demo") / "checkout", {})
    findings_study.snakemake(folder, "findings", "findings_audit")
    return folder


@pytest.fixture(scope="module")
def shown(demo: Path) -> dict[str, Any]:
    """Its numbers."""
    return findings_study.metrics(demo)


@pytest.fixture(scope="module")
def tuned(demo: Path) -> dict[str, Any]:
    """Its numbers with the tuned arm."""
    findings_study.snakemake(demo, "findings_tuned")
    return findings_study.metrics(demo, "results/findings/tuned")


def verdict(document: dict[str, Any], first: str, second: str) -> dict[str, Any]:
    """The verdict about two arms."""
    (found,) = [one for one in document["verdicts"] if (one["first"], one["second"]) == (first, second)]
    return found


def compared(document: dict[str, Any], first: str, second: str, metric: str) -> dict[str, Any]:
    """A paired difference of two arms."""
    entry: dict[str, Any] = document["comparison"][first][second]["test"][metric]
    return entry


def test_all_images_beat_the_first_one_alone_since_the_key_finding_is_often_on_the_second(shown: dict) -> None:
    found = verdict(shown, "all_images", "first_image")
    assert found["better"] == "all_images"
    assert found["p_holm"] < 0.05
    assert found["n"] == found["n_both"] == CASES
    for metric in ("good_fraction", "key_finding_rate", "finding_f1", "ordinal_effect"):
        assert compared(shown, "all_images", "first_image", metric)["low"] > 0, metric


def test_other_words_for_the_same_prompt_are_undecided_and_the_page_says_so(demo: Path, shown: dict) -> None:
    found = verdict(shown, "all_images", "reworded")
    assert found["better"] is None
    assert found["reasons"]
    difference = compared(shown, "all_images", "reworded", "good_fraction")
    assert difference["low"] <= 0 <= difference["high"]
    assert found["cases_needed"] is None or found["cases_needed"] > found["n"]
    assert "undecided" in re.sub(r"<[^>]+>", " ", (demo / "results/findings/report.html").read_text())


def test_the_most_frequent_finding_and_nothing_abnormal_are_rows_and_lose(shown: dict) -> None:
    best = shown["description"]["all_images"]["test"]
    for constant in CONSTANTS:
        worse = shown["description"][constant]["test"]
        for metric in ("good_fraction", "key_finding_rate", "finding_f1"):
            assert worse[metric]["n"] == best[metric]["n"] == CASES
            assert worse[metric]["value"] < best[metric]["value"], (constant, metric)
    assert verdict(shown, "all_images", "nothing_abnormal")["better"] == "all_images"
    for metric in ("good_fraction", "key_finding_rate", "finding_f1", "ordinal_effect"):
        assert compared(shown, "all_images", "nothing_abnormal", metric)["low"] > 0, metric


def test_a_sentence_of_the_right_form_has_a_high_rouge_and_a_low_finding_f1(shown: dict) -> None:
    nothing = shown["description"]["nothing_abnormal"]["test"]
    assert nothing["rouge_l_f1"]["value"] > nothing["finding_f1"]["value"]


def test_the_audit_names_no_fault_of_the_rules(demo: Path) -> None:
    audits = json.loads((demo / "results/findings/audit/audits.json").read_text())["audits"]
    outcomes = {audit["audit"]: audit["outcome"] for audit in audits}
    assert "fail" not in outcomes.values()
    wanted = {"repeat", "gold", "negated", "swapped", "other", "empty", "instructed", "padded"}
    assert {name for name, outcome in outcomes.items() if outcome == "pass"} >= wanted
    assert all(audit["reason"] for audit in audits if audit["outcome"] == "null")


def test_each_stratum_has_its_cases_and_says_that_they_are_too_few(demo: Path, shown: dict) -> None:
    strata = shown["counts"]["strata"]
    assert {cases for inside in strata.values() for cases in inside.values()} == {STRATUM}
    assert sum(sum(inside.values()) for inside in strata.values()) == CASES
    page = re.sub(r"<[^>]+>", " ", (demo / "results/findings/report.html").read_text())
    assert "too few" in page


def test_the_tuned_arm_is_asked_about_cases_that_it_was_not_trained_on(demo: Path, tuned: dict) -> None:
    sample = tables.read(demo / "results/findings/sample.parquet", SAMPLE).to_pylist()
    taught = {row["case_id"] for row in sample if row["role"] in ("train", "val")}
    tested = {row["case_id"] for row in sample if row["role"] == "test"}
    assert taught
    assert not taught & tested
    assert tuned["description"]["tuned"]["test"]["good_fraction"]["n"] == len(tested) == CASES
    assert "Tuned on gold texts" in (demo / "results/findings/tuned/report.html").read_text()


def test_the_tuned_arm_beats_its_base(tuned: dict) -> None:
    found = verdict(tuned, "tuned", "all_images")
    assert found["better"] == "tuned"
    assert found["p_holm"] < 0.05
    for metric in ("good_fraction", "key_finding_rate", "finding_f1", "ordinal_effect"):
        assert compared(tuned, "tuned", "all_images", metric)["low"] > 0, metric
