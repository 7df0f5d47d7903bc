"""Facts of files that were read before, so that an unchanged image is not decoded again.

A file is the same if its path, size, time of change and inode are; what it was read by (the code, its libraries, the
limits) has to be the same as well. A file that changed within the last seconds is not remembered: it might change again
within one tick of the clock. It is a cache: deleted at any time, the manifest is the same.
"""

import time
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from pydantic import TypeAdapter

from stages.lib.core import files, tables
from stages.lib.core.closure import ROOT, closure
from stages.lib.core.errors import TableError
from stages.lib.core.log import LOG
from stages.lib.core.tables import INT, STRING, Column, Schema
from stages.lib.images import archives
from stages.lib.images.reading import Facts

SETTLED_NS = 3_000_000_000
LIBRARIES = ("numpy", "opencv-python-headless", "pydicom", "python-gdcm", "pyjpegls", "pylibjpeg-openjpeg")
KNOWN = Schema(
    "known_files",
    ("path",),
    (
        Column("path", STRING, "path of the file"),
        Column("bytes", INT, "its size"),
        Column("mtime_ns", INT, "time of its last change, nanoseconds"),
        Column("inode", INT, "number of its inode"),
        Column("decides", STRING, "hash of all else that decides its facts"),
        Column("facts", STRING, "its facts, JSON"),
    ),
)
Stamp = tuple[int, int, int]


def decides(**limits: object) -> str:
    """Hash of the code that reads an image, of its libraries, and of the limits that it is read with."""
    code = {name: files.sha256_file(ROOT / name) for name in closure("stages.lib.images.reading")}
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return files.sha256_json({"code": code, "versions": versions, "limits": {k: repr(v) for k, v in limits.items()}})


class KnownFiles:
    """Facts by path, from a cache file and for it."""

    def __init__(self, path: Path, decided_by: str) -> None:
        self.path = path
        self.decided_by = decided_by
        self.facts: dict[str, tuple[Stamp, str]] = {}
        try:
            rows = tables.read(path, KNOWN).to_pylist() if path.is_file() else []
        except TableError as error:
            LOG.warning("ingest: what is known of unchanged files cannot be read, all are read again: %s", error)
            rows = []
        for row in rows:
            if row["decides"] == decided_by:
                self.facts[row["path"]] = ((row["bytes"], row["mtime_ns"], row["inode"]), row["facts"])

    def get(self, path: str, now: Stamp | None) -> Facts | None:
        """Facts of a file that still has this stamp; None if it is not known, or has another."""
        known = self.facts.get(path)
        return _adapter().validate_json(known[1]) if known and known[0] == now else None

    def write(self, facts: Mapping[str, Facts], stamps: Mapping[str, Stamp | None]) -> None:
        """Remember the facts of files.

        Args:
            facts: By path.
            stamps: Of the same files, taken before they were read.
        """
        settled = time.time_ns() - SETTLED_NS
        rows = [
            {"path": path, "bytes": found[0], "mtime_ns": found[1], "inode": found[2], "decides": self.decided_by}
            | {"facts": self.facts[path][1] if path in self.facts and self.facts[path][0] == found else _json(one)}
            for path, one in facts.items()
            if (found := stamps[path]) is not None and found[1] < settled and not _passing(one)
        ]
        tables.write(self.path, tables.from_rows(rows, KNOWN), KNOWN)


def stamp(path: str) -> Stamp | None:
    """Size, time of the last change and inode of a file, or of the archive that it is in; None if there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return archives.stamp(path)
    return found.st_size, found.st_mtime_ns, found.st_ino


def _passing(facts: Facts) -> bool:
    """Whether a file could not be opened at all, which may be otherwise the next time."""
    return any(notice.kind == "file" for notice in facts.notices)


def _json(facts: Facts) -> str:
    return _adapter().dump_json(facts, exclude_defaults=True).decode()


@cache
def _adapter() -> TypeAdapter[Facts]:
    return TypeAdapter(Facts)
