"""Write the two files that the challenge asks for.

in   manifest        tables.MANIFEST
     split           tables.SPLIT: the test images are submitted (left out: every image)
     infer           tables.INFER
     localize        tables.LOCALIZE
     calibration     JSON, as lib.metrics.calibration.Calibration
     unanswered      CSV of nodules.unanswered: its images have rows, too, without label and confidence (left out: none)
out  classification  CSV: file_name,label,confidence; one row for each image
     localization    CSV: file_name,x,y,confidence; one row for each point, pixels of the original
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from stages.lib.core import cli, csvtext, documents, files, tables
from stages.lib.core.log import LOG
from stages.lib.metrics.calibration import Calibration
from stages.nodules.answers import UNANSWERED, answers
from stages.nodules.submission import SubmitParams


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
    _, found = answers(manifest, split, infer, localize, fitted, params)
    images = [[one.file_name, one.label, one.confidence] for one in found]
    places = [[one.file_name, point.x, point.y, point.confidence] for one in found for point in one.points]
    return images, places


def main(argv: Sequence[str] | None = None) -> None:
    """Read, choose, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"nodules.submit": SubmitParams},
        reads=("manifest", "split", "infer", "localize", "calibration", "unanswered"),
        writes=("classification", "localization"),
        optional=("split", "unanswered"),
    )
    manifest = tables.read(args.manifest, tables.MANIFEST)
    rejected = [row["file_name"] for row in manifest.to_pylist() if row["status"] == "rejected"]
    if rejected and not args.split:
        row = "a row without label and confidence" if args.unanswered else "no row"
        LOG.warning("submit: %d images were rejected and have %s: %s", len(rejected), row, ", ".join(rejected))
    images, places = submit(
        manifest,
        tables.read(args.split, tables.SPLIT) if args.split else None,
        tables.read(args.infer, tables.INFER),
        tables.read(args.localize, tables.LOCALIZE),
        documents.read(args.calibration, Calibration),
        args.params.submit,
    )
    answered = len(images)
    if args.unanswered:
        images += [[name, "", ""] for name, _ in csvtext.read(args.unanswered, UNANSWERED)]
    files.write_bytes(args.classification, csvtext.csv_bytes(["file_name", "label", "confidence"], images))
    files.write_bytes(args.localization, csvtext.csv_bytes(["file_name", "x", "y", "confidence"], places))
    LOG.info("submit: %d images, %d points", answered, len(places))


if __name__ == "__main__":
    cli.run(main)
