"""A locked folder: which run holds it, or has left its lock behind, and what to do."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from workflow import running

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a lock."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / running.LOCKS).mkdir(parents=True)
    (tmp_path / running.LOCKS / "0.output.lock").write_text("results/report.html\n")
    return tmp_path


def change(**changes: object) -> None:
    running.RECORD.write_text(json.dumps(json.loads(running.RECORD.read_text()) | changes))


def test_without_a_lock_there_is_nothing_to_say(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    running.begin()
    shutil.rmtree(running.LOCKS)
    assert running.holder() is None
    running.tell()
    assert capsys.readouterr().err == ""


def test_a_run_that_lives_is_named_with_process_machine_and_time(folder: Path) -> None:
    running.begin()
    found = running.holder()
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(psutil.Process().create_time()))
    assert f"process {os.getpid()} on {running.socket.gethostname()}, since {since}, which still runs" in found
    assert "--unlock" not in found


def test_a_run_that_is_dead_is_named_with_the_command_that_frees_the_folder(folder: Path) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    running.begin()
    change(pid=done.pid)
    found = running.holder()
    assert f"process {done.pid} on " in found
    assert "which was killed: 'snakemake --unlock' frees the folder" in found


def test_another_process_of_the_same_number_is_not_taken_for_the_run(folder: Path) -> None:
    running.begin()
    change(started=psutil.Process().create_time() - 3600)
    assert "which was killed" in running.holder()


def test_of_a_run_on_another_machine_nobody_here_can_say_whether_it_lives(folder: Path) -> None:
    running.begin()
    change(host="node07")
    found = running.holder()
    assert "on node07, since " in found
    assert "If it no longer runs there: 'snakemake --unlock'" in found
    assert "killed" not in found


@pytest.mark.parametrize("record", [None, "", "{}", '{"pid": "x", "host": "a", "started": 1, "recorded": 1}', "older"])
def test_a_lock_that_is_not_of_the_recorded_run_is_given_to_nobody(folder: Path, record: str | None) -> None:
    running.begin()
    if record == "older":
        change(recorded=time.time() - 60)
    elif record is None:
        running.RECORD.unlink()
    else:
        running.RECORD.write_text(record)
    assert "by a run that has not said which it is" in running.holder()


def test_a_run_says_nothing_of_its_own_lock_nor_while_it_frees_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running.begin()
    running.tell()
    change(pid=os.getppid(), started=psutil.Process(os.getppid()).create_time())
    running.tell(["snakemake", "--unlock"])
    assert capsys.readouterr().err == ""
    running.tell(["snakemake", "--cores", "2"])
    assert f"\nnoduleflow: the folder is locked by process {os.getppid()} on " in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_run_that_is_killed_is_named_and_unlock_frees_the_folder(tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    document["data"]["simulate"] |= {"nih_patients": 5000}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    for name in ("Snakefile", "rules", "stages", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "results/data/simulate"]

    def again(*words: str) -> str:
        done = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    first = subprocess.Popen(
        command, cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        while not (tmp_path / running.RECORD).exists():
            assert time.monotonic() < until
            assert first.poll() is None
            time.sleep(0.05)
        text = again()
        assert "cannot be locked" in text
        assert f"locked by process {first.pid} on " in text
        assert "which still runs" in text
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    text = again()
    assert f"locked by process {first.pid} on " in text
    assert "which was killed: 'snakemake --unlock'" in text
    assert "noduleflow:" not in again("--unlock")
    assert "noduleflow:" not in again("-n", "--rerun-incomplete")
