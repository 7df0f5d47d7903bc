"""A real Slurm of one node with two GPU slots, for the tests that submit jobs: the fixture `slurm_cluster`.

conftest.py takes it by `from slurm_cluster import slurm_cluster`. Where it cannot be had, the test is skipped
and says why.
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("mini_slurm.sh")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "sinfo")


@dataclass(frozen=True)
class Job:
    """One job that Slurm has seen: its rule, the GPUs it was given, and when it ran."""

    rule: str
    gpus: int
    state: str
    start: datetime | None
    end: datetime | None


class Cluster:
    """The running cluster."""

    def jobs(self) -> list[Job]:
        """Return every job since the start, in the order submitted; Snakemake leaves the rule's name as a comment."""
        shown = subprocess.run(["scontrol", "-o", "show", "job"], capture_output=True, text=True, check=True).stdout
        return [job(line) for line in shown.splitlines() if line.startswith("JobId=")]


def job(line: str) -> Job:
    """Return the job that one line of `scontrol -o show job` describes.

    >>> job("JobId=1 JobState=RUNNING Comment=rule_train_x StartTime=2026-01-01T00:00:00 EndTime=Unknown").rule
    'rule_train_x'
    """
    field = dict(part.split("=", 1) for part in line.split() if "=" in part)
    gpus = re.search(r"gpu:(\d+)", field.get("TresPerJob", "") + field.get("TresPerNode", ""))
    start, end = (_time(field.get(name, "Unknown")) for name in ("StartTime", "EndTime"))
    return Job(field.get("Comment", ""), int(gpus[1]) if gpus else 0, field["JobState"], start, end)


def _time(text: str) -> datetime | None:
    return None if text in ("Unknown", "N/A") else datetime.fromisoformat(text)


def obstacle() -> str | None:
    """Return why no cluster can be started here; None if one can."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if lacking:
        return f"no Slurm here ({', '.join(lacking)} missing): apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "Slurm's daemons want root"
    if Path("/etc/slurm/slurm.conf").exists():
        return "/etc/slurm/slurm.conf exists: this machine belongs to a Slurm already"
    return None


def _free_port() -> int:
    """Return a port that is free, and so is the next one."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise OSError("no two neighbouring ports are free")


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[Cluster]:
    """A cluster that lives as long as the tests do; skipped with the reason where there can be none."""
    reason = obstacle()
    if reason:
        pytest.skip(reason)
    # pytest's own folders are too long for a socket's path, and closed to munge
    folder = Path(tempfile.mkdtemp(prefix="mini_slurm_"))
    folder.chmod(0o755)
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin", "MINI_SLURM_PORT": str(_free_port())}
    try:
        subprocess.run(["bash", str(SCRIPT), "up", str(folder)], env=environment, check=True, timeout=90)
        yield Cluster()
    finally:
        subprocess.run(["bash", str(SCRIPT), "down", str(folder)], env=environment, check=True, timeout=90)
        shutil.rmtree(folder, ignore_errors=True)
