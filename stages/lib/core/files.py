"""Files that are whole or absent: write beside, fsync, rename."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import psutil

HOST = re.sub(r"[^A-Za-z0-9-]", "-", os.uname().nodename)
LEFT_BEHIND = re.compile(rf"\.(?P<name>.+)\.{HOST}\.(?P<process>\d+)\.(?P<kind>part|old)")


def beside(path: Path, kind: Literal["part", "old"] = "part") -> Path:
    """A name beside `path` that belongs to this process alone, in a folder that is there and swept.

    Args:
        path: What is to be replaced.
        kind: New content that is not whole yet ("part"), or old content that makes room for it ("old").
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep_once(path.parent.resolve(), os.getpid())
    return path.with_name(f".{path.name}.{HOST}.{os.getpid()}.{kind}")


@cache
def _sweep_once(folder: Path, process: int) -> None:
    sweep(folder)


def sweep(folder: Path) -> None:
    """Remove what killed processes of this machine left in `folder`; old content that was not replaced is restored.

    What belongs to a living process, or to another machine on a shared disk, is left alone.
    """
    for rest in sorted(folder.iterdir()):
        left = LEFT_BEHIND.fullmatch(rest.name)
        if left is None or psutil.pid_exists(int(left["process"])):
            continue
        target = folder / left["name"]
        with suppress(FileNotFoundError):  # another process may sweep at the same time
            if left["kind"] == "old" and not target.exists():
                rest.rename(target)
            elif rest.is_dir():
                shutil.rmtree(rest)
            else:
                rest.unlink()


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`, on any error it vanishes.

    Raises:
        OSError: If the disk is full or the folder cannot be written; `path` is then as it was.
    """
    target = Path(path)
    part = beside(target)
    try:
        yield part
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it takes the place of `path`, on any error it vanishes.

    Raises:
        OSError: If the disk is full or the folder cannot be written; `path` is then as it was.
    """
    part, old = beside(path), beside(path, "old")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        yield part
        for file in filter(Path.is_file, part.rglob("*")):
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        if path.exists():
            path.rename(old)
        part.rename(path)
        sync_folder(path.parent)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        for rest in (part, old):
            shutil.rmtree(rest, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Force the names in `folder` to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, atomically."""
    with replacing(path) as beside:
        beside.write_bytes(content)


def write_json(path: str | Path, document: Any) -> None:
    """Write `document` to `path` as indented JSON, atomically.

    Raises:
        ValueError: If it holds a NaN or an infinity, which JSON does not know: an undefined number is null.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def sha256_file(path: str | Path) -> str:
    """SHA-256 of the bytes of a file, as 64 hexadecimal digits."""
    digest = sha256()
    with Path(path).open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_json(document: Any) -> str:
    """SHA-256 of a JSON document, independent of the order of its keys.

    >>> sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})
    True
    """
    return sha256(json.dumps(document, sort_keys=True, allow_nan=False).encode()).hexdigest()


def fingerprint(path: str) -> str:
    """A hash of the names, sizes and times of all files below `path`, or of the file `path`; "absent" without either.

    It notices a changed image without opening 60,000 of them.
    """
    root = Path(path)
    if not root.exists():
        return "absent"
    digest = sha256()
    for file in [root] if root.is_file() else sorted(item for item in root.rglob("*") if item.is_file()):
        stat = file.stat()
        digest.update(f"{file.relative_to(root)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
