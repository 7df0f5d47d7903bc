"""Files that are whole or absent: write beside, fsync, rename."""

import json
import os
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
