"""The real peer: `transformers serve` with a tiny model on loopback, without network."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

READY_SECONDS = 240.0  # of a crowded machine
DEMO_BASE = Path(__file__).parents[2] / "workflow/demo_base"


@dataclass(frozen=True)
class Served:
    """A server.

    Attributes:
        url: Its address, up to /v1.
        model: Name of the model, which is the folder as the server was given it.
    """

    url: str
    model: str


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def serve(folder: Path, log: Path) -> Iterator[Served]:
    """A server of the model in a folder; what it says goes to `log`."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--default-seed", "1"]
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HOME": str(log.parent / "hub")}
    (log.parent / "hub/hub").mkdir(parents=True, exist_ok=True)  # without it /v1/models is an error
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, env={**os.environ, **quiet, "OMP_NUM_THREADS": "1"}
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health", process, log)
            yield Served(f"http://127.0.0.1:{port}/v1", str(folder))
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    began = time.monotonic()
    while time.monotonic() - began < READY_SECONDS:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise RuntimeError(f"{url}: not there; the server says:\n{log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="session")
def real_server(tmp_path_factory) -> Iterator[Served]:
    """The shipped base of the chest study, served."""
    with serve(DEMO_BASE, tmp_path_factory.mktemp("served") / "log.txt") as served:
        yield served
