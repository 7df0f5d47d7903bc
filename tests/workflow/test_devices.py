"""The local limit of GPU jobs: one for each card, whatever the number of cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workflow import devices

ROOT = Path(__file__).parents[2]
TWO = "GPU 0: NVIDIA RTX A5000 (UUID: GPU-1)\nGPU 1: NVIDIA RTX A5000 (UUID: GPU-2)\n"


SCRATCH = f"""
configfile: "{ROOT}/params.yaml"
include: "{ROOT}/rules/common.smk"

print("limit of gpu:", workflow.global_resources["gpu"].value if "gpu" in workflow.global_resources else "none")

rule all:
    input: expand("{{card}}.txt", card=["a", "b", "c"])
    default_target: True

rule job:
    output: "{{card}}.txt"
    resources: gpu=1
    shell: "date +%s.%N >{{output}}; sleep 0.6; date +%s.%N >>{{output}}"
"""


def run(folder: Path, *options: str, **environment: str) -> str:
    """Return what Snakemake says about three jobs that want a GPU, under the project's own rules/common.smk."""
    (folder / "Snakefile").write_text(SCRATCH)
    command = [sys.executable, "-m", "snakemake", "--nocolor", "--forceall", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", **environment}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def together(folder: Path, *options: str, **environment: str) -> int:
    """Return how many of the three jobs ran at one time."""
    run(folder, "--cores", "16", *options, **environment)
    spans = [tuple(map(float, (folder / f"{card}.txt").read_text().split())) for card in "abc"]
    return max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)


@pytest.mark.parametrize(("visible", "wanted"), [("", 1), ("-1", 1), ("0", 1), ("0,2", 2), ("GPU-1, GPU-2,GPU-3", 3)])
def test_visible_devices_are_counted(monkeypatch: pytest.MonkeyPatch, visible: str, wanted: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.count() == wanted


@pytest.mark.parametrize(("answer", "wanted"), [(TWO, 2), ("", 1), ("No devices were found\n", 1)])
def test_else_those_of_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, wanted: int) -> None:
    (tmp_path / "answer").write_text(answer)
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat {tmp_path / 'answer'}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert devices.count() == wanted


def test_without_nvidia_smi_jobs_that_want_a_gpu_run_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", "")
    assert devices.count() == 1


def test_sixteen_cores_without_a_gpu_run_one_gpu_job_at_a_time(tmp_path: Path) -> None:
    assert together(tmp_path) == 1


def test_two_cards_take_two_jobs_and_the_command_line_wins(tmp_path: Path) -> None:
    assert together(tmp_path, CUDA_VISIBLE_DEVICES="0,1") == 2
    assert together(tmp_path, "--resources", "gpu=3") == 3


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        (["--cores", "16"], "1"),
        (["--cores", "16", "--resources", "gpu=3"], "3"),
        (["--executor", "slurm", "--jobs", "16"], "none"),
        (["--executor", "slurm", "--jobs", "16", "--resources", "gpu=3"], "3"),
    ],
)
def test_a_dry_run_is_limited_as_the_run_will_be_and_a_cluster_is_not(
    tmp_path: Path, options: list[str], limit: str
) -> None:
    assert f"limit of gpu: {limit}\n" in run(tmp_path, "--dry-run", *options)
