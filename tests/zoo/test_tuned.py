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
from stages.lib.learn import checkpoints, loop, network_scores
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


@pytest.mark.slow
def test_two_rows_that_are_tuned_alike_at_once_are_one_training(study, tmp_path):
    row = {**ROW, "max_steps": 30}
    kind.run_fit(study, tmp_path / "whole", "a", row, **given(study))
    processes = []
    for name in ("a", "b"):
        words = kind.options(
            study, tmp_path, name, row, **given(study, work=tmp_path / f"work_{name}", cache=tmp_path / "kept")
        )
        command = [sys.executable, "-m", "stages.zoo.fit", *words]
        processes.append(subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True))
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert sum("another process is at it" in one for one in said) == 1
    [run] = (tmp_path / "kept/checkpoints").iterdir()
    assert not [folder for folder in run.iterdir() if folder.name.startswith("broken")]
    for name in ("a", "b"):
        assert (
            documents.read(tmp_path / f"{name}.json", Fit).tried == documents.read(tmp_path / "whole/a.json", Fit).tried
        )
        written = (tmp_path / name / "network.safetensors").read_bytes()
        assert written == (tmp_path / "whole/a/network.safetensors").read_bytes()


def test_a_renamed_row_takes_up_the_training_and_the_scores_that_are_there(study, tmp_path, monkeypatch):
    row, where = {**ROW, "max_steps": 2}, {"cache": tmp_path / "kept"}
    told = kind.run_fit(study, tmp_path, "a", row, **given(study, work=tmp_path / "work_a", **where))
    scores, _ = kind.run_infer(study, tmp_path, "a", row, **given(study, work=tmp_path / "work_a", **where))

    def never(*_):
        raise AssertionError

    monkeypatch.setattr(loop, "_step", never)
    monkeypatch.setattr(network_scores, "_logits", never)
    more = given(study, work=tmp_path / "work_b", **where)
    again = kind.run_fit(study, tmp_path, "b", row | {"seen": "labels", "licence": "CC0"}, **more)
    assert (again.tried, again.chosen, again.operations) == (told.tried, told.chosen, told.operations)
    assert kind.run_infer(study, tmp_path, "b", row, **more)[0] == scores
    assert [path.name for path in (tmp_path / "work_b").iterdir()] == []
