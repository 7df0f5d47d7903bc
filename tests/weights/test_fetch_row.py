"""Claims about stages.weights.fetch_row: the model of one arm or judge, and of nothing else."""

import json

import pytest

from stages.lib.core import documents
from stages.lib.core.errors import ModelError, ParamsError
from stages.lib.models.snapshot import Snapshot
from stages.weights.fetch_row import main

BASE = "workflow/demo_base"
ROW = {"kind": "local", "model": BASE, "revision": "none"}


def fetched(path, **rows):
    """The record that it writes of some rows."""
    main(["--params", json.dumps({"findings": {"arms": {}, "judges": {}, **rows}}), "--out", str(path)])
    return documents.read(path, Snapshot)


def test_the_record_of_an_arm_and_of_a_judge_of_one_model_is_the_same(tmp_path):
    of_arm = fetched(tmp_path / "a.json", arms={"a": ROW})
    of_judge = fetched(tmp_path / "j.json", judges={"j": ROW})
    assert of_arm == of_judge
    assert of_arm.base == BASE
    assert "model.safetensors" in of_arm.files


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ({}, "found "),
        ({"arms": {"c": {"kind": "constant", "text": "most_frequent"}}}, "findings.arms.c"),
        ({"arms": {"a": ROW, "b": ROW}}, "findings.arms.a, findings.arms.b"),
        ({"arms": {"a": {**ROW, "temperature": 0.5}}}, "findings.arms.a.temperature: unknown"),
    ],
)
def test_anything_but_one_model_in_process_is_refused(tmp_path, rows, named):
    with pytest.raises(ParamsError, match=named):
        fetched(tmp_path / "o.json", **rows)
    assert not (tmp_path / "o.json").exists()


def test_a_missing_model_names_the_row(tmp_path):
    with pytest.raises(ModelError, match=r"findings\.arms\.a\.model"):
        fetched(tmp_path / "o.json", arms={"a": {**ROW, "model": str(tmp_path / "nowhere")}})
