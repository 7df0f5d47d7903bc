"""Fine-tune the base model on the training images: QLoRA, with the checkpoint chosen on the validation images.

in   manifest    tables.MANIFEST
     normalized  tables.NORMALIZED
     split       tables.SPLIT
     base        results/fetch.json
     results     folder that the images' paths are relative to
out  adapter      folder: PEFT's adapter and noduleflow.json
     log          JSON, as lib.learn.train_log.TrainLog
     curve        CSV: loss, learning rate and validation metrics by step
     checkpoints  folder that an interrupted run goes on from; exit code 75 asks for that
     live         folder of curves to watch while it trains, by DVCLive
     features     folder that vision features are kept in, if model.cache_features is on
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import cli, documents, tables
from stages.lib.core.errors import MismatchError, PreemptedError, TrainingError
from stages.lib.core.log import LOG
from stages.lib.learn import answers, curve, samplers, validation
from stages.lib.learn.train_log import Checkpoint, TrainedBase, TrainLog
from stages.lib.metrics import evaluation_sets
from stages.lib.metrics.cohort import CohortParams
from stages.lib.models import adapters, gemma3, prompts, snapshot

Params = answers.TrainParams
GO_ON = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, start it again


def images_of(
    manifest: pa.Table, normalized: pa.Table, split: pa.Table, sources: Sequence[str], results: Path
) -> tuple[answers.Images, answers.Images, str]:
    """Training images, the validation images and the preprocessing hash.

    Test images are not looked at.

    Raises:
        MismatchError: If the images were normalized with several preprocessing hashes.
        TrainingError: If training images lack a class.
    """
    known = tables.lookup(split, normalized, ["png", "preprocessing_hash"])
    known = known.filter(pc.is_valid(known["png"]))
    parts, preprocessing_hashes = [], set()
    for name in ("train", "val"):
        chosen = evaluation_sets.classifier_images(known, manifest, sources, name)
        paths = [results / png for png in chosen["png"].to_pylist()]
        labels = chosen["label"].to_numpy().astype(np.int64)
        parts.append(answers.Images(ids=chosen["image_id"].to_pylist(), paths=paths, labels=labels))
        preprocessing_hashes |= set(chosen["preprocessing_hash"].to_pylist())
    positive, negative = int((parts[0].labels == 1).sum()), int((parts[0].labels == 0).sum())
    if not positive or not negative:
        raise TrainingError(
            f"training wants images with and without a nodule; the train split of the sources {list(sources)} "
            f"has {positive} with and {negative} without: change nodules.cohort.sources or data.split.fractions"
        )
    if len(preprocessing_hashes) > 1:
        raise MismatchError(
            f"found images normalized under {sorted(preprocessing_hashes)}, wanted one preprocessing hash; "
            "run normalize again"
        )
    return parts[0], parts[1], preprocessing_hashes.pop()


def train(
    task: answers.AnswerTask, checkpoints: Path, live: Path | None = None
) -> tuple[Path, adapters.Card, TrainLog, list[curve.Row]]:
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
    base, labels, params = task.base, task.train.labels, task.params
    steps = len(outcome.curve)
    samples = steps * params.samples_per_step
    seen = np.unique(task.shown[:samples])
    negatives = int((labels == 0).sum())
    log = TrainLog(
        base=TrainedBase.of(base),
        preprocessing_hash=task.preprocessing_hash,
        trainable_parameters=outcome.trainable,
        total_parameters=outcome.total,
        images=len(task.train),
        positive_images=len(labels) - negatives,
        validation_images=len(task.val),
        positive_validation_images=int(task.val.labels.sum()),
        steps=steps,
        steps_planned=params.max_steps,
        samples=samples,
        samples_per_step=params.samples_per_step,
        epochs=samples / samplers.epoch_length(labels, params.sampler),
        coverage_of_negatives=float((labels[seen] == 0).sum() / negatives),
        training_odds=task.training_odds,
        positive_weight=params.positive_weight,
        loss_first=outcome.loss_first,
        loss_last=outcome.loss_last,
        selected_by=outcome.selected_by,
        selected_step=outcome.selected_step,
        checkpoints=tuple(
            Checkpoint(step=row.step, **{name: row.validation.get(name) for name in task.metrics})
            for row in outcome.table
        ),
        notes=tuple(outcome.notes),
        resumed_from_step=outcome.resumed_from,
        seconds=outcome.seconds,
        data_wait_fraction=outcome.data_wait_fraction,
    )
    card = adapters.Card(
        preprocessing_hash=task.preprocessing_hash,
        base=base.identity,
        prompt=asdict(task.prompt),
        model=asdict(task.model),
        train=asdict(params),
        step=outcome.selected_step,
        training_odds=task.training_odds,
        positive_weight=params.positive_weight,
    )
    return outcome.checkpoint, card, log, outcome.curve


def main(argv: Sequence[str] | None = None) -> None:
    """Read images and base, write adapter, log and curve."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "nodules.train": Params,
            "nodules.cohort": CohortParams,
            "nodules.model": gemma3.ModelParams,
            "nodules.prompt": prompts.PromptParams,
        },
        reads=["manifest", "normalized", "split", "base", "results"],
        writes=["checkpoints", "adapter", "log", "curve", "live", "features"],
        optional=["live", "features"],
    )
    params = args.params.train
    learn, val, preprocessing_hash = images_of(
        tables.read(args.manifest, tables.MANIFEST),
        tables.read(args.normalized, tables.NORMALIZED),
        tables.read(args.split, tables.SPLIT),
        args.params.cohort.sources,
        Path(args.results),
    )
    task = answers.AnswerTask(
        train=learn,
        val=val,
        preprocessing_hash=preprocessing_hash,
        base=snapshot.read(args.base),
        model=args.params.model,
        prompt=args.params.prompt,
        params=params,
        features=Path(args.features) if args.features and args.params.model.cache_features else None,
    )
    try:
        checkpoint, card, log, rows = train(task, Path(args.checkpoints), Path(args.live) if args.live else None)
    except PreemptedError as stopped:
        LOG.warning("train: %s", stopped)
        sys.exit(GO_ON)
    if os.environ.get("RANK", "0") != "0":
        return
    for note in log.notes:
        LOG.warning("warning: %s", note)
    LOG.info(
        "train: %d of %d parameters trained; step %d selected by %s",
        *(log.trainable_parameters, log.total_parameters, log.selected_step, log.selected_by),
    )
    adapters.write(Path(args.adapter), checkpoint, card)
    documents.write(args.log, log)
    curve.write_csv(args.curve, rows, validation.METRICS)


if __name__ == "__main__":
    cli.run(main)
