"""A lock that another process holds is waited for, however that process ends; a disk without locks stops nothing."""

import logging
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from stages.lib.core.locks import locked

FORK = multiprocessing.get_context("fork")


def hold(path: Path, has: Any, let_go: Any) -> None:
    with locked(path, "the first"):
        has.set()
        let_go.wait(30)
        path.with_name("done").touch()


@pytest.mark.parametrize("killed", [False, True])
def test_a_lock_is_waited_for_until_its_process_lets_go_or_is_killed(
    killed: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, has, let_go = tmp_path / "below/lock", FORK.Event(), FORK.Event()
    process = FORK.Process(target=hold, args=(path, has, let_go))
    process.start()
    assert has.wait(30)

    class Ends(logging.Handler):
        """Ends the other process once this one says that it waits."""

        def emit(self, record: logging.LogRecord) -> None:
            if "another process is at it" in record.getMessage():
                assert process.pid
                os.kill(process.pid, signal.SIGKILL) if killed else let_go.set()

    logger = logging.getLogger("noduleflow")
    handler, level = Ends(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        began = time.monotonic()
        with locked(path, "the second"):
            assert path.with_name("done").exists() != killed
        assert time.monotonic() - began < 30
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        process.join()


def test_a_disk_without_locks_is_told_of_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "lock", "this"):
        (tmp_path / "made").touch()
    assert (tmp_path / "made").exists()
    assert "cannot be locked (" in caplog.text
