"""Files are whole or absent, and what a killed process leaves behind is swept by the next one."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from stages.lib.core import files

ROOT = Path(__file__).parents[3]
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
FILE = "with files.replacing(target) as part: part.write_text('half'); print('there', flush=True); time.sleep(60)"
FOLDER = (
    "with files.replacing_folder(target) as part: (part / 'a').write_text('half'); print('there', flush=True);"
    " time.sleep(60)"
)
BETWEEN = """
rename = Path.rename
def wait_before_the_second(path, to):
    if path.suffix == ".part":
        print("there", flush=True)
        time.sleep(60)
    return rename(path, to)
Path.rename = wait_before_the_second
with files.replacing_folder(target) as part:
    (part / "a").write_text("new")
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def start(program: str, target: Path) -> subprocess.Popen:
    """A process that has begun to replace `target`."""
    head = f"import time; from pathlib import Path; from stages.lib.core import files; target = Path({str(target)!r})\n"
    process = subprocess.Popen([sys.executable, "-c", head + program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "there\n"
    return process


@pytest.mark.parametrize("program", [FILE, FOLDER])
def test_what_a_killed_process_left_is_swept_by_the_next_that_writes_there(tmp_path: Path, program: str) -> None:
    process = start(program, tmp_path / "target")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(names(tmp_path)) == 1
    files.sweep(tmp_path)
    assert names(tmp_path) == []


def test_writing_sweeps_its_folder(tmp_path: Path) -> None:
    (tmp_path / f".a.{files.HOST}.4194305.part").write_text("half")  # above the largest process number
    files.write_bytes(tmp_path / "b", b"whole")
    assert names(tmp_path) == ["b"]


def test_what_a_living_process_or_another_machine_writes_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / ".target.another-machine.4194305.part"
    other.write_text("half")
    process = start(FILE, tmp_path / "target")
    try:
        files.sweep(tmp_path)
        assert names(tmp_path) == sorted([other.name, f".target.{files.HOST}.{process.pid}.part"])
    finally:
        process.kill()
        process.wait()


def test_a_process_killed_between_the_two_renames_does_not_lose_the_old_folder(tmp_path: Path) -> None:
    with files.replacing_folder(tmp_path / "target") as part:
        (part / "a").write_text("old")
    process = start(BETWEEN, tmp_path / "target")
    process.kill()
    process.wait()
    left = f".target.{files.HOST}.{process.pid}"
    assert names(tmp_path) == [f"{left}.old", f"{left}.part"]
    files.sweep(tmp_path)
    assert names(tmp_path) == ["target"]
    assert (tmp_path / "target" / "a").read_text() == "old"


def test_sweeping_is_done_once_per_folder_and_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swept = []
    monkeypatch.setattr(files, "sweep", swept.append)
    for number in range(50):
        files.write_bytes(tmp_path / str(number), b"")
    assert swept == [tmp_path.resolve()]


def test_a_full_disk_leaves_the_old_content(tmp_path: Path) -> None:
    target = tmp_path / "a"
    files.write_bytes(target, b"old")
    with pytest.raises(OSError, match="full"), files.replacing(target) as part:
        part.write_bytes(b"ne")
        raise OSError("the disk is full")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_an_error_between_the_two_renames_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = tmp_path / "target", Path.rename
    with files.replacing_folder(target) as part:
        (part / "a").write_text("old")

    def fail_at_the_second(path: Path, to: Path) -> Path:
        if path.suffix == ".part":
            raise OSError("the disk is full")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", fail_at_the_second)
    with pytest.raises(OSError, match="full"), files.replacing_folder(target) as part:
        (part / "a").write_text("new")
    assert names(tmp_path) == ["target"]
    assert (target / "a").read_text() == "old"


@pytest.mark.parametrize("kind", ["part", "old"])
def test_neither_git_nor_dvc_takes_what_a_killed_process_left(tmp_path: Path, kind: Literal["part", "old"]) -> None:
    left = f"results/data/normalized/1-of-1/{files.beside(tmp_path / 'a.png', kind).name}"
    for tool, own in (("git", []), ("dvc", ["results/data/normalized/1-of-1/a.png"])):
        command = [shutil.which(tool, path=PATH) or tool, "check-ignore", *own, left]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.stdout.splitlines() == [left]
