"""Train a localizer on the study's own marked images of the train split, and find points with it.

in   localizer    its name, a row of zoo.localizers
     manifest     tables.MANIFEST
     split        tables.SPLIT and
     points       tables.POINTS: training images alone teach, validation images alone choose the cutoff
     normalized   tables.NORMALIZED at the row's side
     tokens       feature_tables.TOKENS of the purpose located, all shards, and
     embedded     their records, for kinds that read tokens
     results      folder that the images' paths are relative to, and
     weights      JSON, as lib.models.snapshot.Snapshot, for kinds that read pixels
     work         folder for checkpoints and for what was fitted; safe to delete
out  localize     tables.LOCALIZE: points on every image that the study runs localizers on, so that a row of
                  nodules.localizers of the kind table makes them one more localizer there
     responses    tables.RESPONSES: one row per image
     record       JSON, as records.Localized

Where the row fails, the tables are empty and the record has the reason.
"""

import argparse
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa

from stages.lib.core import cli, documents, kinds, tables
from stages.lib.core.errors import ParamsError
from stages.lib.core.log import LOG
from stages.lib.core.params import Row, unknown
from stages.lib.core.progress import track
from stages.lib.detect import choice, detection_rows, trainable
from stages.lib.detect.choice import SelectParams
from stages.lib.detect.detection import Detection
from stages.lib.detect.fusion import Candidate
from stages.lib.detect.trainable import Known
from stages.lib.images.geometry import Geometry
from stages.lib.images.normalized import preprocessing_hash
from stages.lib.learn.task import LoopParams
from stages.lib.metrics import evaluation_sets
from stages.lib.metrics.cohort import ToleranceParams
from stages.lib.models import box_model, snapshot
from stages.lib.models.snapshot import Snapshot
from stages.zoo import marks
from stages.zoo.failures import attempt
from stages.zoo.marks import Study
from stages.zoo.records import Embedded, Failure, Localized, Taught

READS = ("localizer", "manifest", "split", "points", "normalized", "tokens", "embedded", "results", "weights", "work")
OPTIONAL = ("tokens", "embedded", "results", "weights")
VIEW = "whole"
CHECKPOINT_STEPS = 100
RANDOM = "The weights of its backbone are random: what it finds says nothing of a trained one."


def candidates(found: Sequence[Detection], geometry: Geometry) -> list[Candidate]:
    """Detections in pixels of the original, in their order."""
    made = []
    for one in found:
        x, y = geometry.from_unit(one.u, one.v)
        box = None
        if one.box is not None:
            box = (*geometry.from_unit(*one.box[:2]), *geometry.from_unit(*one.box[2:]))
        made.append(Candidate(x, y, box, one.confidence, one.phrase))
    return made


def localize(
    row: Row, setting: trainable.Setting, training: Sequence[Known], images: Sequence[Known]
) -> tuple[pa.Table, pa.Table, trainable.Fitted]:
    """Points that a localizer finds on images after it was trained on others, or on some of them.

    Args:
        row: Row of zoo.localizers.
        setting: See `trainable.Setting`.
        training: Images that may teach it, of the train split alone.
        images: Images to look at; neither labels nor marks of them are seen.

    Returns:
        Tables of `tables.LOCALIZE`, all points shown, and `tables.RESPONSES`; and what the fit came to.

    Raises:
        MarksError: If the training images cannot teach it.
    """
    kind = kinds.module(kinds.TRAINED_LOCALIZERS, row.kind)
    fitted = kind.fit(row.params, setting, training)
    found: dict[str, list[Candidate]] = {}
    responses = []
    made = kind.find(row.params, setting, [marks.bare(image) for image in images])
    made = track(made, total=len(images), what="localize")
    for image, detections in zip(images, made, strict=True):
        found[image.image_id] = candidates(detections, image.geometry)
        rows = [[round(value, 6) for value in (one.u, one.v, one.confidence or 0.0)] for one in detections]
        said = {"response": json.dumps({"peaks": rows}), "parsed": "ok" if detections else "empty"}
        responses.append({"image_id": image.image_id, "prompt": setting.row, "view": VIEW, **said})
    most = max((len(some) for some in found.values()), default=0)
    return detection_rows.table(found, most), tables.from_rows(responses, tables.RESPONSES), fitted


def tune_boxes(
    row: str, found: Snapshot, work: Path, preprocessing_hash: str, asked: trainable.BoxTraining
) -> box_model.Loaded:
    """A detector, tuned by the project's loop; a run that was stopped goes on.

    Args:
        row: Name of the row, for errors.
        found: Files of the detector.
        work: Folder for checkpoints.
        preprocessing_hash: Of the images.
        asked: What it is tuned on, and how.

    Raises:
        TrainingError: As `loop.fit`.
    """
    from stages.lib.learn import box_task, loop

    params = LoopParams(
        per_device_train_batch_size=asked.batch_size,
        gradient_accumulation_steps=1,
        learning_rate=asked.learning_rate,
        warmup_ratio=asked.warmup_ratio,
        max_steps=asked.max_steps,
        max_grad_norm=asked.max_grad_norm,
        weight_decay=asked.weight_decay,
        eval_steps=min(CHECKPOINT_STEPS, asked.max_steps),
        save_steps=min(CHECKPOINT_STEPS, asked.max_steps),
        select_by="last",
        patience=0,
        save_total_limit=2,
        dataloader_num_workers=0,
        seed=asked.seed,
    )
    images = tuple(box_task.Boxes(png, boxes) for png, boxes in asked.images)
    task = box_task.Task(params, found, asked.architecture, asked.side_px, row, images, preprocessing_hash)
    return box_task.tuned(task, loop.fit(task, work).checkpoint)


