"""Which pickled file holds a row's weights: a release of TorchXRayVision, a file of the hub, or one on this machine."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.lib.core.errors import ModelError, ParamsError
from stages.lib.models.vision.worker import from_open_clip, from_timm
from stages.weights import fetch

RELEASED = "torchxrayvision"  # the library whose weights are published by releases of its own
CONFIGS: Mapping[str, str] = {
    "timm": from_timm.CONFIG,
    "open_clip": from_open_clip.CONFIG,
}  # of the others
SUFFIXES = (".bin", ".pt", ".pth")
HASH = r"sha256:[0-9a-f]{64}"
HUB_FILE = rf"({fetch.HUB_ID})/((?:\w[^/*?\[\]]*/)*)(\w[^/*?\[\]]*)"  # repository, folder inside, file


def is_pickled(library: str | None, source: str) -> bool:
    """Whether a row's weights are pickled, so that they are converted before they are read.

    >>> is_pickled("timm", "owner/name/tiny.pt"), is_pickled("timm", "owner/name"), is_pickled("transformers", "a.pt")
    (True, False, False)
    """
    return library == RELEASED or (library in CONFIGS and source.endswith(SUFFIXES))


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the hub.

    Attributes:
        repository: Its id.
        inside: Folder within it; empty for its top.
        name: Of the file.
    """

    repository: str
    inside: str
    name: str


def hub_file(library: str | None, source: str, revision: str) -> HubFile | None:
    """The file of the hub that a row names; None for any other source.

    >>> hub_file("open_clip", "owner/name/weights/tiny.bin", "main")
    HubFile(repository='owner/name', inside='weights', name='tiny.bin')
    >>> hub_file("open_clip", "owner/name/weights/tiny.bin", "none")
    """
    if library not in CONFIGS or not source.endswith(SUFFIXES) or is_local(revision):
        return None
    match = re.fullmatch(HUB_FILE, source)
    return HubFile(match[1], match[2].rstrip("/"), match[3]) if match else None


def is_local(revision: str) -> bool:
    """Whether a revision says that there is none on the hub."""
    return revision == fetch.FOLDER or bool(re.fullmatch(HASH, revision))


@dataclass(frozen=True)
class Wanted:
    """Which model, as the keys of a row say.

    Attributes:
        source: Release of TorchXRayVision, path or file of the hub, or a folder that was converted before.
        revision: Of the hub; else "none", or "sha256:" and the hash of the file.
        library: Library that reads the weights.
        architecture: The library's name of the model.
        keys: Names of the parameters that hold source and revision.
    """

    source: str
    revision: str
    library: str
    architecture: str
    keys: tuple[str, str]

    def __post_init__(self) -> None:
        """Check what no type says."""
        source, revision = self.keys
        local = f"{fetch.FOLDER}, or sha256: and the 64 digits of the file's hash"
        if not is_pickled(self.library, self.source):
            told = (
                f"found {self.source!r} of library {self.library}, wanted a release or file of {RELEASED}, or a file "
            )
            told += f"that ends in {', '.join(SUFFIXES)} of {' or '.join(CONFIGS)}"
            raise ParamsError("model:", [f"{source}: {told}"])
        if is_local(self.revision) or self.on_hub:
            return
        if self.library == RELEASED:
            raise ParamsError("model:", [f"{revision}: found {self.revision!r}, wanted {local}"])
        told = f"found {self.source!r} with {revision} {self.revision!r}, wanted organisation/name/file as on the hub; "
        raise ParamsError("model:", [f"{source}: {told}for a file on this machine write {revision}: {local}"])

    @property
    def on_hub(self) -> HubFile | None:
        """The file of the hub that it is, if it is one."""
        return hub_file(self.library, self.source, self.revision)

    @property
    def config(self) -> str:
        """Name of the file that says how the model is built."""
        return CONFIGS.get(self.library, from_timm.CONFIG)

    def check(self, what: str, digest: object) -> None:
        """Refuse a file of another hash than the revision's.

        Raises:
            ModelError: If it is another.
        """
        if re.fullmatch(HASH, self.revision) and self.revision != f"sha256:{digest}":
            raise ModelError(
                f"{self.keys[1]}: found sha256:{digest} of {what}, wanted {self.revision}: is it damaged, or another "
                "file? Fetch it again, or write its hash"
            )


@dataclass(frozen=True)
class Found:
    """A pickled file on this machine, which nothing has opened.

    Attributes:
        file: Where it is.
        name: What the converted model tells of it: its name, or its path in its repository.
        sha256: Its hash.
        commit: Of the repository; None for a file that is from none.
        release: Name of the release that it is, if it was named so.
        beside: Content of the small files that the converted model has beside its weights, by name.
    """

    file: Path
    name: str
    sha256: str
    commit: str | None
    release: str | None
    beside: Mapping[str, bytes]

    @property
    def told(self) -> dict[str, str]:
        """What the converted model says that it was made of."""
        return {"file": self.name, "sha256": self.sha256}
