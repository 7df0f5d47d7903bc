"""Claims about stages.weights.fetch_row: the model of one arm or judge, and of nothing else."""

import json

import pytest
from tiny_cases import LOCAL, arm

from stages.lib.core import documents
from stages.lib.core.errors import ModelError, ParamsError
from stages.lib.models.snapshot import Snapshot
from stages.weights.fetch_row import main

BASE = "workflow/demo_base"
JUDGE = {
    "rubric": "short",
    "repeats": 1,
    "fallback": "none",
    "max_tokens": 9,
    "max_reprompts": 0,
    "max_answer_chars": 0,
}
JUDGE |= {"seed": 1, "family": "none"}


def fetched(path, **rows):
    """The record that it writes of some rows."""
    main(["--params", json.dumps({"findings": {"arms": {}, "judges": {}, **rows}}), "--out", str(path)])
    return documents.read(path, Snapshot)


def test_the_record_of_an_arm_and_of_a_judge_of_one_model_is_the_same(tmp_path):
    of_arm = fetched(tmp_path / "a.json", arms={"a": arm(model=BASE)})
    of_judge = fetched(tmp_path / "j.json", judges={"j": {**LOCAL, **JUDGE, "model": BASE}})
    assert of_arm == of_judge
    assert of_arm.base == BASE
    assert "model.safetensors" in of_arm.files


def test_how_an_arm_asks_changes_nothing_of_the_record(tmp_path):
    one = fetched(tmp_path / "one.json", arms={"a": arm(model=BASE)})
    assert fetched(tmp_path / "other.json", arms={"b": arm(model=BASE, prompt="comprehensive", temperature=0.5)}) == one


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ({}, "found "),
        ({"arms": {"c": {**arm("constant"), "text": "most_frequent"}}}, "findings.arms.c"),
        ({"arms": {"a": arm(model=BASE), "b": arm(model=BASE)}}, "findings.arms.a, findings.arms.b"),
    ],
)
def test_anything_but_one_model_in_process_is_refused(tmp_path, rows, named):
    with pytest.raises(ParamsError, match=named):
        fetched(tmp_path / "o.json", **rows)
    assert not (tmp_path / "o.json").exists()


def test_a_missing_model_names_the_row(tmp_path):
    with pytest.raises(ModelError, match=r"findings\.arms\.a\.model"):
        fetched(tmp_path / "o.json", arms={"a": arm(model=str(tmp_path / "nowhere"))})
