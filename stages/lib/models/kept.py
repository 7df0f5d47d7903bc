"""Features on disk: numbers of one type in a file that is whole, or is not found.

The file's name has to decide its content, so that a stale one is never found, and the folder can be deleted at any
time.
"""

from hashlib import sha256
from pathlib import Path

import numpy as np

from stages.lib.core import files

HEADER, DIGEST_BYTES = b"features", 32
DOUBLE, SINGLE, HALF = np.dtype("<f8"), np.dtype("<f4"), np.dtype("<f2")


def path(folder: Path, digest: str) -> Path:
    """Where the features of that name are, or would be.

    Args:
        folder: Of all features.
        digest: Hexadecimal digits that decide the content.
    """
    return folder / digest[:2] / f"{digest}.bin"


def write(at: Path, features: np.ndarray, of: np.dtype = SINGLE, *, forced: bool = True) -> None:
    """Write features, of any shape, whole or not at all.

    Args:
        at: File.
        features: Numbers.
        of: Type that they are kept in.
        forced: Whether to force them to the disk; else what a power cut tears is not found, by its checksum.
    """
    body = features.astype(of).tobytes()
    content = HEADER + sha256(body).digest() + body
    if forced:
        files.write_bytes(at, content)
        return
    beside = files.beside(at)
    try:
        beside.write_bytes(content)
        beside.replace(at)
    finally:
        beside.unlink(missing_ok=True)


def read(at: Path, of: np.dtype = SINGLE) -> np.ndarray | None:
    """Features in a file, of shape (numbers,); None if there is none, or it is not what was written.

    Args:
        at: File.
        of: Type that they are kept in.
    """
    try:
        content = at.read_bytes()
    except FileNotFoundError:
        return None
    start = len(HEADER) + DIGEST_BYTES
    body = content[start:]
    whole = content[: len(HEADER)] == HEADER and sha256(body).digest() == content[len(HEADER) : start]
    return np.frombuffer(body, of) if whole and len(body) % of.itemsize == 0 else None
