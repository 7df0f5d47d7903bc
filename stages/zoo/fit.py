"""Fit a row on training images; each of its choices is made on validation images.

in   model        name of the row of zoo.models
     manifest     tables.MANIFEST
     split        tables.SPLIT; labels of test images are not read
     features     feature_tables.FEATURES of all shards, or
     tokens       feature_tables.TOKENS of all shards, with
     embedded     their record, or
     normalized   tables.NORMALIZED at the row's side, and
     results      folder that the images' paths are relative to, or
     scores       tables.INFER of the members of an ensemble, or of a classifier; the file's name is its name
     members      folders that the members were fitted to, and
     member_fits  records of their fits
     weights      JSON, as lib.models.snapshot.Snapshot, for kinds that load a model
     parts        JSON, as lib.models.chexagent.records.Parts, for a model of several sets of files
     environment  record of the environment that it needs
     work         folder for the row's private files
     cache        folder of what was asked and trained, of all rows, which a later run takes up; safe to delete
out  fitted       folder of what scores images
     fit          JSON, as records.Fit

Where the row fails, the folder is empty and the record has the reason.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import cli, documents, files, kinds, params, tables
from stages.lib.core.log import LOG
from stages.lib.learn.candidate import Bank, Fitted, Inputs
from stages.lib.metrics.cohort import CohortParams
from stages.lib.models.gemma3 import ModelParams
from stages.zoo import inputs
from stages.zoo.embed_params import EmbedParams
from stages.zoo.failures import attempt
from stages.zoo.images import cohort
from stages.zoo.record_files import features_name
from stages.zoo.records import Embedded, Failure, Fit

SECTIONS: dict[str, params.Section] = {
    "zoo.embed": EmbedParams,
    "zoo.bank": Bank,
    "nodules.cohort": CohortParams,
    "nodules.model": ModelParams,
}


def fit(given: inputs.Given, row: params.Row, train: pa.Table, val: pa.Table, out: Path) -> Fit:
    """Fit a row, write what scores images, and tell what it came to.

    Args:
        given: Files of the row.
        row: The row.
        train: Training images: image_id, patient_id and label.
        val: Validation images, likewise.
        out: Folder of what scores images.

    Raises:
        DataError: If there are too few patients of a class.
        NoduleflowError: Whatever the kind refuses.
    """
    began = time.monotonic()
    kind = kinds.module(kinds.MODELS, row.kind)
    learned, hash_ = inputs.of_images(given, kind.READS, train, None, labelled=True, scored=False)
    chosen, _ = inputs.of_images(given, kind.READS, val, hash_ or None, labelled=True)
    inputs.check_classes(given.row, learned, chosen)
    setting = inputs.setting(given, chosen, learned, hash_)
    with files.replacing_folder(out) as folder:
        made: Fitted = kind.fit(row.params, setting, folder)
    embedded = next(iter(given.embedded), None)
    return Fit(
        model=given.row,
        kind=row.kind,
        failure=None,
        **_counts(learned, chosen),
        preprocessing_hash=hash_,
        side_px=getattr(row.params, "side_px", None),
        tried=made.tried,
        chosen=made.chosen,
        trained_parameters=made.trained_parameters,
        parameters=_parameters(made, embedded),
        operations=embedded.operations if made.operations is None and embedded else made.operations,
        passes=embedded.places if embedded and embedded.places else made.passes,
        random_weights=made.random_weights or bool(embedded and embedded.random_weights),
        notes=made.notes,
        seconds=time.monotonic() - began,
        features=features_name(given.files.embedded[0]) if given.files.embedded else None,
    )


def _parameters(made: Fitted, embedded: Embedded | None) -> int | None:
    """All parameters that score an image: those that the kind tells, or its backbone's and those that were fitted."""
    if made.parameters is not None or embedded is None or embedded.parameters is None:
        return made.parameters
    return embedded.parameters + made.trained_parameters


def _counts(train: Inputs, val: Inputs) -> dict[str, int]:
    positive = [0 if images.labels is None else int(images.labels.sum()) for images in (train, val)]
    return {
        "images": len(train),
        "positive_images": positive[0],
        "validation_images": len(val),
        "positive_validation_images": positive[1],
    }


def failed(model: str, kind: str, failure: Failure) -> Fit:
    """Record of a row that was not fitted."""
    return Fit(
        model=model,
        kind=kind,
        failure=failure,
        images=0,
        positive_images=0,
        validation_images=0,
        positive_validation_images=0,
        preprocessing_hash="",
        side_px=None,
        tried=(),
        chosen="",
        trained_parameters=0,
        parameters=None,
        operations=None,
        passes=1,
        random_weights=False,
        notes=(),
        seconds=0.0,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read training and validation images, fit, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={**SECTIONS, "zoo.models": kinds.rows(kinds.MODELS)},
        reads=inputs.READS,
        writes=["fitted", "fit"],
        many=inputs.FILES,
        optional=inputs.OPTIONAL,
    )
    row, given, out = inputs.row_of(args), inputs.given(args), Path(args.fitted)
    split, manifest = tables.read(args.split, tables.SPLIT), tables.read(args.manifest, tables.MANIFEST)
    split = split.filter(pc.not_equal(split["split"], "test"))
    sources = args.params.cohort.sources
    train, val = (cohort(split, manifest, sources, (one,)) for one in ("train", "val"))

    def work() -> None:
        made = fit(given, row, train, val, out)
        documents.write(args.fit, made)
        LOG.info("fit: %s on %d images, %s", args.model, made.images, made.chosen or "nothing to choose")

    def give_up(failure: Failure) -> None:
        with files.replacing_folder(out):
            documents.write(args.fit, failed(args.model, row.kind, failure))

    attempt("fit", args.model, work, give_up, given.failures)


if __name__ == "__main__":
    cli.run(main)
