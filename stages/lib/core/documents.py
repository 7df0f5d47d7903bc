"""Documents: the JSON artifacts of the pipeline, each a frozen type of its own that writer and readers share.

A class made by `params.section` is a document. A field without a default is a key of every such file, null where it is
undefined; a field with one is a key only where it differs from it, unless the class sets `keeps_defaults`. The class
may say in `written_by` which stage writes it.
"""

import json
import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from stages.lib.core import files, params
from stages.lib.core.errors import DocumentError

T = TypeVar("T")
U = TypeVar("U")


def as_mapping(document: Any) -> dict[str, Any]:
    """Document as JSON has it: its fields by name, tuples as lists, paths as text."""
    kind = type(document)
    without = not getattr(kind, "keeps_defaults", False)
    found: dict[str, Any] = TypeAdapter(kind).dump_python(document, mode="json", exclude_defaults=without)
    return found


def write(path: str | Path, document: Any) -> None:
    """Write a document as JSON, atomically.

    Args:
        path: File.
        document: Instance of a class made by `params.section`.
    """
    files.write_json(path, as_mapping(document))


def read(path: str | Path, kind: type[T], remedy: str | None = None) -> T:
    """Document of a kind stored at `path`.

    Args:
        path: File.
        kind: Class made by `params.section`.
        remedy: What to do about a file that is missing or of another kind, for the message; by default, to run the
            stage again that writes it.

    Raises:
        DocumentError: If there is no such file, it is not JSON, or not a document of this kind; with every key that is
            wrong, what was found and what was wanted.
    """
    remedy = remedy or f"run {getattr(kind, 'written_by', 'the pipeline')} again"
    try:
        text = Path(path).read_text(encoding="utf-8")
        json.loads(text)
    except FileNotFoundError as error:
        raise DocumentError(f"{path}: no such file; {remedy}") from error
    except (OSError, ValueError) as error:
        raise DocumentError(f"{path}: not readable as JSON ({error}); {remedy}") from error
    try:
        return TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        known = list(getattr(kind, "__dataclass_fields__", ()))
        name = name_of(kind)
        problems = [params.describe(name, dict(detail), known, {}) for detail in error.errors()]
        raise DocumentError(f"{path}: is no {name}; {remedy}:\n" + "\n".join(problems)) from error


def read_either(path: str | Path, kind: type[T], other: type[U], remedy: str | None = None) -> T | U:
    """Document of one of two kinds, told by a key that every document of the second has and none of the first.

    Raises:
        DocumentError: As `read`; what is neither is read as the first.
    """
    fields, others = (set(getattr(one, "__dataclass_fields__", ())) for one in (kind, other))
    keys = others - fields
    try:
        told = set(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        told = set()
    return read(path, other, remedy) if keys and keys <= told else read(path, kind, remedy)


def name_of(kind: type) -> str:
    """What a kind of document is called in a message.

    >>> class TrainLog: ...
    >>> name_of(TrainLog)
    'train log'
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()
