"""Choose the prompts that a localizer puts to all images: the best of its bank on images that are not test images.

in   detections  tables.DETECTIONS and
     responses   tables.RESPONSES of the bank, the shards of one localizer
     manifest    tables.MANIFEST; split  tables.SPLIT; points  tables.POINTS
     localizer   its name, a row of nodules.localizers
out  choice      JSON: the prompts chosen, and what each prompt of the bank found
"""

from collections.abc import Sequence

import pyarrow as pa

from stages.lib.core import cli, documents, kinds, tables
from stages.lib.core.log import LOG
from stages.lib.core.shards import gather
from stages.lib.detect import choice, detection_rows
from stages.lib.detect.choice import BankRow, Choice, SelectParams
from stages.lib.detect.cutoff import at_rate
from stages.lib.metrics.cohort import ToleranceParams


def choose(
    detections: pa.Table,
    responses: pa.Table,
    manifest: pa.Table,
    split: pa.Table,
    points: pa.Table,
    params: SelectParams,
    tolerance_fraction: float,
) -> Choice:
    """Prompts with the largest F1, each at its cutoff, and what the whole bank found.

    The cutoff of each is the lowest that keeps to the rate of false points on negative images, so that prompts are
    compared where they would be used. Of equals the one that found more, then the first by name. F1 counts points
    within the tolerance on the images that choose, negative ones included.

    Without an image to choose by, no prompt is chosen, and the reason is told: localizers then put the first of their
    bank.
    """
    asked = set(responses["image_id"].to_pylist())
    images = detection_rows.choosing(asked, points, split, params)
    if not set(images) & set(points["image_id"].to_pylist()):
        reason = f"no image with marked nodules is in the splits {', '.join(params.splits)}"
        if not responses.num_rows:
            reason = f"the bank has no more prompts than are kept, or {reason}"
        return Choice(prompts=(), splits=params.splits, bank=(), reason=reason)
    diagonal, rows = detection_rows.diagonals(manifest), []
    for prompt in sorted(set(responses["prompt"].to_pylist())):
        found = [row for row in detections.to_pylist() if row["prompt"] == prompt]
        seen = detection_rows.shown(found, images, points, diagonal, tolerance_fraction)
        counts = at_rate(seen, params.false_points_per_image)
        words = [row["parsed"] for row in responses.to_pylist() if row["prompt"] == prompt]
        row = BankRow(
            prompt=prompt,
            cutoff=counts.cutoff,
            f1=counts.f1,
            true_positives=counts.true_positives,
            points=counts.points,
            nodules=counts.nodules,
            images=len(images),
            negatives=counts.negatives,
            false_points_per_image=counts.false_points_per_image,
            responses=len(words),
            malformed=words.count("malformed"),
            cut=words.count("cut"),
        )
        rows.append(row)
    ranked = tuple(sorted(rows, key=lambda row: (-row.f1, -row.true_positives)))
    kept = tuple(row.prompt for row in ranked[: params.max_prompts])
    return Choice(prompts=kept, splits=params.splits, bank=ranked)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the responses to the bank, choose, write the choice."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "nodules.select": SelectParams,
            "nodules.tolerance": ToleranceParams,
            "nodules.localizers": kinds.rows(kinds.LOCALIZERS),
        },
        reads=["detections", "responses", "manifest", "split", "points", "localizer"],
        writes=["choice"],
        many=["detections", "responses"],
    )
    found = choose(
        gather([tables.read(path, tables.DETECTIONS) for path in args.detections], tables.DETECTIONS),
        gather([tables.read(path, tables.RESPONSES) for path in args.responses], tables.RESPONSES),
        tables.read(args.manifest, tables.MANIFEST),
        tables.read(args.split, tables.SPLIT),
        tables.read(args.points, tables.POINTS),
        choice.of_localizer(args.params.select, args.params.localizers, args.localizer),
        args.params.tolerance.tolerant_fraction,
    )
    if found.reason:
        LOG.info("choose: no prompt is chosen, the first of the bank is put: %s", found.reason)
    for row in found.bank:
        kept = "chosen" if row.prompt in found.prompts else "not chosen"
        LOG.info(
            "choose: %d of %d nodules with %d points on %d images, F1 %.3f, %s: %s",
            *(row.true_positives, row.nodules, row.points, row.images, row.f1, kept, row.prompt),
        )
    documents.write(args.choice, found)


if __name__ == "__main__":
    cli.run(main)
