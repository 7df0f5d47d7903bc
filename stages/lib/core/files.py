"""Files that are whole or absent: write beside, fsync, rename."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`, on any error it vanishes.

    Raises:
        OSError: If the disk is full or the folder cannot be written; `path` is then as it was.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield beside
        with beside.open("rb") as handle:
            os.fsync(handle.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it takes the place of `path`, on any error it vanishes."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        beside.mkdir()
        yield beside
        for file in filter(Path.is_file, beside.rglob("*")):
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        if path.exists():
            path.rename(old)
        beside.rename(path)
        sync_folder(path.parent)
    finally:
        for rest in (beside, old):
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
    """Return the SHA-256 of the bytes of a file, as 64 hexadecimal digits."""
    digest = sha256()
    with Path(path).open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_json(document: Any) -> str:
    """Return the SHA-256 of a JSON document, independent of the order of its keys.

    >>> sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})
    True
    """
    return sha256(json.dumps(document, sort_keys=True, allow_nan=False).encode()).hexdigest()


def fingerprint(path: str) -> str:
    """Return a hash of the names, sizes and times of all files below `path`; "absent" if there is none.

    It notices a changed image without opening 60,000 of them.
    """
    root = Path(path)
    if not root.exists():
        return "absent"
    digest = sha256()
    for file in sorted(item for item in root.rglob("*") if item.is_file()):
        stat = file.stat()
        digest.update(f"{file.relative_to(root)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
