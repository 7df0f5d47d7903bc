"""Choose the requests that a localizer puts to all images: the best of its bank on images that are not test images.

in   votes     tables.VOTES and
     answers   tables.ANSWERS of the bank, in parts
     manifest  tables.MANIFEST; split  tables.SPLIT; points  tables.POINTS
out  choice    JSON: the requests chosen, and what each request of the bank found
"""

from collections.abc import Sequence

import pyarrow as pa

from stages.lib.core import cli, documents, tables
from stages.lib.core.log import LOG
from stages.lib.core.shards import gather
from stages.lib.detect import detection_rows
from stages.lib.detect.choice import BankRow, Choice, SelectParams
from stages.lib.detect.cutoff import best
from stages.lib.metrics.cohort import ToleranceParams


def choose(
    votes: pa.Table,
    answers: pa.Table,
    manifest: pa.Table,
    split: pa.Table,
    points: pa.Table,
    params: SelectParams,
    tolerance_fraction: float,
) -> Choice:
    """Return the requests with the largest F1, each at its best cutoff, and what the whole bank found.

    Of equals the one that found more, then the first by name. F1 counts points within the tolerance on the images that
    choose, negative ones included.

    Without an image to choose by, no request is chosen, and the reason is told: localizers then put the first of their
    bank.
    """
    asked = set(answers["image_id"].to_pylist())
    images = detection_rows.choosing(asked, points, split, params)
    if not images:
        reason = f"no image with marked nodules is in the splits {', '.join(params.splits)}"
        if not answers.num_rows:
            reason = f"the bank has no more requests than are kept, or {reason}"
        return Choice(requests=(), splits=params.splits, bank=(), reason=reason)
    diagonal, rows = detection_rows.diagonals(manifest), []
    for request in sorted(set(answers["request"].to_pylist())):
        found = [row for row in votes.to_pylist() if row["request"] == request]
        counts = best(detection_rows.shown(found, images, points, diagonal, tolerance_fraction))
        words = [row["parsed"] for row in answers.to_pylist() if row["request"] == request]
        row = BankRow(
            request=request,
            cutoff=counts.cutoff,
            f1=counts.f1,
            hits=counts.hits,
            points=counts.points,
            nodules=counts.nodules,
            images=len(images),
            malformed=words.count("malformed"),
        )
        rows.append(row)
    ranked = tuple(sorted(rows, key=lambda row: (-row.f1, -row.hits)))
    kept = tuple(row.request for row in ranked[: params.max_prompts])
    return Choice(requests=kept, splits=params.splits, bank=ranked)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the answers to the bank, choose, write the choice."""
    args = cli.parse(
        __doc__,
        argv,
        params={"nodules.select": SelectParams, "nodules.tolerance": ToleranceParams},
        reads=["votes", "answers", "manifest", "split", "points"],
        writes=["choice"],
        many=["votes", "answers"],
    )
    found = choose(
        gather([tables.read(path, tables.VOTES) for path in args.votes], tables.VOTES),
        gather([tables.read(path, tables.ANSWERS) for path in args.answers], tables.ANSWERS),
        tables.read(args.manifest, tables.MANIFEST),
        tables.read(args.split, tables.SPLIT),
        tables.read(args.points, tables.POINTS),
        args.params.select,
        args.params.tolerance.tolerant_fraction,
    )
    if found.reason:
        LOG.info("choose: no request is chosen, the first of the bank is put: %s", found.reason)
    for row in found.bank:
        kept = "chosen" if row.request in found.requests else "not chosen"
        LOG.info(
            "choose: %d of %d nodules with %d points on %d images, F1 %.3f, %s: %s",
            *(row.hits, row.nodules, row.points, row.images, row.f1, kept, row.request),
        )
    documents.write(args.choice, found)


if __name__ == "__main__":
    cli.run(main)
