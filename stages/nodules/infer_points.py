"""Score each image by a localizer's points: the highest confidence of one, without asking a model again.

in   localize   tables.LOCALIZE of the localizer; the file's name is the localizer's
     responses  tables.RESPONSES of it: images that it was asked about
     split      tables.SPLIT; left out for images without labels
out  infer      tables.INFER without logits, score_calibrated not fitted yet
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from stages.lib.core import cli, tables
from stages.lib.core.errors import TableError
from stages.lib.core.log import LOG
from stages.lib.metrics.evaluation_sets import MEASURED_SPLITS
from stages.lib.models.classifiers import points


def infer(localizer: str, localize: pa.Table, responses: pa.Table, split: pa.Table | None) -> pa.Table:
    """Score of each image that is measured; without a split, of each that the localizer was asked about.

    Args:
        localizer: Name of the localizer.
        localize: Table `tables.LOCALIZE`.
        responses: Table `tables.RESPONSES`.
        split: Table `tables.SPLIT`, or None.

    Raises:
        TableError: If a point has no confidence, or a labelled image that is measured was not put to the localizer.
    """
    found = points.scores(localizer, localize, responses)
    if split is None:
        rows = [{"image_id": image, "score": score} for image, score in found.items()]
        return tables.from_rows(rows, tables.INFER)
    known = [row for row in split.to_pylist() if row["split"] in MEASURED_SPLITS]
    missing = [row["image_id"] for row in known if row["image_id"] not in found and row["label"] is not None]
    if missing:
        raise TableError(
            f"{localizer}: {len(missing)} of {len(known)} images of {' and '.join(MEASURED_SPLITS)} were not put to it "
            f"(first: {missing[0]}); run the pipeline again"
        )
    rows = [
        {name: row[name] for name in ("image_id", "split", "label")} | {"score": found[row["image_id"]]}
        for row in known
        if row["image_id"] in found
    ]
    return tables.from_rows(rows, tables.INFER)


def main(argv: Sequence[str] | None = None) -> None:
    """Read, score, write."""
    args = cli.parse(__doc__, argv, reads=("localize", "responses", "split"), writes=("infer",), optional=("split",))
    table = infer(
        Path(args.localize).stem,
        tables.read(args.localize, tables.LOCALIZE),
        tables.read(args.responses, tables.RESPONSES),
        tables.read(args.split, tables.SPLIT) if args.split else None,
    )
    LOG.info("infer: %d images scored by their points", table.num_rows)
    tables.write(args.infer, table, tables.INFER)


if __name__ == "__main__":
    cli.run(main)
