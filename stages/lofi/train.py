"""Train LoFi: two towers with LoRA that tell whose report is whose, and a small decoder that writes about places.

The checkpoint is chosen on validation images. An interrupted run goes on where it stopped.

in   manifest     tables.MANIFEST
     normalized   tables.NORMALIZED
     pairs        sentence_tables.PAIRS
     encoder      record of the encoder's files, by fetch
     decoder      record of the decoder's files, by fetch
     results      folder that the images' paths are relative to
out  adapter      folder: PEFT's LoRA, what is trained whole, and noduleflow.json
     log          JSON, as lib.learn.lofi_log.LofiLog
     curve        CSV: loss, learning rate and validation metrics by step
     checkpoints  folder that an interrupted run goes on from; exit code 75 asks for that
     live         folder of curves to watch while it trains, by DVCLive
"""

import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from stages.lib.core import cli, documents, tables
from stages.lib.core.errors import PreemptedError, TrainingError
from stages.lib.core.log import LOG
from stages.lib.core.sentence_tables import PAIRS
from stages.lib.images import normalized as normalized_images
from stages.lib.learn import curve, lofi, reports
from stages.lib.learn.lofi import LofiTask
from stages.lib.learn.lofi_log import LofiCheckpoint, LofiLog
from stages.lib.learn.reports import Report, Sentence
from stages.lib.learn.train_log import TrainedBase
from stages.lib.models import box_text, snapshot
from stages.lib.models.lofi import card
from stages.lib.models.lofi.params import ModelParams

Params = lofi.LofiParams
NONE = "none"
GO_ON = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, start it again


def reports_of(pairs: pa.Table, normalized: pa.Table, manifest: pa.Table, split: str, results: Path) -> list[Report]:
    """Images of a split with their reports.

    Args:
        pairs: Table of `sentence_tables.PAIRS`.
        normalized: Table of `tables.NORMALIZED`.
        manifest: Table of `tables.MANIFEST`, of which the size of the originals is read.
        split: Its name.
        results: Folder that the images' paths are relative to.

    Returns:
        By id. An image without a sentence of a report, or without pixels, is left out; the log says how many.
    """
    pngs = {row["image_id"]: row["png"] for row in normalized.to_pylist() if row["png"] is not None}
    sizes = {row["image_id"]: (row["width_px"], row["height_px"]) for row in manifest.to_pylist()}
    rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in pairs.to_pylist():
        if row["split"] == split:
            rows[row["image_id"]].append(row)
    found = [
        Report(
            image_id=image,
            path=results / pngs[image],
            sentences=tuple(
                Sentence(
                    text=row["text"],
                    part=row["part"],
                    boxes=tuple(box_text.to_square(box, *sizes[image]) for box in row["boxes"]),
                )
                for row in sorted(said, key=lambda row: row["number"])
            ),
        )
        for image, said in sorted(rows.items())
        if image in pngs and any(row["part"] is not None for row in said)
    ]
    if left := len(rows) - len(found):
        LOG.warning("warning: %d of %d %s images have no pixels or no report, and are left out", left, len(rows), split)
    return found


