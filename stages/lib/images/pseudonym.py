"""Keyed pseudonyms of identifiers: the same identifier gives the same one on this machine, and none can be turned back.

The key lies outside of the study, so that copies of a checkout and the nodes of a cluster find the same one.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from stages.lib.core.errors import DataError

VARIABLE = "NODULEFLOW_PSEUDONYM_KEY"
KEY_BYTES = 32


def key_path() -> Path:
    """File of the key: that of the environment variable, else one of the user's configuration."""
    given = os.environ.get(VARIABLE)
    return Path(given) if given else Path.home() / ".config" / "noduleflow" / "pseudonym.key"


def key() -> bytes:
    """The key; made at first use, readable by its owner alone.

    Raises:
        DataError: If it can be neither read nor made, or is too short to be one.
    """
    path = key_path()
    try:
        found = _read_or_made(path)
    except OSError as error:
        raise DataError(
            f"the key of pseudonyms, {path}:", [f"{error.strerror}; set {VARIABLE} to another file"]
        ) from error
    if len(found) < KEY_BYTES:
        told = f"{len(found)} bytes, wanted {KEY_BYTES}: take it away, and a new one is made (patients get other ids)"
        raise DataError(f"the key of pseudonyms, {path}:", [told])
    return found


def _read_or_made(path: Path) -> bytes:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        try:
            os.link(part, path)  # fails if another process was first: its key is the one
        except FileExistsError:
            pass
        finally:
            part.unlink()
    return path.read_bytes()


def of(identifier: str) -> str:
    """Pseudonym of an identifier, 16 hexadecimal digits behind "p-"."""
    return "p-" + hmac.new(key(), identifier.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:16]


def fingerprint() -> str:
    """What tells one key from another, and nothing of it; "none" where there is no key yet."""
    return hashlib.sha256(b"fingerprint" + key_path().read_bytes()).hexdigest()[:16] if key_path().is_file() else "none"
