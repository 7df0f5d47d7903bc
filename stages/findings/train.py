"""Fine-tune a model to write the findings of the cases of the role train: LoRA, asked as an arm asks.

The checkpoint is chosen on cases of the role val. The adapter is used by an arm of its own, on cases of the role test.

in   sample       case_tables.SAMPLE
     case-images  case_tables.CASE_IMAGES
     base         record of the files of the arm's model, by fetch
out  adapter      folder: PEFT's adapter and noduleflow.json
     log          JSON, as lib.learn.text_log.TextLog
     curve        CSV: loss, learning rate and validation loss by step
     checkpoints  folder that an interrupted run goes on from; exit code 75 asks for that
     live         folder of curves to watch while it trains, by DVCLive
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from stages.findings import arms, requests
from stages.findings.items import items, shared
from stages.findings.requests import Context
from stages.lib.core import cli, documents, kinds, params, tables
from stages.lib.core.case_tables import CASE_IMAGES, SAMPLE
from stages.lib.core.errors import ParamsError, PreemptedError, TrainingError
from stages.lib.core.log import LOG
from stages.lib.learn import curve, texts
from stages.lib.learn.text_log import TextCheckpoint, TextLog
from stages.lib.learn.texts import TextTask, Told
from stages.lib.learn.train_log import TrainedBase
from stages.lib.models import adapters, prompt_family, snapshot
from stages.lib.models.arm import NONE
from stages.lib.models.arms import local

UNCLEAN = ("gold_points_at_caption", "diagnosis_in_gold")  # flags of the sample
GO_ON = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, start it again


@params.section
class Params(texts.TextParams):
    """How the adapter is trained, and what on."""

    arm: params.Text  # row of findings.arms, of the kind local and without an adapter, whose way of asking is taught
    clean_gold: (
        bool  # leave out texts that speak of studies which are not sent, point at captions or name the diagnosis
    )


def clean(sample: pa.Table) -> pa.Table:
    """Cases whose gold text says nothing that their images cannot show.

    A model that is taught findings of an ultrasound which it is not shown is taught to invent.
    """
    kept = [row["gold_scope"] == "imaged_only" and not {*row["flags"]} & {*UNCLEAN} for row in sample.to_pylist()]
    return sample.filter(pa.array(kept, pa.bool_()))


def told(
    sample: pa.Table,
    case_images: pa.Table,
    role: str,
    params: local.Params,
    base: snapshot.Snapshot,
    *,
    clean_gold: bool = False,
) -> list[Told]:
    """Conversations of an arm about the cases of a role, with their gold texts; of the clean ones alone if so wanted.

    Raises:
        ParamsError: If a case shares an image with a tested one.
        TrainingError: If an image cannot be read; all such cases are named.
    """
    found = items(clean(sample) if clean_gold else sample, case_images, (role,), params.unit)
    if problems := shared(items(sample, case_images, ("test",), params.unit), found):
        raise ParamsError(f"cases of the role {role}:", problems)
    context = Context(params=params, family=prompt_family.read(params.prompt), name=base.base, revision=base.sha256)
    wanted = requests.asked(found, context, ())
    if unread := [f"{one.item.name}: {one.problem}" for one in wanted if one.problem]:
        raise TrainingError(f"{len(unread)} case(s) cannot be learned from: {'; '.join(unread[:5])}")
    return [Told(one.requests[0], prompt_family.data(one.item.gold)) for one in wanted]


def train(
    task: TextTask, arm: str, checkpoints: Path, live: Path | None = None
) -> tuple[Path, TextLog, list[curve.Row]]:
    """Selected checkpoint, the log, and the curve.

    Args:
        task: What to train on what.
        arm: Name of the arm whose way of asking is taught.
        checkpoints: Folder for checkpoints, to go on from if it holds some of the same run.
        live: Folder for curves to watch; None if there are to be none.

    Raises:
        TrainingError: As `loop.fit`.
        PreemptedError: If the process was asked to stop.
    """
    from stages.lib.learn import loop

    outcome = loop.fit(task, checkpoints, live)
    steps, params = len(outcome.curve), task.params
    log = TextLog(
        base=TrainedBase.of(task.base),
        arm=arm,
        trainable_parameters=outcome.trainable,
        total_parameters=outcome.total,
        cases=len(task.train),
        validation_cases=len(task.val),
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


def taught(params: local.Params) -> list[str]:
    """What of an arm stands in the way of teaching its way of asking."""
    family = prompt_family.read(params.prompt)
    wanted = {
        f"adapter {params.adapter!r}, wanted none": params.adapter != NONE,
        f"after {params.after!r}, wanted none": params.after != NONE,
        f"examples {params.examples!r}, wanted none": params.examples != NONE,
        f"the prompt family {params.prompt} with questions, wanted one request": bool(family.questions),
        f"the prompt family {params.prompt} with JSON, and gold texts are none": family.answer_form != "text",
        f"samples {params.samples}, wanted 1": params.samples > 1,
    }
    return [sentence for sentence, wrong in wanted.items() if wrong]


def main(argv: Sequence[str] | None = None) -> None:
    """Read cases and base, write adapter, log and curve."""
    args = cli.parse(
        __doc__,
        argv,
        params={"findings.train": Params, "findings.arms": kinds.rows(kinds.ARMS)},
        reads=["sample", "case_images", "base"],
        writes=["checkpoints", "adapter", "log", "curve", "live"],
        optional=["live"],
    )
    given, rows = args.params.train, args.params.arms
    if given.arm not in rows:
        raise ParamsError("findings.train.arm:", [params.unknown(given.arm, rows)])
    row = rows[given.arm]
    problems = [f"kind {row.kind!r}, wanted local"] if row.kind != "local" else taught(row.params)
    if problems := [*problems, *arms.of_one(row.params)]:
        raise ParamsError(f"findings.train.arm: {given.arm}:", problems)
    base = snapshot.read(args.base)
    sample, case_images = tables.read(args.sample, SAMPLE), tables.read(args.case_images, CASE_IMAGES)
    learn, val = (
        told(sample, case_images, role, row.params, base, clean_gold=given.clean_gold) for role in ("train", "val")
    )
    if not learn:
        raise TrainingError("found no case of the role train, wanted some; set findings.sample or clean_gold")
    task = TextTask(train=learn, val=val, base=base, model=row.params.held, params=given)
    try:
        checkpoint, log, curve_rows = train(
            task, given.arm, Path(args.checkpoints), Path(args.live) if args.live else None
        )
    except PreemptedError as stopped:
        LOG.warning("train: %s", stopped)
        sys.exit(GO_ON)
    if os.environ.get("RANK", "0") != "0":
        return
    for note in log.notes:
        LOG.warning("warning: %s", note)
    LOG.info("train: step %d selected by %s", log.selected_step, log.selected_by)
    card = adapters.Card(
        preprocessing_hash=local.pixels_hash(row.params),
        base=base.identity,
        prompt=local.asked(row.params),
        model=asdict(task.model),
        train=asdict(given),
        step=log.selected_step,
        training_odds=None,
        positive_weight=None,
    )
    adapters.write(Path(args.adapter), checkpoint, card)
    documents.write(args.log, log)
    curve.write_csv(args.curve, curve_rows, task.metrics)


if __name__ == "__main__":
    cli.run(main)
