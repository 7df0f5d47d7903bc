"""What is asked of predict stays with predict: its parameters, limits and outputs are no reason to run the study."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.lib.core.errors import ParamsError
from workflow import dvc_sync, registry

ROOT = Path(__file__).parents[2]
OWN = {  # values that stand nowhere else in the parameters
    "root": "data/of_predict",
    "layout": "nodulocc",
    "accept": ["view"],
    "max_rejected": 7321,
    "max_pixels": 49999991,
    "outputs": ["csv", "json", "sr"],
    "list_rejected": True,
}
LIMITS = ("root", "layout", "accept", "max_rejected", "max_pixels")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[dvc_sync.Job]:
    """Jobs of the study and of predict, whose limits are not those of the study."""
    folder = tmp_path_factory.mktemp("study")
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert set(OWN) <= set(document["predict"])
    document["predict"] |= OWN
    (folder / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    for name in ("Snakefile", "rules", "stages", "workflow"):
        (folder / name).symlink_to(ROOT / name)
    return dvc_sync.jobs(dvc_sync.dry_run(folder, "all", "predict"))


def sections(job: dvc_sync.Job) -> dict[str, Any]:
    words = shlex.split(job.command.partition(" 2>&1")[0].strip("()"))
    document: dict[str, Any] = json.loads(words[words.index("--params") + 1]) if "--params" in words else {}
    return document


def test_the_limits_of_predict_are_no_reason_to_run_anything_of_the_study(jobs: list[dvc_sync.Job]) -> None:
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text())
    ingests = {job.rule: sections(job)["data"]["ingest"] for job in jobs if job.rule.endswith("_ingest")}
    limits = {name: OWN[name] for name in LIMITS}
    assert ingests == {
        "data_ingest": shipped["data"]["ingest"],
        "predict_ingest": shipped["data"]["ingest"] | limits,
    }
    study = [job for job in jobs if job.rule != "predict" and not job.rule.startswith("predict_")]
    assert len(study) > 20
    for job in study:
        assert "predict" not in sections(job)
        assert not [value for value in (OWN["root"], "7321", "49999991") if str(value) in job.command], job.rule
        assert not [path for path in job.reads if path.startswith("results/predict/")]


def test_images_without_an_answer_are_always_listed_and_in_the_csv_only_if_asked_for(jobs: list[dvc_sync.Job]) -> None:
    listed = "results/predict/unanswered.csv"
    assert [job.rule for job in jobs if listed in job.writes] == ["predict_list"]
    assert listed in next(job for job in jobs if job.rule == "predict").reads
    (submit,) = [job for job in jobs if job.rule == "predict_submit"]
    assert f"--unanswered {listed}" in submit.command
    (study,) = [job for job in jobs if job.rule == "nodules_submit"]
    assert "--unanswered" not in study.command


def test_the_kinds_of_files_that_are_asked_for_are_made_with_the_adapter_behind_them(jobs: list[dvc_sync.Job]) -> None:
    (asked,) = [job for job in jobs if job.rule == "predict"]
    assert "results/predict/objects" in asked.reads
    assert "results/predict/submission/localization_test_results.csv" in asked.reads
    (export,) = [job for job in jobs if job.rule == "predict_export"]
    assert "--outputs csv json sr" in export.command
    assert "--adapter-folder results/nodules/train/adapter" in export.command
    assert "results/nodules/train/adapter" not in export.reads  # it is read and never made


@pytest.mark.parametrize("outputs", [[], ["csv", "csv"], ["pdf"]])
def test_kinds_of_files_that_are_none_are_refused(outputs: list[str]) -> None:
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    document["predict"]["outputs"] = outputs
    with pytest.raises(ParamsError, match=r"predict(\.outputs|: )"):
        registry.check(document)
