"""A model's files on this machine, as `fetch` found them: which model, which commit, which bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from stages.lib.core import documents, params
from stages.lib.core.errors import ModelError


@params.section
class Identity:
    """What has to be the same for an adapter to fit a base model, and the model's name."""

    base: params.Text  # id on the hub, or folder, as the parameters have it
    commit: str | None  # that the revision resolved to; null for a folder
    sha256: params.Text  # of the names and contents of the files: a folder and a snapshot with the same have the same


@params.section
class Snapshot:
    """The files of a model that was found."""

    written_by: ClassVar[str] = "fetch"

    base: params.Text  # id on the hub, or folder, as the parameters have it
    revision: params.Text  # commit, tag or branch, as the parameters have it; "none" for a folder
    commit: str | None  # that the revision resolved to; null for a folder
    folder: Path  # where the files are
    sha256: params.Text  # of the names and contents of the files
    files: Mapping[str, str]  # SHA-256 of each, by name

    @property
    def identity(self) -> Identity:
        """What has to be the same for an adapter to fit."""
        return Identity(base=self.base, commit=self.commit, sha256=self.sha256)


@params.section
class Missing:
    """A model that could not be had: what is written in the place of a snapshot where others are to go on."""

    written_by: ClassVar[str] = "fetch"

    base: params.Text
    revision: params.Text
    missing: params.Text  # why, and what to do


def read(path: str | Path) -> Snapshot:
    """Model of results/weights/fetch.json.

    Raises:
        DocumentError: If the file is missing or not such a document.
        ModelError: If the model could not be had, or its folder is not there.
    """
    found = documents.read_either(path, Snapshot, Missing)
    if isinstance(found, Missing):
        raise ModelError(found.missing)
    check_folder(path, found, Snapshot.written_by)
    return found


def check_folder(path: str | Path, found: Snapshot, written_by: str) -> None:
    """Refuse a snapshot whose folder is gone.

    Args:
        path: The document that it is from.
        found: The snapshot.
        written_by: The stage that writes the document.

    Raises:
        ModelError: If the folder is not there.
    """
    if not found.folder.is_dir():
        raise ModelError(f"{path}: the model's folder {found.folder} is not there; run {written_by} again")