def taught(images: Sequence[Known]) -> Taught:
    """What images teach that are known as these are."""
    marked = [image for image in images if image.marked]
    return Taught(
        images=len(marked),
        patients=len({image.patient_id for image in marked}),
        points=sum(len(image.points) for image in marked),
        negative_images=sum(image.negative for image in images),
    )


def run(args: argparse.Namespace, row: Row, study: Study, embedded: Sequence[Embedded]) -> None:
    """Train, find, choose the cutoff, write.

    Args:
        args: Arguments of the stage.
        row: Row of the localizer.
        study: Tables of the study.
        embedded: Records of the tokens; none for a kind that reads pixels.
    """
    began = time.monotonic()
    select: SelectParams = args.params.select
    hash_ = preprocessing_hash(study.normalized)
    there = set(study.normalized["image_id"].to_pylist())
    kind = kinds.module(kinds.TRAINED_LOCALIZERS, row.kind)

    def work() -> None:
        seen = evaluation_sets.localized_images(
            study.split, study.points, select.splits, negative_images=select.negative_images, seed=select.seed
        )
        training = [name for name in study.training() if name in there]
        if kind.READS == "tokens":
            training = marks.there(training, args.tokens or [])
        ids = sorted((seen & there) | set(training))
        images = study.known(ids)
        found = snapshot.read(args.weights) if args.weights else None
        rows = None
        if kind.READS == "tokens":
            images, rows = marks.with_tokens(args.localizer, row.params, images, args.tokens or [], embedded, hash_)
        else:
            pngs = tables.mapping(study.normalized, "png")
            images = [marks.with_(image, pixels=Path(args.results) / pngs[image.image_id]) for image in images]
        tune = partial(tune_boxes, args.localizer, found, Path(args.work), hash_) if found else None
        setting = trainable.Setting(row=args.localizer, folder=Path(args.work), found=found, rows=rows, tune=tune)
        teach = kind.teaching(row.params, [image for image in images if image.image_id in set(training)])
        looked_at = [image for image in images if image.image_id in seen]
        points, responses, fitted = localize(row, setting, teach, looked_at)
        chooser = detection_rows.Chooser(
            how=choice.untaught(select, args.localizer),
            tolerance_fraction=args.params.tolerance.tolerant_fraction,
            points=study.points,
            split=study.split,
            fitted=None,
        )
        table, cutoff = chooser.settle(points, responses["image_id"].to_pylist(), study.manifest)
        LOG.info("localize: %d points on %d images, cutoff %s", table.num_rows, len(looked_at), cutoff.cutoff)
        tables.write(args.localize, table, tables.LOCALIZE)
        tables.write(args.responses, responses, tables.RESPONSES)
        told = Localized(
            localizer=args.localizer,
            kind=row.kind,
            failure=None,
            taught=taught(teach),
            images=len(looked_at),
            points=table.num_rows,
            trained_parameters=fitted.trained_parameters,
            passes=row.params.shifts**2,
            cutoff=cutoff,
            preprocessing_hash=hash_,
            notes=(*fitted.notes, *([RANDOM] if any(one.random_weights for one in embedded) else [])),
            seconds=time.monotonic() - began,
        )
        documents.write(args.record, told)

    def give_up(failure: Failure) -> None:
        for path, schema in ((args.localize, tables.LOCALIZE), (args.responses, tables.RESPONSES)):
            tables.write(path, schema.arrow.empty_table(), schema)
        told = Localized(
            localizer=args.localizer,
            kind=row.kind,
            failure=failure,
            taught=None,
            images=0,
            points=0,
            trained_parameters=0,
            passes=0,
            cutoff=None,
            preprocessing_hash=hash_,
            notes=(),
            seconds=time.monotonic() - began,
        )
        documents.write(args.record, told)

    attempt("localize", args.localizer, work, give_up, [one.failure for one in embedded])


def main(argv: Sequence[str] | None = None) -> None:
    """Read the tables, train, find, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "zoo.localizers": kinds.rows(kinds.TRAINED_LOCALIZERS),
            "nodules.select": SelectParams,
            "nodules.tolerance": ToleranceParams,
        },
        reads=READS,
        writes=["localize", "responses", "record"],
        optional=OPTIONAL,
        many=["tokens", "embedded"],
    )
    rows = args.params.localizers
    if args.localizer not in rows:
        raise ParamsError("--localizer:", [unknown(args.localizer, rows)])
    study = Study(
        manifest=tables.read(args.manifest, tables.MANIFEST),
        split=tables.read(args.split, tables.SPLIT),
        points=tables.read(args.points, tables.POINTS),
        normalized=tables.read(args.normalized, tables.NORMALIZED),
    )
    embedded = [documents.read(path, Embedded) for path in args.embedded or ()]
    run(args, rows[args.localizer], study, embedded)


if __name__ == "__main__":
    cli.run(main)
