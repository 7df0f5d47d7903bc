"""Fine-tune a grounder: LoFi's decoder learns to write the boxes of training sentences, the tower frozen or with LoRA.

The checkpoint is chosen on validation sentences. It starts from the bases, or from LoFi's adapter: row by row, with the
same seeds and steps, so that what pretraining brought can be told.

in   pairs        sentence_tables.PAIRS
     manifest     tables.MANIFEST
     normalized   tables.NORMALIZED
     results      folder that the images' paths are relative to
     grounder     its name, a row of lofi.grounders of the kind tuned
     encoder      JSON by fetch
     decoder      JSON by fetch
out  adapter      folder: PEFT's adapter, pooling and projection, noduleflow.json
     log          JSON, as lib.learn.tuning_log.TuneLog
     curve        CSV: loss, learning rate and validation loss by step
     checkpoints  folder that an interrupted run goes on from; exit code 75 asks for that
     features     folder of patches of the frozen tower, which a later run takes up
     live         folder of curves to watch while it trains, by DVCLive
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import cli, documents, kinds, params, sentence_tables, tables
from stages.lib.core.errors import DataError, ParamsError, PreemptedError, TrainingError
from stages.lib.core.log import LOG
from stages.lib.detect.grounders import tuned
from stages.lib.images.normalized import preprocessing_hash
from stages.lib.learn import curve, tuning
from stages.lib.learn.text_log import TextCheckpoint
from stages.lib.learn.train_log import TrainedBase
from stages.lib.learn.tuning import Boxed, TuneTask
from stages.lib.learn.tuning_log import TuneLog
from stages.lib.models import box_text, snapshot
from stages.lib.models.box_text import Rounding
from stages.lib.models.lofi import card
from stages.lib.models.lofi.params import ModelParams
from stages.lib.models.lofi.wording import ground_prompt

GO_ON = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, start it again
NONE = "none"


@params.section
class Params(tuning.TuneParams):
    """How grounders are fine-tuned."""


def boxed(
    pairs: pa.Table, manifest: pa.Table, images: pa.Table, results: Path, split: str, rounding: Rounding
) -> list[Boxed]:
    """Sentences of a split with boxes, and the answers that are wanted.

    Args:
        pairs: Table of `sentence_tables.PAIRS`.
        manifest: Table of `tables.MANIFEST` with these images.
        images: Table of `tables.NORMALIZED` with these images.
        results: The folder that the images' paths are relative to.
        split: The split.
        rounding: Of the boxes.

    Raises:
        DataError: If an image has no size, or was not normalized; all such images are named.
    """
    rows = pairs.filter(pc.equal(pairs["split"], split))
    rows = tables.lookup(tables.lookup(rows, manifest, ["width_px", "height_px"]), images, ["png"])
    found = [row for row in rows.to_pylist() if row["boxes"]]
    if odd := sorted({row["image_id"] for row in found if None in (row["width_px"], row["height_px"], row["png"])}):
        raise DataError("pairs:", [f"image {name}: found no size, or no normalized image, wanted both" for name in odd])
    made = []
    for row in found:
        boxes = [box_text.to_square(box, row["width_px"], row["height_px"]) for box in row["boxes"]]
        answer = box_text.write(boxes, "lofi", rounding)
        made.append(Boxed(row["image_id"], row["number"], results / row["png"], ground_prompt(row["text"]), answer))
    return made


def tune(task: TuneTask, checkpoints: Path, live: Path | None = None) -> tuple[Path, TuneLog, list[curve.Row]]:
    """Selected checkpoint, the log, and the curve.

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
    steps, params = len(outcome.curve), task.params
    log = TuneLog(
        encoder=TrainedBase.of(task.encoder),
        decoder=TrainedBase.of(task.decoder),
        start=str(task.start or NONE),
        tower=params.tower,
        preprocessing_hash=task.preprocessing_hash,
        trainable_parameters=outcome.trainable,
        total_parameters=outcome.total,
        images=len({one.image_id for one in task.train}),
        sentences=len(task.train),
        validation_sentences=len(task.val),
        steps=steps,
        steps_planned=params.max_steps,
        samples=steps * params.samples_per_step,
        epochs=steps * params.samples_per_step / len(task.train),
        loss_first=outcome.loss_first,
        loss_last=outcome.loss_last,
        selected_by=outcome.selected_by,
        selected_step=outcome.selected_step,
        checkpoints=tuple(TextCheckpoint(step=row.step, loss=row.validation.get("loss")) for row in outcome.table),
        notes=tuple(outcome.notes),
        resumed_from_step=outcome.resumed_from,
        seconds=outcome.seconds,
        data_wait_fraction=outcome.data_wait_fraction,
    )
    return outcome.checkpoint, log, outcome.curve


