"""Reading of a JSON file that is a list, as tables of public data sets are; what is wrong with it is a sentence."""

import json
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 30  # of a file


def read(path: Path, problems: list[str], name: str | None = None) -> list[Any]:
    """Entries of a JSON file that is a list; why there are none is added to the problems.

    Args:
        path: UTF-8 text.
        problems: What stops the study.
        name: How messages call it; its file name if not given.
    """
    name = path.name if name is None else name
    try:
        if path.stat().st_size > MAX_BYTES:
            problems.append(f"{name}: {path.stat().st_size} bytes, wanted at most {MAX_BYTES}")
            return []
        return parsed(path.read_bytes(), problems, name)
    except FileNotFoundError:
        problems.append(f"{name}: no such file in {path.parent}")
    except OSError as error:
        problems.append(f"{name}: cannot be opened: {error.strerror}")
    return []


def parsed(data: bytes, problems: list[str], name: str) -> list[Any]:
    """Entries of the bytes of such a file, as `read`."""
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        problems.append(f"{name}: not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}")
    except RecursionError:
        problems.append(f"{name}: nested too deeply, wanted a list of objects")
    except ValueError as error:
        problems.append(f"{name}: not JSON: {error}")
    else:
        if isinstance(found, list) and found:
            return found
        problems.append(f"{name}: found {spelt(found)}, wanted a list of one object or more")
    return []


def spelt(value: Any) -> str:
    """A value of JSON, short.

    >>> spelt(None), spelt({"a": 1})
    ('nothing', '{"a": 1}')
    """
    text = json.dumps(value) if value is not None else "nothing"
    return text if len(text) <= 60 else f"{text[:57]}..."
