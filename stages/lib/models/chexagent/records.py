"""What is known of CheXagent-2 before it runs: its files, and the environment that it runs in."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from stages.lib.core import params
from stages.lib.models.snapshot import Snapshot

Kind = Literal["full", "layered", "given"]


@params.section
class Parts:
    """The three sets of files that the model consists of, each pinned."""

    written_by: ClassVar[str] = "fetch_chexagent"

    model: Snapshot
    code: Snapshot
    encoder: Snapshot


@params.section
class Environment:
    """The Python environment of its own that the model runs in."""

    python: Path  # its interpreter; below the working folder a relative path, so that one record serves two machines
    kind: Kind  # on its own, on top of this environment, or made by other means
    locks: params.Text  # hash of the lock files that it was built from
    versions: Mapping[str, str | None]  # of each package that matters; null if it is not installed
