"""Record of a model's own Python environment, which a builder of `workflow` makes and the model's client reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from stages.lib.core import documents, params
from stages.lib.core.errors import EnvironmentBuildError

Kind = Literal["full", "layered", "given"]


@params.section
class Environment:
    """The Python environment of its own that a model runs in."""

    python: Path  # its interpreter; below the working folder a relative path, so that one record serves two machines
    kind: Kind  # on its own, on top of this environment, or made by other means
    locks: params.Text  # hash of the lock files that it was built from
    versions: Mapping[str, str | None]  # of each package that matters; null if it is not installed


@params.section
class Unbuilt:
    """An environment that could not be built: what is written in its place where others are to go on without it."""

    missing: params.Text  # why, and what to do


def read(path: str | Path, mend: str) -> Environment:
    """Environment of a record.

    Args:
        path: What the builder wrote.
        mend: What to do if it is gone, for the message: "run 'make setup-vision'".

    Raises:
        DocumentError: If the file is missing or not such a record.
        EnvironmentBuildError: If it could not be built, or the interpreter is gone.
    """
    found = documents.read_either(path, Environment, Unbuilt, mend)
    if isinstance(found, Unbuilt):
        raise EnvironmentBuildError(found.missing)
    if not found.python.exists():
        raise EnvironmentBuildError(f"{path}: there is no {found.python} any more; {mend}")
    return found
