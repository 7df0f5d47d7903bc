"""Claims about the program that opens pickled states: the weights come out as they went in, and no code runs."""

import argparse
import os
import pickle
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.lib.models.own_process import RefusalError
from stages.lib.models.vision.worker import __main__ as worker
from stages.lib.models.vision.worker.pickled_state import unpickle

torch = pytest.importorskip("torch")


def state() -> dict[str, Any]:
    whole = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    shared = whole[0]  # whose storage is that of all rows
    return {
        "turned": whole.T,
        "row": shared,
        "again": shared,
        "half": torch.full((2,), 0.5, dtype=torch.float16),
        "count": torch.tensor(7),
    }


def converted(folder: Path, content: Any, **options: Any) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    torch.save(content, folder / "tiny.pt", **options)
    unpickle(folder / "tiny.pt", folder)
    return dict(load_file(folder / "model.safetensors"))


def same(found: dict[str, np.ndarray], wanted: dict[str, Any]) -> bool:
    return found.keys() == wanted.keys() and all(
        found[name].dtype == value.numpy().dtype and np.array_equal(found[name], value.numpy())
        for name, value in wanted.items()
    )


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
def test_a_bare_state_comes_out_as_it_went_in_shared_or_turned_numbers_too(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    assert same(converted(tmp_path, state(), **options), state())
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda one: {"state_dict": one}, "unwrapped state_dict\n"),
        (
            lambda one: {"model": one, "epoch": 3, "optimizer": {"step": 1}},
            "unwrapped model, beside which were epoch, opt",
        ),
        (lambda one: {"state_dict": {"module": one}}, "unwrapped module"),
        (lambda one: {f"module.{name}": value for name, value in one.items()}, "took module. off all names"),
        (lambda one: {"model": {f"module.{name}": value for name, value in one.items()}}, "took module. off all names"),
    ],
)
def test_the_usual_wrappers_are_taken_off_and_said(tmp_path: Path, capfd: Any, wrap: Any, said: str) -> None:
    assert same(converted(tmp_path, wrap(state())), state())
    assert f"vision: {said}" in capfd.readouterr().err


def test_a_prefix_that_some_names_lack_belongs_to_them(tmp_path: Path) -> None:
    mixed = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert same(converted(tmp_path, mixed), mixed)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], r"tiny\.pt: found list, wanted tensors by name"),
        ({}, r"tiny\.pt: found no weights"),
        ({"state_dict": {}}, r"tiny\.pt, state_dict: found no weights"),
        (
            {"epoch": 3, "net": {}},
            r"found int under epoch, dict under net \(2 such\), wanted tensors by name, or a table",
        ),
        ({"model": {"a": "text"}}, r"tiny\.pt, model: found str under a \(1 such\)"),
        ({1: torch.ones(1)}, r"found the name 1 \(1 such\)"),
        ({"a": torch.ones(2, 2).to_sparse()}, r"found torch\.sparse_coo under a"),
        (
            {"model": {"a": torch.ones(1)}, "module": {"a": torch.ones(1)}},
            "found weights under model and module, wanted",
        ),
    ],
)
def test_what_is_no_table_of_tensors_is_refused_with_what_was_found(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(RefusalError, match=said):
        converted(tmp_path, content)
    assert not (tmp_path / "model.safetensors").exists()


class Planted:
    """What runs code when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


def test_code_in_a_pickle_is_not_run_and_is_named(tmp_path: Path) -> None:
    place = tmp_path / "ran"
    said = (
        r"(?i)tiny\.pt: torch does not read it with weights_only=True \(unsupported global posix\.mkdir\).*Nothing lax"
    )
    with pytest.raises(RefusalError, match=said):
        converted(tmp_path, {"a": torch.ones(1), "b": Planted(place)})
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Planted(place)))
    with pytest.raises(RefusalError, match="Nothing laxer is tried"):
        unpickle(tmp_path / "raw.pt", tmp_path)
    assert not place.exists()


def test_a_class_that_is_harmless_is_refused_too_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(RefusalError, match=r"Unsupported global: GLOBAL argparse\.Namespace\)"):
        converted(tmp_path, {"model": state(), "args": argparse.Namespace(x=1)})


@pytest.mark.parametrize("content", [b"", b"no pickle at all", b"version https://git-lfs.github.com/spec/v1\n"])
def test_a_file_that_is_no_pickle_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tiny.pt").write_bytes(content)
    with pytest.raises(RefusalError, match=r"tiny\.pt: torch does not read it .*Is it whole"):
        unpickle(tmp_path / "tiny.pt", tmp_path)


def test_it_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tiny.pt")
    program = f"""
    import subprocess, sys
    names = [{str(tmp_path / "tiny.pt")!r}, {str(tmp_path)!r}]
    process = subprocess.Popen([sys.executable, "-I", {worker.__file__!r}, "--unpickle", *names])
    print(process.pid, flush=True)
    process.wait()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        pid = int(starter.stdout.readline())  # type: ignore[union-attr]
        with (tmp_path / "tiny.pt").open("wb"):  # which waits until it is read, and then writes nothing
            starter.kill()
            until = time.monotonic() + 20
            while running(pid) and time.monotonic() < until:
                time.sleep(0.1)
            assert not running(pid)


def running(pid: int) -> bool:
    """Whether a process is there, and is more than an entry that nobody has asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