def train(
    task: LofiTask, checkpoints: Path, live: Path | None = None
) -> tuple[Path, card.Card, LofiLog, list[curve.Row]]:
    """Selected checkpoint, the card of its adapter, the log, and the curve.

    Args:
        task: What to train on what.
        checkpoints: Folder for checkpoints, to go on from if it holds some of the same run.
        live: Folder for curves to watch; None if there are to be none.

    Raises:
        TrainingError: As `loop.fit`.
        PreemptedError: If the process was asked to stop.
    """
    from stages.lib.learn import loop

    outcome = loop.fit(task, checkpoints, live)
    given, steps = task.params, len(outcome.curve)
    samples = steps * given.samples_per_step
    counted = reports.count(task.drawing(), task.train, task.order[:samples], given.samples_per_step)
    decoder = task.decoder if given.written else None
    log = LofiLog(
        encoder=TrainedBase.of(task.encoder),
        decoder=TrainedBase.of(decoder) if decoder else None,
        preprocessing_hash=task.preprocessing_hash,
        trainable_parameters=outcome.trainable,
        total_parameters=outcome.total,
        images=len(task.train),
        boxed_images=sum(bool(report.boxed) for report in task.train),
        sentences=sum(len(report.sentences) for report in task.train),
        validation_images=len(task.val),
        steps=steps,
        steps_planned=given.max_steps,
        samples=samples,
        samples_per_step=given.samples_per_step,
        epochs=samples / len(task.train),
        counted_samples=counted.samples,
        doubles_fraction=counted.doubles / counted.samples,
        left_out_fraction=counted.left_out / max(counted.drawn, 1),
        loss_first=outcome.loss_first,
        loss_last=outcome.loss_last,
        selected_by=outcome.selected_by,
        selected_step=outcome.selected_step,
        checkpoints=tuple(
            LofiCheckpoint(step=row.step, **{name: row.validation.get(name) for name in task.metrics})
            for row in outcome.table
        ),
        notes=tuple(outcome.notes),
        resumed_from_step=outcome.resumed_from,
        seconds=outcome.seconds,
        data_wait_fraction=outcome.data_wait_fraction,
    )
    written = card.Card(
        preprocessing_hash=task.preprocessing_hash,
        encoder=task.encoder.identity,
        decoder=decoder.identity if decoder else None,
        model=asdict(task.model),
        train=asdict(given),
        step=outcome.selected_step,
    )
    return outcome.checkpoint, written, log, outcome.curve


def main(argv: Sequence[str] | None = None) -> None:
    """Read images, reports and bases, write adapter, log and curve."""
    args = cli.parse(
        __doc__,
        argv,
        params={"lofi.train": Params, "lofi.model": ModelParams},
        reads=["manifest", "normalized", "pairs", "encoder", "decoder", "results"],
        writes=["checkpoints", "adapter", "log", "curve", "live"],
        optional=["live"],
    )
    given, model = args.params.train, args.params.model
    encoder, decoder = snapshot.read(args.encoder), snapshot.read(args.decoder)
    normalized, manifest = tables.read(args.normalized, tables.NORMALIZED), tables.read(args.manifest, tables.MANIFEST)
    pairs, results = tables.read(args.pairs, PAIRS), Path(args.results)
    learn, val = (reports_of(pairs, normalized, manifest, split, results) for split in ("train", "val"))
    if not learn:
        raise TrainingError("found no image of the train split with a report, wanted some; set lofi.pair.fractions")
    pixels = normalized_images.preprocessing_hash(normalized)
    start = None if given.start == NONE else Path(given.start)
    if start is not None:
        card.check(start, pixels, encoder.identity, decoder.identity if given.written else None, model)
    task = LofiTask(
        train=learn,
        val=val,
        preprocessing_hash=pixels,
        encoder=encoder,
        decoder=decoder,
        model=model,
        params=given,
        start=start,
    )
    try:
        checkpoint, written, log, rows = train(task, Path(args.checkpoints), Path(args.live) if args.live else None)
    except PreemptedError as stopped:
        LOG.warning("train: %s", stopped)
        sys.exit(GO_ON)
    if os.environ.get("RANK", "0") != "0":
        return
    for note in log.notes:
        LOG.warning("warning: %s", note)
    LOG.info(
        "train: %d of %d parameters trained; step %d selected by %s; %.1f %% of the images had a double in their step",
        *(log.trainable_parameters, log.total_parameters, log.selected_step, log.selected_by),
        100 * log.doubles_fraction,
    )
    card.write(Path(args.adapter), checkpoint, written)
    documents.write(args.log, log)
    curve.write_csv(args.curve, rows, task.metrics)


if __name__ == "__main__":
    cli.run(main)
