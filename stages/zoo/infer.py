"""Score validation and test images by a row as it was fitted; without a split, every image that was normalized.

in   as zoo.fit; and
     fitted  folder of what scores images
     fit     JSON, as records.Fit
     shard   shard of the images, k-of-n; all of them if left out
out  infer   tables.INFER, score_calibrated not fitted yet
     record  JSON, as records.Inferred

Where the row fails, the table is empty and the record has the reason.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.lib.core import cli, documents, kinds, params, shards, tables
from stages.lib.core.errors import MismatchError, ModelError, ParamsError
from stages.lib.core.log import LOG
from stages.lib.learn.candidate import Scores
from stages.lib.metrics.evaluation_sets import MEASURED_SPLITS
from stages.zoo import inputs
from stages.zoo.failures import attempt
from stages.zoo.fit import SECTIONS
from stages.zoo.images import cohort
from stages.zoo.records import Failure, Fit, Inferred

OPTIONAL = ("split", "manifest", "shard", *inputs.OPTIONAL)
NAMED = 10  # images that a message names
ALL = "1-of-1"


def infer(given: inputs.Given, row: params.Row, fitted: Fit, images: pa.Table, folder: Path) -> pa.Table:
    """Score of each image by a row that was fitted; no label is read.

    Args:
        given: Files of the row.
        row: The row.
        fitted: Record of its fit.
        images: image_id in ascending order, patient_id, split and label; the latter two are copied.
        folder: What scores images.

    Returns:
        Table of tables.INFER.

    Raises:
        MismatchError: If the row was fitted as another kind, or on images of another preprocessing hash.
        ModelError: If a score is no number between 0 and 1.
        NoduleflowError: Whatever the kind refuses.
    """
    if fitted.kind != row.kind:
        raise MismatchError(f"{given.row}: fitted as kind {fitted.kind}, wanted {row.kind}; run zoo.fit again")
    if not images.num_rows:
        return tables.INFER.arrow.empty_table()
    kind = kinds.module(kinds.MODELS, row.kind)
    wanted = fitted.preprocessing_hash or None
    told = {one.preprocessing_hash for one in given.embedded if one.preprocessing_hash}
    if wanted and told - {wanted}:
        raise MismatchError(
            f"{given.row}: its features are of the preprocessing hash {', '.join(sorted(told))}, wanted {wanted}, "
            "which it was fitted on; run zoo.fit again"
        )
    found, hash_ = inputs.of_images(given, kind.READS, images, wanted, labelled=False)
    made: Scores = kind.score(row.params, inputs.setting(given, found, None, hash_), folder)
    ids = images["image_id"].to_pylist()
    _check(given.row, ids, made)
    logits = inputs.read_logits(given, ids) if made.logits is None else made.logits
    logits = np.full((len(ids), 2), np.nan) if logits is None else logits
    mass = inputs.read_mass(given, ids) if made.answer_mass is None else made.answer_mass
    mass = np.full(len(ids), np.nan) if mass is None else mass
    columns = {
        "image_id": images["image_id"],
        "split": images["split"],
        "label": images["label"],
        "logit_negative": _column(logits[:, 0]),
        "logit_positive": _column(logits[:, 1]),
        "score": _column(made.score),
        "score_calibrated": pa.nulls(len(ids), pa.float64()),
        "answer_mass": _column(np.minimum(mass, 1.0)),
    }
    return tables.check(pa.table([columns[name] for name in tables.INFER.names], tables.INFER.names), tables.INFER)


def _column(values: NDArray[np.float64]) -> pa.Array:
    """Numbers; null where there is none. What is not a number is refused before."""
    return pa.array(np.asarray(values, np.float64), pa.float64(), from_pandas=True)


def _check(row: str, ids: Sequence[str], made: Scores) -> None:
    """Refuse scores that are no numbers, or not of these images.

    Raises:
        ModelError: Naming row and images.
    """
    wanted = {"score": (len(ids),), "logits": (len(ids), 2), "answer_mass": (len(ids),)}
    values = {name: getattr(made, name) for name in wanted if getattr(made, name) is not None}
    shapes = {name: found.shape for name, found in values.items() if found.shape != wanted[name]}
    if shapes:
        raise ModelError(f"{row}: found {shapes} for {len(ids)} images, wanted {wanted}")
    odd = np.zeros(len(ids), bool)
    for found in values.values():
        odd |= ~np.isfinite(found.reshape(len(ids), -1)).all(axis=1)
    odd |= ~((made.score >= 0) & (made.score <= 1))
    if odd.any():
        names = [ids[int(number)] for number in np.flatnonzero(odd)[:NAMED]]
        raise ModelError(
            f"{row}: {odd.sum()} of {len(ids)} images have a score that is no number between 0 and 1 "
            f"({', '.join(names)}); wanted one of each image: fit the row again, or take another dtype"
        )


def asked(args: argparse.Namespace) -> pa.Table:
    """Images that are to be scored: image_id, patient_id, split and label, in ascending order.

    Raises:
        ParamsError: If neither split nor images are given.
    """
    names = ["image_id", "patient_id", "split", "label"]
    manifest = tables.read(args.manifest, tables.MANIFEST) if args.manifest else None
    if args.split and manifest is not None:
        split = tables.read(args.split, tables.SPLIT)
        return cohort(split, manifest, args.params.cohort.sources, MEASURED_SPLITS).select(names)
    if args.split or not args.normalized:
        raise ParamsError("images:", ["wanted --split with --manifest, or --normalized for images without labels"])
    ids = tables.read(args.normalized, tables.NORMALIZED).select(["image_id"])
    images = ids.append_column("split", pa.nulls(ids.num_rows, pa.string()))
    images = images.append_column("label", pa.nulls(ids.num_rows, pa.int64()))
    if manifest is None:
        return images.append_column("patient_id", images["image_id"]).select(names)
    return tables.lookup(images, manifest, ["patient_id"]).select(names)


def record(model: str, table: pa.Table, seconds: float, failure: Failure | None = None) -> Inferred:
    """What was scored."""
    mass = [value for value in table["answer_mass"].to_pylist() if value is not None]
    return Inferred(
        model=model,
        failure=failure,
        images=table.num_rows,
        seconds=seconds,
        seconds_per_image=seconds / table.num_rows if table.num_rows else None,
        answer_mass=float(np.mean(mass)) if mass else None,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read the images of one shard, score them, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"zoo.models": kinds.rows(kinds.MODELS), **SECTIONS},
        reads=[*inputs.READS, "fitted", "fit", "shard"],
        writes=["infer", "record"],
        many=inputs.FILES,
        optional=OPTIONAL,
    )
    row, given, fitted = inputs.row_of(args), inputs.given(args), documents.read(args.fit, Fit)
    images = shards.take(asked(args), args.shard or ALL)
    began = time.monotonic()

    def work() -> None:
        table = infer(given, row, fitted, images, Path(args.fitted))
        told = record(args.model, table, time.monotonic() - began)
        tables.write(args.infer, table, tables.INFER)
        documents.write(args.record, told)
        LOG.info("infer: %d images scored by %s", told.images, args.model)

    def give_up(failure: Failure) -> None:
        empty = tables.INFER.arrow.empty_table()
        tables.write(args.infer, empty, tables.INFER)
        documents.write(args.record, record(args.model, empty, 0.0, failure))

    attempt("infer", args.model, work, give_up, [fitted.failure, *given.failures])


if __name__ == "__main__":
    cli.run(main)
