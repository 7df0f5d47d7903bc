"""What a program of another environment does beside its work. Imports the standard library alone."""

import hashlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

REFUSED = 3  # exit code: cannot work as asked


class RefusalError(Exception):
    """The program cannot do what it is asked; `code` is its exit code."""

    def __init__(self, text: str, code: int = REFUSED) -> None:
        self.code = code
        super().__init__(text)


def die_with(parent: int, private: Path, begin: str) -> None:
    """End this process when the one that started it has gone, and clear away its private folder as `clear` does.

    Args:
        parent: Number of the process that started this one.
        private: See `clear`.
        begin: See `clear`.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        clear(private, begin)
        os._exit(REFUSED)

    threading.Thread(target=watch, daemon=True).start()


def clear(private: Path, begin: str) -> None:
    """Take away a private folder.

    Args:
        private: The folder; one that is called otherwise stays.
        begin: How the names of private folders begin.
    """
    if private.name.startswith(begin):
        shutil.rmtree(private, ignore_errors=True)


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Versions of Python and of packages; None where one is not installed.

    >>> list(versions(["numpy", "no-such-package"]))
    ['python', 'numpy', 'no-such-package']
    """
    found: dict[str, str | None] = {"python": sys.version.split()[0]}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def describe(error: Exception) -> str:
    """An error as one line.

    >>> describe(ValueError("two\\nlines"))
    'ValueError: two lines'
    """
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def say(whose: str, text: str) -> None:
    """Write a line to the log.

    Args:
        whose: Which program, for those who read it.
        text: The line.
    """
    sys.stderr.write(f"{whose}: {text}\n")
    sys.stderr.flush()
