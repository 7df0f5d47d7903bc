"""Shuffle the labels that a model is trained on, so that nothing but chance is left to learn.

in   manifest  tables.MANIFEST
     split     tables.SPLIT
out  shuffled  tables.SPLIT: the same, with labels of training and validation images permuted by patient
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from stages.lib.core import cli, tables
from stages.lib.images.variants import AuditParams
from stages.lib.metrics import evaluation_sets
from stages.lib.metrics.cohort import CohortParams


def shuffle(manifest: pa.Table, split: pa.Table, sources: Sequence[str], seed: int) -> pa.Table:
    """Split with labels permuted within the training and within the validation images of the cohort.

    The labels of each patient stay together as far as patients have as many images: they are laid out in one order of
    the patients, and handed out in another. Validation is shuffled too, since it chooses the checkpoint.

    Args:
        manifest: Table `tables.MANIFEST`.
        split: Table `tables.SPLIT`.
        sources: Sources of the cohort; other images keep their labels, since nothing is trained on them.
        seed: Of the two orders.

    Returns:
        Table of `tables.SPLIT`.
    """
    rng = np.random.default_rng(seed)
    labels = tables.mapping(split, "label")
    for name in ("train", "val"):
        images: dict[str, list[str]] = {}
        for row in evaluation_sets.classifier_images(split, manifest, sources, name).to_pylist():
            images.setdefault(row["patient_id"], []).append(row["image_id"])
        givers, takers = ([str(one) for one in rng.permutation(sorted(images))] for _ in range(2))
        given = [labels[image] for patient in givers for image in images[patient]]
        taken = [image for patient in takers for image in images[patient]]
        labels.update(zip(taken, given, strict=True))
    column = pa.array([labels[image] for image in split["image_id"].to_pylist()], pa.int64())
    changed = split.set_column(split.column_names.index("label"), split.schema.field("label"), column)
    return tables.check(changed, tables.SPLIT)


def main(argv: Sequence[str] | None = None) -> None:
    """Read, shuffle, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"nodules.audit": AuditParams, "nodules.cohort": CohortParams},
        reads=["manifest", "split"],
        writes=["shuffled"],
    )
    manifest, split = tables.read(args.manifest, tables.MANIFEST), tables.read(args.split, tables.SPLIT)
    table = shuffle(manifest, split, args.params.cohort.sources, args.params.audit.seed)
    tables.write(args.shuffled, table, tables.SPLIT)


if __name__ == "__main__":
    cli.run(main)
