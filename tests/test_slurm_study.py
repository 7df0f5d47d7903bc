"""The small study by the literal `snakemake --profile slurm`, on a real one-node Slurm with two GPU slots."""

from pathlib import Path

import checkout as checkouts
import pytest
import slurm_cluster as fixture

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]

ON_A_GPU = {"train", "infer_zero_shot_part", "infer_tuned_part", "localize_medgemma_part"}


def test_the_study_runs_on_slurm_with_a_gpu_slot_for_each_gpu_stage(
    slurm_cluster: fixture.Cluster, tmp_path: Path
) -> None:
    before = len(slurm_cluster.jobs())
    folder = checkouts.copy(tmp_path / "study", {**checkouts.SMALL, "study": {"shards": 2}})
    quick = ("--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "10")
    checkouts.run(folder, "snakemake", "--profile", "slurm", *quick)
    assert (folder / "results" / "report.html").stat().st_size
    jobs = slurm_cluster.jobs()[before:]
    assert {job.state for job in jobs} == {"COMPLETED"}
    asked = {name: [job for job in jobs if job.rule.startswith(f"rule_{name}_wildcards")] for name in ON_A_GPU}
    asked["train"] = [job for job in jobs if job.rule.startswith("rule_train")]
    assert {name: [job.gpus for job in found] for name, found in asked.items()} == {
        name: [1] if name == "train" else [1, 1] for name in ON_A_GPU
    }
    on_gpu = {id(job) for found in asked.values() for job in found}
    assert {job.gpus for job in jobs if id(job) not in on_gpu} == {0}
    shards = [sorted(found, key=lambda job: job.start) for name, found in asked.items() if name != "train"]
    assert any(second.start < first.end for first, second in shards)
