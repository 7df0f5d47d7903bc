"""Listing of a data folder: every file, and what it is taken for, by its name and if need be its first bytes."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.lib.images import names

IMAGES = names.ENDINGS
TABLES = (".csv", ".tsv", ".parquet")
ARCHIVES = {
    ".zip": "unzip {name} -d <folder>",
    ".tar": "tar -xf {name} -C <folder>",
    ".tar.gz": "tar -xf {name} -C <folder>",
    ".tgz": "tar -xf {name} -C <folder>",
    ".tar.bz2": "tar -xf {name} -C <folder>",
    ".tar.xz": "tar -xf {name} -C <folder>",
    ".7z": "7z x {name} -o<folder>",
    ".rar": "unrar x {name} <folder>",
}
PICTURES = (".bmp", ".gif", ".webp", ".jp2", ".heic", ".nii", ".nii.gz", ".npy", ".mhd", ".nrrd")
LITTER = ("thumbs.db", "desktop.ini", "autorun.inf", "ehthumbs.db")
LITTER_FOLDERS = ("__macosx", "$recycle.bin", "system volume information")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PREAMBLE_BYTES = 128
# The first element of a DICOM file without preamble: group 2 or 8, little-endian, or group 8 with an explicit VR.
GROUPS = (b"\x02\x00", b"\x08\x00")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file.

    Attributes:
        path: The file, below the root as the root was given.
        relative: Path relative to the root, with slashes.
        role: image, table, index (DICOMDIR), archive, litter or other.
    """

    path: str
    relative: str
    role: str

    @property
    def name(self) -> str:
        """Last part of its path."""
        return self.relative.rpartition("/")[2]


@dataclass(frozen=True)
class Listing:
    """All files below a folder, sorted by path, and sentences about what could not be entered."""

    base: Path
    entries: tuple[Entry, ...]
    problems: tuple[str, ...]

    def of(self, role: str) -> list[Entry]:
        """The files of one role."""
        return [entry for entry in self.entries if entry.role == role]

    def find(self, name: str) -> Entry | None:
        """A table by its relative path, without regard to letter case."""
        return next((e for e in self.entries if e.role == "table" and e.relative.casefold() == name.casefold()), None)


def read(base: Path) -> Listing:
    """All files below `base`. Links to folders are not followed, and said."""
    problems: list[str] = []
    return Listing(base, tuple(_walk(base, problems)), tuple(problems))


def _walk(base: Path, problems: list[str]) -> Iterator[Entry]:
    def unreadable(error: OSError) -> None:
        problems.append(f"{names.shown(str(error.filename))!r} cannot be read: {error.strerror}")

    for place, below, found in os.walk(base, onerror=unreadable):
        below.sort()
        for name in list(below):
            if (Path(place) / name).is_symlink():
                problems.append(
                    f"{names.shown(str(Path(place) / name))!r} is a link to a folder, which is not followed"
                )
        relative = os.path.relpath(place, base)
        litter = any(_is_litter_folder(part) for part in Path(relative).parts)
        for name in sorted(found):
            path = str(Path(place) / name)
            inside = name if relative == "." else f"{relative}/{name}"
            yield Entry(names.shown(path), names.shown(inside), "litter" if litter else role(path, name))


def _is_litter_folder(name: str) -> bool:
    return (name.startswith(".") and name not in (".", "..")) or name.casefold() in LITTER_FOLDERS


def role(path: str, name: str) -> str:
    """What a file is taken for: image, table, index, archive, litter or other.

    A name that says nothing is decided by the first bytes. What looks like an image of a kind that is not read is taken
    for an image, so that it is refused by name and not passed over.
    """
    folded = name.casefold()
    if name.startswith(".") or folded in LITTER:
        return "litter"
    if folded == "dicomdir":
        return "index"
    if folded.endswith(IMAGES) or folded.endswith(PICTURES):
        return "image"
    if folded.endswith(TABLES):
        return "table"
    if folded.endswith(tuple(ARCHIVES)):
        return "archive"
    try:
        with Path(path).open("rb") as handle:
            head = handle.read(PREAMBLE_BYTES + 4)
    except OSError:
        return "other"
    return "image" if looks_like_image(head) else "other"


def looks_like_image(head: bytes) -> bool:
    """Whether a file that begins so is a PNG, JPEG, TIFF or DICOM file.

    >>> looks_like_image(bytes(128) + b"DICM"), looks_like_image(b"plain text")
    (True, False)
    """
    if head.startswith((PNG_SIGNATURE, b"\xff\xd8\xff", b"II*\0", b"MM\0*")) or head[PREAMBLE_BYTES:] == b"DICM":
        return True
    # group, element below 0x20, and then either a VR of two letters or a length below 64 KiB
    return head[:2] in GROUPS and len(head) > 8 and head[3:4] == b"\0" and (head[4:6].isupper() or head[6:8] == b"\0\0")
