"""Facts of many image files: from what is known of unchanged ones, and by reading the others in several processes."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from hashlib import sha256
from pathlib import Path

from stages.lib.core.errors import DataError
from stages.lib.core.log import LOG
from stages.lib.core.progress import track
from stages.lib.images import known_files, pseudonym, reading

CHUNK = 16  # images that a process takes at once; with fewer images in all, starting a process costs more than it saves


def remembered(
    paths: Sequence[str], root: str, max_pixels: int, cache: Path | None, *, verify: bool
) -> dict[str, reading.Facts]:
    """Facts of each file: of an unchanged one what is known already, and of the others by reading them.

    Args:
        paths: The files.
        root: The data folder that they are of; each has a cache of its own.
        max_pixels: Pixels beyond which an image is not decoded.
        cache: Folder of what is known of files that do not change; None for none.
        verify: Whether every file is read again, whatever is known of it.
    """
    if cache is None:
        return dict(zip(paths, facts(paths, max_pixels), strict=True))
    name = f"{sha256(str(Path(root).resolve()).encode()).hexdigest()[:16]}.parquet"
    known = known_files.KnownFiles(cache / name, decided_by(max_pixels))
    stamps = {path: known_files.stamp(path) for path in paths}
    found = {} if verify else {path: one for path in paths if (one := known.get(path, stamps[path])) is not None}
    unknown = [path for path in paths if path not in found]
    if found:
        LOG.info(
            "ingest: %d of %d files are unchanged by size, time and inode, and not read again", len(found), len(paths)
        )
    found |= dict(zip(unknown, facts(unknown, max_pixels), strict=True))
    if unknown:
        # A key may have been made for the first patient.
        known.decided_by = decided_by(max_pixels)
        known.write(found, stamps)
    return found


def decided_by(max_pixels: int) -> str:
    """Hash of what decides the facts of a file beside the file itself."""
    return known_files.decides(max_pixels=max_pixels, key=pseudonym.fingerprint())


def facts(paths: Sequence[str], max_pixels: int) -> Iterator[reading.Facts]:
    """Yield the facts of each file, in order, from as many processes as there are processors.

    A process holds one image at a time, so memory does not grow with the number of images.

    Raises:
        DataError: If a process dies over an image.
    """
    examine = partial(reading.examine, max_pixels=max_pixels)
    workers = min(len(os.sched_getaffinity(0)), len(paths) // CHUNK)
    if workers < 2:
        yield from track(map(examine, paths), total=len(paths), what="ingest")
        return
    # Not forked: a fork copies the locks of Arrow's and OpenCV's threads as they happen to stand.
    context = multiprocessing.get_context("spawn")
    done = 0
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            for found in track(pool.map(examine, paths, chunksize=CHUNK), total=len(paths), what="ingest"):
                yield found
                done += 1
        except BrokenProcessPool as error:
            near = paths[done : done + CHUNK * workers]
            heading = "a process that read images was killed (out of memory?); it was at one of:"
            raise DataError(heading, [repr(path) for path in near]) from error
