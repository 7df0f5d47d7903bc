"""Cheap checks come first: without images or the right to a model, nothing costly has begun."""

import shutil
from pathlib import Path

import pytest

from workflow import dvc_sync

ROOT = Path(__file__).parents[2]
MANIFEST, BASE, OWN = "results/data/manifest.parquet", "results/weights/fetch.json", "results/weights/chexagent.json"
CHECKS = {"data_ingest", "weights_fetch", "weights_fetch_own"}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[dvc_sync.Job]:
    """The real study with CheXagent-2, in a folder without images."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copy(ROOT / "workflow/presets/nodulocc.yaml", folder / "params.yaml")
    for name in ("Snakefile", "rules", "stages", "workflow"):
        (folder / name).symlink_to(ROOT / name)
    return dvc_sync.jobs(dvc_sync.dry_run(folder))


def before(job: dvc_sync.Job, jobs: list[dvc_sync.Job]) -> set[str]:
    """Files that must be there before a job starts, its own inputs and those of the jobs it waits for."""
    maker = {path: other for other in jobs for path in other.writes}
    found: set[str] = set()
    waiting = list(job.reads)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += maker[path].reads if path in maker else []
    return found


def test_the_environment_of_chexagent_waits_for_the_images_and_both_models(jobs: list[dvc_sync.Job]) -> None:
    (environment,) = [job for job in jobs if job.rule == "weights_environment"]
    assert before(environment, jobs) >= {MANIFEST, BASE, OWN}


def test_no_image_is_normalized_before_both_classes_are_known_to_be_labelled(jobs: list[dvc_sync.Job]) -> None:
    shards = [job for job in jobs if job.rule == "data_normalize_shard"]
    assert shards and all("results/data/check.json" in job.reads for job in shards)


def test_only_the_checks_themselves_wait_for_no_check(jobs: list[dvc_sync.Job]) -> None:
    assert {job.rule for job in jobs if not before(job, jobs) & {MANIFEST, BASE, OWN}} == CHECKS


def test_whatever_runs_a_model_waits_for_the_images_and_for_that_model(jobs: list[dvc_sync.Job]) -> None:
    running = [job for job in jobs if job.rule.startswith("nodules_")]
    assert len({(job.rule, *job.systems) for job in running}) > 10
    for job in running:
        wanted = {MANIFEST, BASE, *([OWN] if "chexagent" in job.systems else [])}
        assert before(job, jobs) >= wanted, (job.rule, job.systems)
