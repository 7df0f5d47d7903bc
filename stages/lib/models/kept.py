"""Features on disk: numbers of type float32 in a file that is whole, or is not found.

The file's name has to decide its content, so that a stale one is never found, and the folder can be deleted at any
time.
"""

from hashlib import sha256
from pathlib import Path

import numpy as np

from stages.lib.core import files

HEADER, DIGEST_BYTES = b"features", 32


def path(folder: Path, digest: str) -> Path:
    """Where the features of that name are, or would be.

    Args:
        folder: Of all features.
        digest: Hexadecimal digits that decide the content.
    """
    return folder / digest[:2] / f"{digest}.bin"


def write(at: Path, features: np.ndarray) -> None:
    """Write features, of any shape, whole or not at all."""
    body = features.astype("<f4").tobytes()
    files.write_bytes(at, HEADER + sha256(body).digest() + body)


def read(at: Path) -> np.ndarray | None:
    """Features in a file, float32 of shape (numbers,); None if there is none, or it is not what was written."""
    try:
        content = at.read_bytes()
    except FileNotFoundError:
        return None
    start = len(HEADER) + DIGEST_BYTES
    body = content[start:]
    whole = content[: len(HEADER)] == HEADER and sha256(body).digest() == content[len(HEADER) : start]
    return np.frombuffer(body, "<f4") if whole and len(body) % 4 == 0 else None
