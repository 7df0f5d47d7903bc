"""Rows of the kinds tuned and soup by their commands: fit, scores, and a fit that is killed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import zoo_backbone as fake
import zoo_kind as kind
import zoo_tuning

from stages.lib.core import documents
from stages.lib.learn import checkpoints
from stages.zoo.records import Fit

ROW = {**zoo_tuning.ROW, "kind": "tuned", "shifts": 2, "per_device_train_batch_size": 4}
SOUP = {"kind": "soup", "members": ["a", "b"], "method": "greedy_soup", "side_px": fake.SIDE, "shifts": 1}
SOUP |= {"seen": "no", "licence": "MIT", "commercial": True}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of 24 images, and the record of a tiny ResNet."""
    folder = fake.study(tmp_path_factory.mktemp("tuned") / "study", images=24)
    documents.write(folder / "resnet.json", zoo_tuning.model(folder / "resnet"))
    return folder


def given(study, **more):
    return {"normalized": study / "normalized.parquet", "weights": study / "resnet.json", **more}


def test_rows_are_tuned_and_scored_and_stirred_into_a_soup(study, tmp_path):
    rows = {"a": {**ROW, "max_steps": 2}, "b": {**ROW, "max_steps": 2, "learning_rate": 0.01}}
    for name, row in rows.items():
        told = kind.run_fit(study, tmp_path, name, row, **given(study, work=tmp_path / f"work/{name}"))
        assert told.failure is None
        assert (told.side_px, told.passes, told.random_weights) == (fake.SIDE, 4, True)
        assert told.preprocessing_hash == fake.HASH
        scores, record = kind.run_infer(study, tmp_path, name, row, **given(study))
        assert record.images == len(scores) > 0
        assert all(0 < one["score"] < 1 for one in scores)
    members = {
        "members": [tmp_path / name for name in rows],
        "member_fits": [tmp_path / f"{name}.json" for name in rows],
        "normalized": study / "normalized.parquet",
    }
    told = kind.run_fit(study, tmp_path, "soup", SOUP, **members)
    assert told.failure is None
    assert [one.option for one in told.tried[:2]] == ["a", "b"]
    scores, record = kind.run_infer(study, tmp_path, "soup", SOUP, **members)
    assert record.failure is None
    assert len(scores) == record.images


def test_a_member_that_failed_is_the_soups_failure(study, tmp_path):
    wrong = {**ROW, "architecture": "Dinov2Model"}
    told = kind.run_fit(study, tmp_path, "a", wrong, **given(study))
    assert "wanted Dinov2Model, as the row's architecture says" in told.failure.reason
    kind.run_fit(study, tmp_path, "b", {**ROW, "max_steps": 2}, **given(study))
    members = {"members": [tmp_path / "a", tmp_path / "b"], "member_fits": [tmp_path / "a.json", tmp_path / "b.json"]}
    soup = kind.run_fit(study, tmp_path, "soup", SOUP, normalized=study / "normalized.parquet", **members)
    assert soup.failure.reason.startswith("its member a failed: ")


@pytest.mark.slow
def test_a_fit_that_is_killed_goes_on_and_comes_to_the_same_bits(study, tmp_path):
    row = {**ROW, "max_steps": 60}
    kind.run_fit(study, tmp_path / "whole", "a", row, **given(study))
    words = kind.options(study, tmp_path / "killed", "a", row, **given(study))
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.zoo.fit", *words], cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL
    )
    work = tmp_path / "killed/work/checkpoints"
    while not list(work.glob(f"*/checkpoint-*/{checkpoints.COMMIT}")):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed/a.json").exists()
    [run] = work.iterdir()
    assert max(checkpoints.step(folder) for folder in run.iterdir()) < 60
    told = kind.run_fit(study, tmp_path / "killed", "a", row, **given(study))
    assert [one.name for one in work.iterdir()] == [run.name]
    assert told.tried == documents.read(tmp_path / "whole/a.json", Fit).tried
    for name in ("network.safetensors", "network.json"):
        assert (tmp_path / "killed/a" / name).read_bytes() == (tmp_path / "whole/a" / name).read_bytes()
