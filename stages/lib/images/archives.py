"""ZIP archives read without unpacking: one file, or its parts (.zip.001, .zip.002 ...), cut by bytes, as one.

A file of an archive has a path like any other, below that of the archive or of its first part:
"data/images.zip.001/a.png".
"""

import io
import re
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from stages.lib.core.errors import ImageError
from stages.lib.images.listing import IMAGES, Entry

PART = re.compile(r"(?P<stem>.+\.zip)\.(?P<number>[0-9]{3})", re.IGNORECASE)
ZIP = ".zip"
OPEN = 4  # archives that a process keeps open
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


class Joined(io.RawIOBase):
    """Files one after the other, as one that can be sought and read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.sizes = [path.stat().st_size for path in self.paths]
        self.handles = [path.open("rb") for path in self.paths]
        self.at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Place of the next byte."""
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Place of the next byte, after it has been moved."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: sum(self.sizes)}[whence]
        self.at = max(start + offset, 0)
        return self.at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Number of bytes read into `buffer`: as many as the file at this place still has, at most."""
        start = 0
        for size, handle in zip(self.sizes, self.handles, strict=True):
            if self.at < start + size:
                handle.seek(self.at - start)
                data = handle.read(min(len(buffer), start + size - self.at))
                buffer[: len(data)] = data
                self.at += len(data)
                return len(data)
            start += size
        return 0

    def close(self) -> None:
        """Close all of them."""
        for handle in self.handles:
            handle.close()
        super().close()


def parts(first: Path) -> list[Path]:
    """The archive, or all its parts in their order if `first` is the first of them."""
    named = PART.fullmatch(first.name)
    if named is None:
        return [first]
    found = [
        path for path in first.parent.iterdir() if (one := PART.fullmatch(path.name)) and one["stem"] == named["stem"]
    ]
    return sorted(found)


def missing(names: Sequence[str]) -> list[str]:
    """A sentence for each archive of which a part in the middle, or the first, is not there.

    Args:
        names: Of all files of one folder.

    >>> missing(["a.zip.001", "a.zip.003", "b.zip"])
    ['a.zip: the part(s) 002 are missing, found 2 parts up to 003: an archive is read only with all of them']
    """
    found: defaultdict[str, list[int]] = defaultdict(list)
    for name in names:
        if one := PART.fullmatch(name):
            found[one["stem"]].append(int(one["number"]))
    told = []
    for stem, numbers in sorted(found.items()):
        absent = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
        if absent:
            spelt = ", ".join(f"{number:03d}" for number in absent)
            have = f"found {len(numbers)} parts up to {max(numbers):03d}"
            told.append(f"{stem}: the part(s) {spelt} are missing, {have}: an archive is read only with all of them")
    return told


def entries(archive: Entry, problems: list[str]) -> list[Entry]:
    """Files of an archive that look like images by their ending, each below its path.

    Args:
        archive: It, or its first part.
        problems: Where it is said if it cannot be read.
    """
    try:
        names = _opened(archive.path).namelist()
    except (*DAMAGED, OSError):
        last = parts(Path(archive.path))[-1].name
        hint = f"is a part after {last} missing?" if PART.fullmatch(last) else "is it whole?"
        problems.append(f"{archive.relative}: no ZIP archive, or its end is missing, wanted a whole one: {hint}")
        return []
    return [
        Entry(archive.base, f"{archive.relative}/{name}", "image", _unsafe(name))
        for name in names
        if name.casefold().endswith(IMAGES)
    ]


def _unsafe(name: str) -> str | None:
    climbs = name.startswith("/") or ".." in name.split("/") or "\\" in name
    return "unsafe name: it leads out of the archive" if climbs else None


def read(archive: Path, name: str) -> bytes:
    """The bytes of a file of an archive.

    Raises:
        ImageError: If the archive or the file is damaged, or it has no such file.
        OSError: If it cannot be opened.
    """
    try:
        return _opened(str(archive)).read(name)
    except KeyError as error:
        raise ImageError(f"{archive.name} has no file {name!r}", "file") from error
    except DAMAGED as error:
        raise ImageError(f"damaged in {archive.name}: {error or type(error).__name__}") from error


def names(archive: Path) -> list[str]:
    """Names of all files of an archive.

    Raises:
        ImageError: If it is none, or damaged.
        OSError: If it cannot be opened.
    """
    try:
        return _opened(str(archive)).namelist()
    except DAMAGED as error:
        raise ImageError(f"{archive.name}: no ZIP archive, or damaged") from error


@contextmanager
def on_disk(path: str | Path, max_bytes: int) -> Iterator[Path]:
    """Yield a file that can be opened: `path` itself, or a copy for a while if it is one of an archive.

    Args:
        path: A file, or one below an archive.
        max_bytes: Size beyond which a file of an archive is not copied.

    Raises:
        ImageError: If it is in an archive, and too big, damaged or not there.
        OSError: If the archive cannot be opened.
    """
    whole = Path(path)
    archive = None if whole.exists() else _of(whole)
    if archive is None:
        yield whole
        return
    name = whole.relative_to(archive).as_posix()
    try:
        size = _opened(str(archive)).getinfo(name).file_size
    except KeyError as error:
        raise ImageError(f"{archive.name} has no file {name!r}", "file") from error
    except DAMAGED as error:
        raise ImageError(f"{archive.name}: no ZIP archive, or damaged") from error
    if size > max_bytes:
        raise ImageError(f"{size} bytes in {archive.name}, wanted at most {max_bytes}")
    with tempfile.TemporaryDirectory(prefix="noduleflow-") as folder:
        copy = Path(folder) / f"image{whole.suffix}"
        copy.write_bytes(read(archive, name))
        yield copy


def stamp(path: str | Path) -> tuple[int, int, int] | None:
    """Size, time of the last change and inode of the archive that a file is in; None if it is in none.

    Of an archive in parts the size of all, the latest time, and the inode of the first.
    """
    archive = _of(Path(path))
    if archive is None:
        return None
    found = [part.stat() for part in parts(archive)]
    return sum(one.st_size for one in found), max(one.st_mtime_ns for one in found), found[0].st_ino


def _of(path: Path) -> Path | None:
    """The archive that a path leads into."""
    return next((one for one in path.parents if _is_archive(one)), None)


def _is_archive(path: Path) -> bool:
    named = path.name.casefold()
    return (named.endswith(ZIP) or PART.fullmatch(named) is not None) and path.is_file()


def _opened(path: str) -> zipfile.ZipFile:
    """The archive, opened once by a process as long as its parts do not change."""
    found = [(str(part), (stat := part.stat()).st_size, stat.st_mtime_ns) for part in parts(Path(path))]
    return _open(tuple(found))


@lru_cache(OPEN)
def _open(found: tuple[tuple[str, int, int], ...]) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BufferedReader(Joined([Path(path) for path, _, _ in found])))
