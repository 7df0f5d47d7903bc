"""The class of a model in a folder, as its config.json names it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.lib.core.errors import ModelError

FILE = "config.json"


def check(folder: Path, wanted: Sequence[str], row: str) -> Mapping[str, Any]:
    """Configuration of the model in a folder, as config.json has it, whose class is one of those wanted.

    Args:
        folder: The model's files.
        wanted: Classes that are taken.
        row: Name of the row, for errors.

    Raises:
        ModelError: If there is no such file, or the model is of another class.
    """
    path = folder / FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{row}: {folder}: found no {FILE}, wanted the folder of a model") from None
    except (OSError, ValueError):
        raise ModelError(f"{row}: {path} is not whole JSON; fetch or copy it again") from None
    named = document.get("architectures") if isinstance(document, dict) else None
    if not named or not set(named) & set(wanted):
        found = ", ".join(map(str, named or [])) or "no class"
        raise ModelError(
            f"{row}: {path}: found {found}, wanted {' or '.join(wanted)}, as the row's architecture says: layers "
            "that the weights do not have would be random"
        )
    return document


def has_random_weights(document: Mapping[str, Any]) -> bool:
    """Whether a configuration says that its model was made for a demo and never trained."""
    return document.get("random_weights") is True
