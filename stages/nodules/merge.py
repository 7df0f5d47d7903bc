"""Bring a localizer's detections together: findings of several prompts and views of an image become one list of points.

in   detections  tables.DETECTIONS and
     responses   tables.RESPONSES, the shards of one localizer
     manifest    tables.MANIFEST
     split, points  tables.SPLIT, tables.POINTS: images to choose the cutoff of the confidence by
     fitted      a cutoff chosen before, to apply instead
     localizer   its name, a row of nodules.localizers
out  localize    tables.LOCALIZE; all_responses  tables.RESPONSES, all shards
     cutoff      JSON: from which confidence on points are shown, and what that finds on the images that choose
"""

from collections.abc import Sequence

import pyarrow as pa

from stages.lib.core import cli, documents, kinds, tables
from stages.lib.core.log import LOG
from stages.lib.core.shards import gather
from stages.lib.detect import choice, detection_rows
from stages.lib.detect.choice import SelectParams
from stages.lib.detect.detection_rows import LinkParams
from stages.lib.detect.fusion import consensus
from stages.lib.metrics.cohort import ToleranceParams


def merge(detections: pa.Table, responses: pa.Table, manifest: pa.Table, params: LinkParams) -> pa.Table:
    """What the detectors on each image agree on, a detector being a prompt and a view, as `tables.LOCALIZE`.

    With one detector its findings are left as they are; else see `consensus.consensus`.
    """
    diagonal = detection_rows.diagonals(manifest)
    found = detection_rows.by_image(detections.to_pylist(), ("prompt", "view"))
    detectors: dict[str, list[tuple[str, str]]] = {}
    for row in responses.to_pylist():
        detectors.setdefault(row["image_id"], []).append((row["prompt"], row["view"]))
    merged = {
        name: consensus([found[name].get(detector, []) for detector in detectors[name]], params.near(diagonal[name]))
        for name in found
    }
    return detection_rows.table(merged, params.max_points)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the shards, merge, choose or read the cutoff, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "nodules.link": LinkParams,
            "nodules.select": SelectParams,
            "nodules.tolerance": ToleranceParams,
            "nodules.localizers": kinds.rows(kinds.LOCALIZERS),
        },
        reads=["detections", "responses", "manifest", "split", "points", "fitted", "localizer"],
        writes=["localize", "all_responses", "cutoff"],
        many=["detections", "responses"],
        optional=["split", "points", "fitted", "cutoff"],
    )
    responses = gather([tables.read(path, tables.RESPONSES) for path in args.responses], tables.RESPONSES)
    detections = gather([tables.read(path, tables.DETECTIONS) for path in args.detections], tables.DETECTIONS)
    manifest = tables.read(args.manifest, tables.MANIFEST)
    merged = merge(detections, responses, manifest, args.params.link)
    asked = set(responses["image_id"].to_pylist())
    chooser = detection_rows.Chooser.read(
        choice.of_localizer(args.params.select, args.params.localizers, args.localizer),
        args.params.tolerance.tolerant_fraction,
        points=args.points,
        split=args.split,
        fitted=args.fitted,
    )
    table, cutoff = chooser.settle(merged, asked, manifest)
    LOG.info("merge: %d findings on %d images, cutoff %s", table.num_rows, len(asked), cutoff.cutoff)
    tables.write(args.localize, table, tables.LOCALIZE)
    tables.write(args.all_responses, responses, tables.RESPONSES)
    if args.cutoff:
        documents.write(args.cutoff, cutoff)


if __name__ == "__main__":
    cli.run(main)
