"""Bring a localizer's votes together: findings of several requests and views of an image become one list of points.

in   votes     tables.VOTES and
     answers   tables.ANSWERS, in parts
     manifest  tables.MANIFEST
     split, points  tables.SPLIT, tables.POINTS: images to choose the cutoff of the confidence by
     fitted    a cutoff chosen before, to apply instead
out  localize  tables.LOCALIZE; words  tables.ANSWERS, all parts
     cutoff    JSON: from which confidence on points are shown, and what that finds on the images that choose
"""

from collections.abc import Sequence

import pyarrow as pa

from stages.lib.core import cli, documents, tables
from stages.lib.core.log import LOG
from stages.lib.core.shards import gather
from stages.lib.detect import detection_rows
from stages.lib.detect.choice import SelectParams
from stages.lib.detect.detection_rows import LinkParams
from stages.lib.detect.fusion import consensus
from stages.lib.metrics.cohort import ToleranceParams


def merge(votes: pa.Table, answers: pa.Table, manifest: pa.Table, params: LinkParams) -> pa.Table:
    """Return what the voters on each image agree on, a voter being a request and a view, as `tables.LOCALIZE`.

    With one voter its findings are left as they are; else see `consensus.consensus`.
    """
    diagonal = detection_rows.diagonals(manifest)
    found = detection_rows.by_image(votes.to_pylist(), ("request", "view"))
    voters: dict[str, list[tuple[str, str]]] = {}
    for row in answers.to_pylist():
        voters.setdefault(row["image_id"], []).append((row["request"], row["view"]))
    merged = {
        name: consensus([found[name].get(voter, []) for voter in voters[name]], params.near(diagonal[name]))
        for name in found
    }
    return detection_rows.table(merged, params.max_points)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the parts, merge, choose or read the cutoff, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"nodules.link": LinkParams, "nodules.select": SelectParams, "nodules.tolerance": ToleranceParams},
        reads=["votes", "answers", "manifest", "split", "points", "fitted"],
        writes=["localize", "words", "cutoff"],
        many=["votes", "answers"],
        optional=["split", "points", "fitted", "cutoff"],
    )
    answers = gather([tables.read(path, tables.ANSWERS) for path in args.answers], tables.ANSWERS)
    votes = gather([tables.read(path, tables.VOTES) for path in args.votes], tables.VOTES)
    manifest = tables.read(args.manifest, tables.MANIFEST)
    merged = merge(votes, answers, manifest, args.params.link)
    asked = set(answers["image_id"].to_pylist())
    table, cutoff = detection_rows.chooser(args).settle(merged, asked, detection_rows.diagonals(manifest))
    LOG.info("merge: %d findings on %d images, cutoff %s", table.num_rows, len(asked), cutoff.cutoff)
    tables.write(args.localize, table, tables.LOCALIZE)
    tables.write(args.words, answers, tables.ANSWERS)
    if args.cutoff:
        documents.write(args.cutoff, cutoff)


if __name__ == "__main__":
    cli.run(main)
