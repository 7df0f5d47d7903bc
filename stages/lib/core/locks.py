"""Locks between processes of one machine, and of several where the disk that they share knows them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.lib.core.log import LOG


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock of a file; where another process holds it, wait until it lets go, or ends in whatever way.

    A disk that knows no locks is told of, and gone on without one.

    Args:
        path: The file; made where there is none, and left.
        what: What the other process is at, for the log.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                LOG.info("%s: another process is at it; waiting until it ends", what)
                fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            LOG.warning("warning: %s cannot be locked (%s); do not run the same twice at a time", path, error)
        yield
