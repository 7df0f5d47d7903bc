"""Listing of a data folder: every file, and what it is taken for, by its name and if need be its first bytes."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.lib.images import dicom, names, png, raster

IMAGES = names.ENDINGS
WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".ods")  # which are refused with what to do
TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", *WORKBOOKS)
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
TEXTS = (".json", ".jsonl")  # which are not opened to see whether they are images: there may be hundreds of thousands
# What macOS, Windows and other systems leave behind; and names that begin with a dot.
LITTER = ("thumbs.db", "desktop.ini", "autorun.inf", "ehthumbs.db", "ehthumbs_vista.db", "icon\r")
LITTER_FOLDERS = ("__macosx", "$recycle.bin", "system volume information", "@eadir", "lost+found")
LITTER_BEGINNINGS = (".", "~$")  # AppleDouble's ._x, .DS_Store, .gitkeep; the lock of an open workbook
NO_FILE = "not a file (a folder, a device, or a link that leads nowhere)"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file.

    Attributes:
        base: The root, as it was given.
        relative: Path relative to the root, with slashes.
        role: image, table, index (DICOMDIR), archive, litter or other.
        problem: Why it must not be opened, None if it may be.
    """

    base: str
    relative: str
    role: str
    problem: str | None = None

    @property
    def path(self) -> str:
        """The file, below the root as the root was given."""
        return self.relative if self.base == "." else f"{self.base.rstrip('/')}/{self.relative}"

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


class Places:
    """Files by what a table may call them."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        # One file of nearly every name: no list for it, since there may be hundreds of thousands.
        self.by_name: dict[str, Entry | list[Entry]] = {}
        for entry in entries:
            key = names.match_key(entry.name)
            before = self.by_name.setdefault(key, entry)
            if isinstance(before, list):
                before.append(entry)
            elif before is not entry:
                self.by_name[key] = [before, entry]

    def find(self, name: str) -> list[Entry]:
        """The files that a table may mean by `name`; more than one if it does not say which.

        A path is compared from its end, so that it may begin above the root or below it. An exact spelling goes before
        another letter case, ending or form of Unicode.
        """
        key = names.match_key(name)
        found = self.by_name.get(key.rpartition("/")[2], [])
        entries = found if isinstance(found, list) else [found]
        if "/" in key:
            if ".." in key.split("/"):
                return []
            paths = [(entry, names.match_key(entry.relative)) for entry in entries]
            entries = [e for e, path in paths if f"/{path}".endswith(f"/{key}") or f"/{key}".endswith(f"/{path}")]
        if len(entries) < 2:
            return entries
        plain = "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))
        composed = unicodedata.normalize("NFC", plain)
        for same in (
            lambda entry: entry.relative == plain,
            lambda entry: f"/{entry.relative}".endswith(f"/{plain}"),
            lambda entry: f"/{unicodedata.normalize('NFC', entry.relative)}".endswith(f"/{composed}"),
        ):
            if exact := [entry for entry in entries if same(entry)]:
                return exact
        return entries


def read(base: Path) -> Listing:
    """All files below `base`, those of a folder before those of the folders in it. Links to folders are not followed,
    and said.
    """
    problems: list[str] = []
    return Listing(base, tuple(_walk(base, problems)), tuple(problems))


def _walk(base: Path, problems: list[str]) -> Iterator[Entry]:
    """The files; the kind of each is what the listing of its folder says, since asking for each takes far longer."""
    root = str(base)
    waiting = [("", False)]
    while waiting:
        inside, litter = waiting.pop()
        place = f"{root}/{inside}" if inside else root
        try:
            with os.scandir(place) as scanned:
                found = sorted(scanned, key=lambda item: item.name)
        except OSError as error:
            if not litter:
                problems.append(f"{names.shown(place)!r} cannot be read: {error.strerror}")
            continue
        below = []
        for item in found:
            relative = f"{inside}/{item.name}" if inside else item.name
            if item.is_dir(follow_symlinks=False):
                below.append((relative, litter or _is_litter_folder(item.name)))
            elif item.is_symlink() and _is_folder(item):
                if not litter:
                    problems.append(f"{names.shown(item.path)!r} is a link to a folder, which is not followed")
            else:
                problem = _problem(item, relative, base)
                taken = "litter" if litter else role(item.path, item.name, may_open=problem is None)
                yield Entry(root, names.shown(relative), taken, problem)
        waiting += reversed(below)


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a loop of links
        return False


def _problem(item: os.DirEntry[str], relative: str, base: Path) -> str | None:
    """Why a file must not be opened, by its name and kind alone."""
    if not relative.isascii() and names.shown(relative) != relative:
        return "unsafe name: not UTF-8"
    if names.CONTROL.search(relative):
        return "unsafe name: it holds a control character"
    if item.is_symlink():
        path = Path(item.path)
        if names.leaves(path, base):
            return "a link out of the data folder, which is not followed"
        return None if path.is_file() else NO_FILE
    return None if item.is_file(follow_symlinks=False) else NO_FILE


def _is_litter_folder(name: str) -> bool:
    return name.startswith(".") or name.casefold() in LITTER_FOLDERS


def role(path: str, name: str, *, may_open: bool) -> str:
    """What a file is taken for: image, table, index, archive, litter or other.

    A name that says nothing is decided by the first bytes. What looks like an image of a kind that is not read is taken
    for an image, so that it is refused by name and not passed over.
    """
    folded = name.casefold()
    if name.startswith(LITTER_BEGINNINGS) or folded in LITTER:
        return "litter"
    if folded == "dicomdir":
        return "index"
    for taken, endings in (("image", IMAGES + PICTURES), ("table", TABLES)):
        if folded.endswith(endings):
            return taken
    if folded.endswith(tuple(ARCHIVES)):
        return "archive"
    if not may_open or folded.endswith(TEXTS):
        return "other"
    try:
        with Path(path).open("rb") as handle:
            head = handle.read(dicom.PREAMBLE_BYTES + 4)
    except OSError:
        return "other"
    return "image" if looks_like_image(head) else "other"


def looks_like_image(head: bytes) -> bool:
    """Whether a file that begins so is a PNG, JPEG, TIFF or DICOM file.

    >>> looks_like_image(bytes(128) + b"DICM"), looks_like_image(b"plain text")
    (True, False)
    """
    return head.startswith((png.SIGNATURE, raster.JPEG, *raster.TIFF)) or dicom.looks_like_dicom(head)
