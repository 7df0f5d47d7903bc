"""Write the two files that the challenge asks for.

in   manifest        tables.MANIFEST
     split           tables.SPLIT: the test images are submitted (left out: every image)
     infer           tables.INFER
     localize        tables.LOCALIZE
     calibration     JSON, as lib.metrics.calibration.Calibration
out  classification  CSV: file_name,label,confidence; one row for each image
     localization    CSV: file_name,x,y,confidence; one row for each point, pixels of the original
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from stages.lib.core import cli, documents, files, tables
from stages.lib.core.errors import TableError
from stages.lib.core.log import LOG
from stages.lib.metrics.calibration import Calibration
from stages.nodules.submission import SubmitParams

LABELS = ("No Finding", "Nodule")


def submit(
    manifest: pa.Table,
    split: pa.Table | None,
    infer: pa.Table,
    localize: pa.Table,
    fitted: Calibration,
    params: SubmitParams,
) -> tuple[list[list[Any]], list[list[Any]]]:
    """Rows of the two files, without headings, by image_id.

    The confidence of an image is its calibrated score, or the score itself if nothing was fitted; that of a point is
    its own, or that of its image if the localizer gives none. Rejected images cannot be submitted.

    Args:
        manifest: Table tables.MANIFEST.
        split: Table tables.SPLIT; None to submit every image that is not rejected.
        infer: Table tables.INFER.
        localize: Table tables.LOCALIZE; findings below the cutoff are left out.
        fitted: Calibration of the scores in `infer`.
        params: See `SubmitParams`.

    Returns:
        Rows (file_name, label, confidence), and rows (file_name, x, y, confidence).

    Raises:
        TableError: If an image has no score.
        CalibrationError: If the threshold was not chosen.
    """
    threshold = fitted.threshold(params.threshold)
    names = {
        row["image_id"]: row["file_name"]
        for row in manifest.select(["image_id", "file_name", "status"]).to_pylist()
        if row["status"] == "ok"
    }
    if split is not None:
        wanted = [row["image_id"] for row in split.to_pylist() if row["split"] == "test"]
    else:
        wanted = list(names)
    scores, decisive = (tables.mapping(infer, column) for column in (fitted.thresholds_on, threshold.column))
    missing = [image for image in wanted if image not in names or scores.get(image) is None]
    if missing:
        shown = ", ".join(missing[:5])
        raise TableError(f"infer: {len(missing)} of {len(wanted)} images have no {fitted.thresholds_on}: {shown}")
    points = defaultdict(list)
    for row in localize.to_pylist():
        if row["shown"]:
            points[row["image_id"]].append(row)
    images, places = [], []
    for image in wanted:
        score = scores[image]
        positive = decisive[image] >= threshold.value
        images.append([names[image], LABELS[positive], score])
        if positive or params.points_for == "all_images":
            for row in _best(points[image])[: params.max_points]:
                confidence = score if row["confidence"] is None else row["confidence"]
                places.append([names[image], round(row["x"], 2), round(row["y"], 2), confidence])
    return images, places


def _best(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Points of an image, the most confident first if all have a confidence, else in their own order."""
    if any(row["confidence"] is None for row in points):
        return points
    return sorted(points, key=lambda row: -row["confidence"])


def csv_bytes(heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A CSV file; a name with a comma, a quote or a line break is quoted.

    >>> csv_bytes(["file_name"], [['a,"b".png']])
    b'file_name\\n"a,""b"".png"\\n'
    """
    lines = []
    for row in (heading, *rows):
        # With "\n" alone as the end of a line, the csv module would leave a bare "\r" in a name unquoted.
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\r\n").writerow(row)
        lines.append(line.getvalue().removesuffix("\r\n"))
    return "".join(f"{line}\n" for line in lines).encode()


def main(argv: Sequence[str] | None = None) -> None:
    """Read, choose, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"nodules.submit": SubmitParams},
        reads=("manifest", "split", "infer", "localize", "calibration"),
        writes=("classification", "localization"),
        optional=("split",),
    )
    manifest = tables.read(args.manifest, tables.MANIFEST)
    rejected = [row["file_name"] for row in manifest.to_pylist() if row["status"] == "rejected"]
    if rejected and not args.split:
        LOG.warning("submit: %d images were rejected and have no row: %s", len(rejected), ", ".join(rejected))
    images, places = submit(
        manifest,
        tables.read(args.split, tables.SPLIT) if args.split else None,
        tables.read(args.infer, tables.INFER),
        tables.read(args.localize, tables.LOCALIZE),
        documents.read(args.calibration, Calibration),
        args.params.submit,
    )
    files.write_bytes(args.classification, csv_bytes(["file_name", "label", "confidence"], images))
    files.write_bytes(args.localization, csv_bytes(["file_name", "x", "y", "confidence"], places))
    LOG.info("submit: %d images, %d points", len(images), len(places))


if __name__ == "__main__":
    cli.run(main)