def asked(args: argparse.Namespace) -> TuneTask:
    """The task of a row.

    Raises:
        ParamsError: If the row is not one that is fine-tuned.
        MismatchError: If the adapter to begin with does not fit.
        TrainingError: If there is no sentence to learn from.
    """
    rows, given, model = args.params.grounders, args.params.tune, args.params.model
    if args.grounder not in rows:
        raise ParamsError("--grounder:", [params.unknown(args.grounder, rows)])
    row = rows[args.grounder]
    if not isinstance(row.params, tuned.Params):
        raise ParamsError(f"lofi.grounders.{args.grounder}:", [f"kind {row.kind!r}, wanted tuned"])
    pairs = tables.read(args.pairs, sentence_tables.PAIRS)
    manifest = tables.read(args.manifest, tables.MANIFEST)
    images = tables.read(args.normalized, tables.NORMALIZED)
    learn, val = (
        boxed(pairs, manifest, images, Path(args.results), split, given.rounding) for split in ("train", "val")
    )
    if not learn:
        raise TrainingError("found no training sentence with boxes, wanted some; look at lofi.pair")
    encoder, decoder = snapshot.read(args.encoder), snapshot.read(args.decoder)
    start = None if row.params.start == NONE else Path(row.params.start)
    pixels = preprocessing_hash(images)
    if start:
        card.check(start, pixels, encoder.identity, decoder.identity, model)
    return TuneTask(
        train=learn,
        val=val,
        preprocessing_hash=pixels,
        encoder=encoder,
        decoder=decoder,
        model=model,
        params=given,
        start=start,
        features=Path(args.features) if args.features else None,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read sentences and bases, write adapter, log and curve."""
    args = cli.parse(
        __doc__,
        argv,
        params={"lofi.tune": Params, "lofi.model": ModelParams, "lofi.grounders": kinds.rows(kinds.GROUNDERS)},
        reads=["pairs", "manifest", "normalized", "results", "grounder", "encoder", "decoder"],
        writes=["checkpoints", "adapter", "log", "curve", "features", "live"],
        optional=["features", "live"],
    )
    task = asked(args)
    try:
        checkpoint, log, rows = tune(task, Path(args.checkpoints), Path(args.live) if args.live else None)
    except PreemptedError as stopped:
        LOG.warning("tune: %s", stopped)
        sys.exit(GO_ON)
    if os.environ.get("RANK", "0") != "0":
        return
    for note in log.notes:
        LOG.warning("warning: %s", note)
    LOG.info("tune: step %d selected by %s", log.selected_step, log.selected_by)
    found = card.Card(
        preprocessing_hash=task.preprocessing_hash,
        encoder=task.encoder.identity,
        decoder=task.decoder.identity,
        model=asdict(task.model),
        train=asdict(task.params),
        step=log.selected_step,
    )
    card.write(Path(args.adapter), checkpoint, found)
    documents.write(args.log, log)
    curve.write_csv(args.curve, rows, task.metrics)


if __name__ == "__main__":
    cli.run(main)
