"""What the findings benchmark takes, before anything is asked: counts by hand, prices by a table, a line per model."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_cases import arm

from stages.lib.core import tables
from stages.lib.core.case_tables import SAMPLE
from workflow import costs, estimate, findings_costs
from workflow.findings_costs import IMAGES_OF_A_CASE, RUBRIC_TOKENS, SHORT_ANSWER, VERDICT_TOKENS, Sample

ROOT = Path(__file__).parents[2]
ASKED = len("Describe the findings.") / costs.TOKEN_CHARACTERS + costs.TALK_TOKENS
JUDGE = {"kind": "endpoint", "repeats": 2, "max_tokens": 100, "price": "none"}
FOUR = Sample(4, 2.5, "by hand")


def study(arms: dict[str, Any], prices: str = "shipped", judges: dict[str, Any] | None = None) -> dict[str, Any]:
    """Parameters of four cases."""
    sample = {"per_stratum": 2, "regions": ["head"], "modalities": ["CT", "MR"]}
    return {
        "findings": {"sample": sample, "arms": arms, "judges": judges or {}, "client": {"prices": prices}},
        "study": {"chapters": ["findings"]},
    }


def remote(**changes: Any) -> dict[str, Any]:
    """An arm behind an endpoint."""
    return {**arm("endpoint", max_tokens=200), "price": "m", **changes}


@pytest.mark.parametrize(
    ("changes", "requests", "images", "text"),
    [
        ({"images": "first"}, 4, 4, 4 * ASKED),
        ({"images": "none"}, 4, 0, 4 * ASKED),
        ({"images": "all", "max_images": 4}, 4, 10, 4 * ASKED),
        ({"images": "all", "max_images": 2}, 4, 8, 4 * ASKED),
        ({"images": "first", "samples": 3}, 12, 12, 12 * ASKED),
        ({"images": "first", "unit": "image"}, 10, 10, 10 * ASKED),
        ({"images": "first", "system": True}, 4, 4, 4 * (ASKED + len("You are a radiologist.") / 4)),
        ({"images": "first", "after": "other"}, 4, 4, 4 * (ASKED + SHORT_ANSWER)),
        ({"images": "first", "n_examples": 1}, 4, 4, 4 * (ASKED + findings_costs.GOLD_TOKENS)),
        (
            {"images": "first", "n_examples": 1, "example_images": True},
            *(4, 14, 4 * (ASKED + findings_costs.GOLD_TOKENS)),
        ),
    ],
)
def test_an_arm_is_asked_as_often_as_cases_images_samples_and_examples_say(changes, requests, images, text):
    (asked,) = findings_costs.arms(study({"a": remote(**changes)}), FOUR)
    assert (asked.requests, asked.images) == (requests, images)
    assert asked.text_tokens == pytest.approx(text)
    assert asked.output_tokens == (requests * SHORT_ANSWER, requests * 200)


def test_each_question_of_a_focused_prompt_is_a_request():
    from stages.lib.models import prompt_family

    (asked,) = findings_costs.arms(study({"a": remote(prompt="brief_focused", images="first")}), FOUR)
    questions = len(prompt_family.read("brief_focused").questions)
    assert questions > 1
    assert asked.requests == 4 * questions


def test_a_constant_and_rules_are_asked_nothing_and_a_judge_about_the_answers_of_all_arms():
    document = study({"a": remote(samples=3), "c": arm("constant")}, judges={"rules": {"kind": "rules"}, "j": JUDGE})
    assert [asked.name for asked in findings_costs.arms(document, FOUR)] == ["a"]
    (judge,) = findings_costs.judges(document, FOUR)
    assert (judge.name, judge.requests, judge.images) == ("j", 2 * 4 * 2, 0)
    assert judge.text_tokens == 16 * (RUBRIC_TOKENS + findings_costs.GOLD_TOKENS + SHORT_ANSWER)
    assert judge.output_tokens == (16 * min(VERDICT_TOKENS, 100), 16 * 100)


def test_images_are_counted_where_the_cases_are_sampled_and_else_assumed(tmp_path):
    document = study({})
    assumed = findings_costs.sample(tmp_path, document)
    assert (assumed.cases, assumed.images) == (4, IMAGES_OF_A_CASE)
    assert "assumed" in assumed.source
    rows = [
        {"case_id": f"MPX{number}", "role": role, "region": "head", "modality": "CT", "numbers": list(range(images))}
        | {"gold": "A mass.", "gold_scope": "imaged_only", "flags": []}
        for number, (role, images) in enumerate([("test", 1), ("test", 2), ("test", 3), ("test", 4), ("train", 9)])
    ]
    path = tmp_path / "findings/sample.parquet"
    tables.write(path, tables.from_rows(rows, SAMPLE), SAMPLE)
    counted = findings_costs.sample(tmp_path, document)
    assert (counted.cases, counted.images) == (4, 2.5)
    assert str(path) in counted.source


def test_dollars_are_tokens_times_the_price_of_the_table_and_its_date_is_told(tmp_path):
    entry = {"date": "2026-11-20", "source": "https://vendor.example", "input": 1.0, "output": 2.0}
    path = tmp_path / "prices.yaml"
    path.write_text(yaml.safe_dump({"m": [{**entry, "cached": None, "reasoning": None}]}))
    document = study({"a": remote(images="first"), "b": remote(price="none")}, str(path), {"j": JUDGE})
    asked, unknown = findings_costs.arms(document, FOUR)
    low, high, date = findings_costs.dollars(asked, str(path)) or (0.0, 0.0, "")
    assert low == pytest.approx((4 * ASKED + 4 * 256 + 2 * 4 * SHORT_ANSWER) / 1e6)
    assert high == pytest.approx((4 * ASKED + 4 * 1105 + 2 * 4 * 200) / 1e6)
    assert date == "price of 2026-11-20"
    assert findings_costs.dollars(unknown, str(path)) is None
    text = "\n".join(findings_costs.lines(document, costs.GPUS["RTX 4090"], tmp_path))
    assert "arm a: 4 requests" in text
    assert "(price of 2026-11-20)" in text
    assert "in all $0.00 to $0.01, without b, j" in text


def test_hours_grow_with_the_requests_and_a_faster_gpu_takes_fewer():
    def hours(gpu: str, **changes: Any) -> tuple[float, float]:
        (asked,) = findings_costs.arms(study({"a": arm(max_tokens=200, **changes)}), FOUR)
        return findings_costs.hours(asked, costs.GPUS[gpu])

    once, thrice = hours("RTX 4090"), hours("RTX 4090", samples=3)
    assert 0 < once[0] < once[1]
    assert thrice == pytest.approx(tuple(3 * each for each in once))
    fast = max(costs.GPUS, key=lambda name: costs.GPUS[name].bandwidth)
    assert hours(fast)[1] < once[1]


def test_the_estimate_of_a_preset_says_requests_tokens_images_hours_and_that_nothing_was_measured(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    estimate.main(["--preset", "medpix", "--gpu", "RTX 4090"])
    said = capsys.readouterr().out
    assert "computed, not measured: 50 test cases" in said
    assert "arm medgemma: 50 requests" in said
    assert "arm remote: 50 requests" in said
    assert "judge model: 200 requests" in said  # of 50 cases and four arms
    for word in ("k tokens of text", "153 images", "answers", "h on one RTX 4090", "price not known"):
        assert word in said, word
