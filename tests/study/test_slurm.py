"""Slurm: the test cluster is a real one with two GPU slots, and the small study runs on it by its profile."""

import subprocess
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import checkout as checkouts
import pytest
import slurm_cluster as fixture

# one cluster per machine: all that take it stand in this file, which one worker runs
pytestmark = pytest.mark.slow

ON_A_GPU = {
    *("nodules_train", "nodules_infer_shard", "nodules_infer_other_form_shard"),
    *("nodules_select_shard", "nodules_localize_shard"),
}
SHARDS = {"nodules_train": 1, "nodules_infer_shard": 4}  # jobs; the others have two: one system, two shards


def submit(*options):
    return subprocess.run(["sbatch", "--parsable", *options], capture_output=True, text=True, check=True).stdout.strip()


def test_two_jobs_with_a_gpu_each_run_side_by_side_and_the_third_waits(slurm_cluster, tmp_path):
    for number in range(3):
        command = "echo $CUDA_VISIBLE_DEVICES; sleep 2"
        submit("--gpus=1", f"--comment=three_{number}", f"--output={tmp_path}/{number}", f"--wrap={command}")
    deadline = time.monotonic() + 60
    while any(job.state in ("PENDING", "RUNNING", "COMPLETING") for job in slurm_cluster.jobs()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    jobs = [job for job in slurm_cluster.jobs() if job.rule.startswith("three_")]
    assert [(job.gpus, job.state) for job in jobs] == [(1, "COMPLETED")] * 3
    assert {(tmp_path / "0").read_text(), (tmp_path / "1").read_text()} == {"0\n", "1\n"}
    first, second, third = sorted(jobs, key=lambda job: job.start)
    assert second.start < first.end
    assert third.start >= min(first.end, second.end)


def test_more_than_the_machine_has_may_be_asked_for_so_that_real_requests_run(slurm_cluster, tmp_path):
    submit("--wait", "--cpus-per-task=8", "--mem=64000", f"--output={tmp_path}/o", "--wrap=echo ran")
    assert (tmp_path / "o").read_text() == "ran\n"


def test_a_machine_that_is_part_of_a_cluster_is_left_alone(slurm_cluster, tmp_path):
    assert "belongs to a Slurm" in fixture.obstacle()
    up = subprocess.run(["bash", fixture.SCRIPT, "up", tmp_path / "other"], capture_output=True, text=True, check=False)
    assert up.returncode == 3
    assert Path("/etc/slurm/slurm.conf").resolve().is_file()
    assert slurm_cluster.jobs() is not None


def test_a_line_of_scontrol_is_read():
    line = (
        "JobId=7 JobState=COMPLETED StartTime=2026-01-02T03:04:05 EndTime=Unknown Comment=rule_a TresPerJob=gres:gpu:2"
    )
    assert fixture.job(line) == fixture.Job("rule_a", 2, "COMPLETED", datetime(2026, 1, 2, 3, 4, 5), None)


def test_the_study_runs_on_slurm_with_a_gpu_slot_for_each_gpu_stage(
    slurm_cluster: fixture.Cluster, tmp_path: Path
) -> None:
    before = len(slurm_cluster.jobs())
    less = {f"nodules.localizers.{name}": None for name in ("attribution", "attribution_tuned")}
    less |= {f"nodules.classifiers.{name}_peak": None for name in ("attribution", "attribution_tuned", "combined")}
    kept = {name: values for name, values in checkouts.SMALL.items() if name not in less}
    kept["nodules.measure"] = {**kept["nodules.measure"], "comparisons": [["tuned", "zero_shot"]]}
    kept["zoo.localizer_cv"] = {"rivals": ["medgemma"]}
    folder = checkouts.copy(tmp_path / "study", {**kept, "study": {"shards": 2}, **less})
    quick = ("--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "10")
    checkouts.run(folder, "snakemake", "--profile", "slurm", *quick)
    assert (folder / "results" / "report.html").stat().st_size
    jobs = slurm_cluster.jobs()[before:]
    assert {job.state for job in jobs} == {"COMPLETED"}
    asked = {name: [job for job in jobs if job.rule.startswith(f"rule_{name}_wildcards")] for name in ON_A_GPU}
    asked["nodules_train"] = [job for job in jobs if job.rule.startswith("rule_nodules_train")]
    assert {name: [job.gpus for job in found] for name, found in asked.items()} == {
        name: [1] * SHARDS.get(name, 2) for name in ON_A_GPU
    }
    on_gpu = {id(job) for found in asked.values() for job in found}
    assert {job.gpus for job in jobs if id(job) not in on_gpu} == {0}
    shards = [sorted(found, key=lambda job: job.start) for name, found in asked.items() if name != "nodules_train"]
    pairs = [pair for found in shards for pair in pairwise(found)]
    assert any(later.start < earlier.end for earlier, later in pairs), "no two shards ran side by side"
