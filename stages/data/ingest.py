"""Read a data folder: one row per image, its content hashed, with all problems at once.

in   a data folder in the layout of NoduLoCC2026, or a bare folder of PNG and DICOM files
out  manifest  tables.MANIFEST, one row per file and one per label without a file
     points    tables.POINTS, of the images that take part, in pixels of the original
"""

import multiprocessing
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa

from stages.lib.core import cli, tables
from stages.lib.core import params as parameters
from stages.lib.core.errors import DataError
from stages.lib.core.log import LOG
from stages.lib.core.progress import track
from stages.lib.images import nodulocc, reading
from stages.lib.images.nodulocc import Point

LISTED = 20  # problems of one kind that an error spells out
CHUNK = 16  # images that a process takes at once; with fewer images in all, starting a process costs more than it saves


@parameters.section
class Params:
    """The data folder, and its limits."""

    root: parameters.Text  # the data folder
    max_rejected: parameters.NonNegativeInt  # rejected images beyond which the stage fails
    max_pixels: parameters.Count  # pixels of one image beyond which it is not decoded


def ingest(params: Params) -> tuple[pa.Table, pa.Table]:
    """Manifest and the points of the data folder.

    Raises:
        DataError: With all problems, if the tables of the folder contradict themselves or more images are rejected than
            `max_rejected`.
    """
    folder = nodulocc.read(params.root)
    if folder.passed_over:
        LOG.info("ingest: %d files passed over, which are neither PNG nor DICOM by name", folder.passed_over)
    if folder.problems:
        LOG.warning("ingest: %d problems in the tables; reading the images for the rest", len(folder.problems))
    openable = [image.path for image in folder.images if image.refused is None]
    read = dict(zip(openable, facts(openable, params.max_pixels), strict=True))
    rows = [
        judge(image, read.get(image.path, reading.Facts(problem=image.refused)), folder.points.get(image.image_id, []))
        for image in folder.images
    ]
    refuse(rows, folder.problems, params)
    rows = remark_duplicates(rows)
    for row in rows:
        if row["problem"]:
            LOG.info("ingest: %s, %s: %s", row["status"], row["file_name"], row["problem"])
    points = [
        {
            "image_id": row["image_id"],
            "point": number,
            "x": point.x,
            "y": point.y,
            "diameter_mm": point.diameter(row["spacing_mm"]),
            "contrast": point.contrast,
        }
        for row in rows
        if row["status"] == "ok"
        for number, point in enumerate(folder.points.get(row["image_id"], []))
    ]
    return tables.from_rows(rows, tables.MANIFEST), tables.from_rows(points, tables.POINTS)


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


def judge(image: nodulocc.Image, found: reading.Facts, points: Sequence[Point]) -> dict[str, Any]:
    """Manifest row of one image: ok, or rejected with the reason.

    Contradictory labels (a point outside of the image, or on an image labelled No Finding) reject the image.

    Args:
        image: The facts of the folder and its tables.
        found: The facts of the file.
        points: The nodules marked on it, pixels of the original.
    """
    reasons = [found.problem] if found.problem else []
    remarks = [*image.remarks, *([found.remark] if found.remark else [])]
    if points and image.label == 0:
        reasons.append(f"labelled No Finding, but has {len(points)} point(s)")
    if points and image.label is None:
        remarks.append(f"has {len(points)} point(s)")
    if not points and image.label == 1 and image.source == "lidc":
        remarks.append("labelled Nodule, but has no point")
    if found.width_px and found.height_px:
        reasons += [
            f"point ({point.x:g}, {point.y:g}) is outside of its {found.width_px} x {found.height_px} pixels"
            for point in points
            if not (-0.5 <= point.x <= found.width_px - 0.5 and -0.5 <= point.y <= found.height_px - 0.5)
        ]
    return {
        "image_id": image.image_id,
        "file_name": image.file_name,
        "path": image.path,
        "source": image.source,
        "patient_id": image.patient_id or found.patient or image.image_id,
        "label": image.label,
        **asdict(image.context),
        "width_px": found.width_px,
        "height_px": found.height_px,
        "bit_depth": found.bit_depth,
        "spacing_mm": image.spacing_mm or found.spacing_mm,
        "sha256": found.sha256,
        "pixel_sha256": found.pixel_sha256,
        "status": "rejected" if reasons else "ok",
        "problem": "; ".join(reasons + remarks) or None,
    }


def remark_duplicates(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows, with a remark on each image that takes part and has the same pixels as another one."""
    groups: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["status"] == "ok":
            groups[row["pixel_sha256"]].append(row)
    remarked = []
    for row in rows:
        others = [other for other in groups.get(row["pixel_sha256"], []) if other["image_id"] != row["image_id"]]
        if row["status"] == "ok" and others:
            names = ", ".join(sorted(other["image_id"] for other in others))
            unequal = any(other["label"] != row["label"] for other in others)
            remark = f"same pixels as {names}" + (", labelled otherwise" if unequal else "")
            remarked.append({**row, "problem": "; ".join(filter(None, (row["problem"], remark)))})
        else:
            remarked.append(dict(row))
    return remarked


def refuse(rows: Sequence[Mapping[str, Any]], problems: Sequence[str], params: Params) -> None:
    """Stop if the folder as a whole cannot be used.

    Args:
        rows: Rows of the manifest.
        problems: Of the folder's tables.
        params: With `max_rejected`.

    Raises:
        DataError: If there are `problems`, or more rejected rows than `max_rejected`; it lists both.
    """
    rejected = [f"{row['file_name']!r}: {row['problem']}" for row in rows if row["status"] == "rejected"]
    if not problems and len(rejected) <= params.max_rejected:
        return
    heading = (
        f"data folder {params.root}: {len(problems)} problem(s) of the folder, and {len(rejected)} of {len(rows)} "
        f"images rejected (data.ingest.max_rejected = {params.max_rejected}):"
    )
    raise DataError(heading, [*first(problems), *first(rejected)])


def first(sentences: Sequence[str]) -> list[str]:
    """First sentences, and how many more there are.

    >>> first(["a", "b"])
    ['a', 'b']
    >>> first(["a"] * 22)[19:]
    ['a', 'and 2 more']
    """
    more = len(sentences) - LISTED
    return [*sentences[:LISTED], *([f"and {more} more"] if more > 0 else [])]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args = cli.parse(__doc__, argv, params={"data.ingest": Params}, writes=["manifest", "points"])
    manifest, points = ingest(args.params.ingest)
    tables.write(args.manifest, manifest, tables.MANIFEST)
    tables.write(args.points, points, tables.POINTS)


if __name__ == "__main__":
    cli.run(main)
