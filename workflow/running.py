"""Which run holds this folder: Snakemake's lock says that one does, and this says which.

A run that starts jobs leaves its process, machine and time in `.snakemake/noduleflow.run`. Another one that meets a
lock says at its end what is there; so does a run after one that was killed, whose lock is left behind.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Collection
from pathlib import Path

import psutil

from stages.lib.core import files

HOME = Path(".snakemake")
LOCKS, RECORD = HOME / "locks", HOME / "noduleflow.run"
FREE = "'snakemake --unlock' frees the folder, then go on with 'snakemake --cores N --rerun-incomplete'"
UNCONCERNED = {"--unlock", "--nolock"}  # words of a command line that has nothing to ask of a lock
SLACK_S = 2.0  # between clocks of file systems and machines


def begin() -> None:
    """Say that this process holds the folder."""
    process = psutil.Process()
    files.write_json(
        RECORD,
        {"pid": process.pid, "host": socket.gethostname(), "started": process.create_time(), "recorded": time.time()},
    )


def holder(folder: Path = Path()) -> str | None:
    """A sentence about the run that holds a folder, or that has left its lock there; None if there is no lock.

    Args:
        folder: In which Snakemake runs.
    """
    locks = [lock.stat().st_mtime for lock in (folder / LOCKS).glob("*.lock")]
    if not locks:
        return None
    try:
        found = json.loads((folder / RECORD).read_text())
        pid, host, started = int(found["pid"]), str(found["host"]), float(found["started"])
        ours = float(found["recorded"]) >= max(locks) - SLACK_S
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        return f"the folder is locked by a run that has not said which it is. If none runs any more: {FREE}"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started))
    run = f"process {pid} on {host}, since {since}"
    if host != socket.gethostname():
        return f"the folder is locked by {run}. If it no longer runs there: {FREE}"
    if _lives(pid, started):
        return f"the folder is locked by {run}, which still runs: wait for it, or stop it with Ctrl-C or 'kill {pid}'"
    return f"the folder is locked by {run}, which was killed: {FREE}"


def _lives(pid: int, started: float) -> bool:
    """Whether that very process runs: a number is given again to another one."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < SLACK_S and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def tell(words: Collection[str] = ()) -> None:
    """Print who holds the folder, if another run does.

    Args:
        words: Command line of this process.
    """
    if UNCONCERNED & {*words}:
        return
    found = holder()
    if found is not None and f"process {os.getpid()} on " not in found:
        print(f"\nnoduleflow: {found}", file=sys.stderr)
