"""The one training loop: from a task to a folder of checkpoints, and on from there after any fault.

The loop knows no loss and no model. It is written out on accelerate, which knows the processes, and not hung into
Hugging Face's Trainer: the order of samples, accumulation, checkpoints, their commit and the handling of faults are
ours, so of the Trainer only the arithmetic of a step would be left, behind overridden private methods. The arithmetic
is the Trainer's: fused AdamW, a linear schedule (or the one that a task names), clipping by the global norm, and
torch's generator drawn from in the same order. On one processor adapter and curve are the same bits as by the Trainer
(transformers 5.23).

Everything that decides a run is in its task's identity; checkpoints lie in a folder named after it, so a run with
other data or parameters never goes on from them.
"""

import gc
import json
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib.core import files
from stages.lib.core.errors import PreemptedError, TrainingError
from stages.lib.core.log import LOG
from stages.lib.learn import callbacks, checkpoints, curve, loader, schedule, selection
from stages.lib.learn.curve import Row
from stages.lib.learn.task import Batch, Follower, Learner, LoopParams, Sample, Task

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.nn import Module
    from torch.optim import Optimizer

BAD_STEPS = 3  # steps in a row without a finite loss before training stops
IDENTITY, CURVE, OPTIMIZER = "identity.json", "curve.json", "optimizer.pt"
FORMAT = 2  # of a checkpoint's files; 1 was the Trainer's, which cannot be gone on from


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        checkpoint: Folder of the selected checkpoint.
        trainable: Parameters that were trained, as the learner counts them.
        total: All parameters, those trained included.
        curve: One row per optimizer step, those before an interruption included.
        table: The rows after which a checkpoint was planned.
        selected_by: Metric that the checkpoint was selected by, or "last".
        notes: Sentences that the report has to repeat.
        seconds: Wall-clock time of this process's part.
        data_wait_fraction: Fraction of the training time of this process's part that the model waited for samples.
        resumed_from: Step that it went on from; 0 for a fresh start.
    """

    checkpoint: Path
    trainable: int
    total: int
    curve: list[Row]
    table: list[Row]
    selected_by: str
    notes: list[str]
    seconds: float
    data_wait_fraction: float
    resumed_from: int

    @property
    def selected_step(self) -> int:
        """Step of the selected checkpoint."""
        return next(row.step for row in self.table if f"checkpoint-{row.step}" == self.checkpoint.name)

    @property
    def loss_first(self) -> float | None:
        """Mean training loss of the first tenth of the steps; None if one was not finite."""
        return curve.mean_loss([row.loss for row in self.curve[: self._tenth]])

    @property
    def loss_last(self) -> float | None:
        """Mean training loss of the last tenth of the steps; None if one was not finite."""
        return curve.mean_loss([row.loss for row in self.curve[-self._tenth :]])

    @property
    def _tenth(self) -> int:
        return max(len(self.curve) // 10, 1)


def place(task: Task[Sample, Batch], root: Path) -> Path:
    """Folder of a run's checkpoints: named after all that decides it.

    Args:
        task: What is trained on what.
        root: Folder for the checkpoints of this and other runs.
    """
    return root / files.sha256_json(_identity(task))[:16]


@dataclass(frozen=True)
class Ended:
    """What one attempt came to that neither lacked memory nor was interrupted.

    Attributes:
        curve: One row per optimizer step.
        count: Parameters trained, and all.
        data_wait_fraction: Fraction of its time that the model waited for samples.
    """

    curve: list[Row]
    count: tuple[int, int]
    data_wait_fraction: float


def fit(task: Task[Sample, Batch], root: Path, live: Path | None = None) -> Outcome:
    """Train a task, going on from the newest complete checkpoint of the same run, if there is one.

    If the GPU's memory does not suffice and the loss is separable, the micro-batch is halved and the accumulation
    doubled: the steps stay as they are.

    Args:
        task: What to train on what.
        root: Folder for the checkpoints of this and other runs.
        live: Folder for curves to watch; None if there are to be none.

    Raises:
        TrainingError: If the loss is not finite any more, or memory does not suffice.
        PreemptedError: If the process was sent SIGTERM; the checkpoint is written.
    """
    import torch
    from accelerate import Accelerator

    began = time.monotonic()
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
    accelerator.check_trigger()  # makes the flag that SIGTERM sets, so that no signal falls in between
    folder = place(task, root)
    params, resumed_from = task.params, None
    known = ("last", "loss", *task.metrics)
    if params.select_by not in known:
        raise TrainingError(f"select_by: found {params.select_by!r}, wanted one of {', '.join(dict.fromkeys(known))}")
    micro = params.per_device_train_batch_size
    while True:
        newest = _newest(task, accelerator, folder)
        resumed_from = (checkpoints.step(newest) if newest else 0) if resumed_from is None else resumed_from
        try:
            ended = _attempt(task, accelerator, folder, newest, micro, live)
            break
        except torch.OutOfMemoryError as error:
            if micro % 2 or accelerator.num_processes > 1 or not task.separable:
                fixed = "" if task.separable else ", which is part of this task's loss and is not halved"
                raise TrainingError(
                    f"out of GPU memory with a micro-batch of {micro}{fixed}; {params.sparing}, or choose a GPU with "
                    "more memory"
                ) from error
            micro //= 2
            passes = params.samples_per_step // micro
            LOG.warning("warning: out of GPU memory; going on with %d samples x %d passes", micro, passes)
        # the error, and with it the frames that held the model, are gone; what refers to itself goes here
        accelerator.free_memory()
        gc.collect()
        torch.cuda.empty_cache()
    kept = {checkpoints.step(path) for path in checkpoints.complete(folder)}
    done = len(ended.curve)
    if done not in kept:
        raise TrainingError(f"training ended without a sound checkpoint of step {done} in {folder}")
    table = selection.planned(ended.curve, params)
    selected_by, notes = selection.rule(table, params.select_by)
    if done < params.max_steps:
        notes.append(
            f"training stopped after step {done} of {params.max_steps}: {params.select_by} on validation had "
            f"not become better in {params.patience} measurements"
        )
    LOG.info("train: the model waited for samples %.1f %% of the time", 100 * ended.data_wait_fraction)
    trainable, total = ended.count
    return Outcome(
        checkpoint=folder / f"checkpoint-{selection.best([row for row in table if row.step in kept], selected_by)}",
        trainable=trainable,
        total=total,
        curve=ended.curve,
        table=table,
        selected_by=selected_by,
        notes=notes,
        seconds=time.monotonic() - began,
        data_wait_fraction=ended.data_wait_fraction,
        resumed_from=resumed_from,
    )


def _attempt(
    task: Task[Sample, Batch],
    accelerator: "Accelerator",
    folder: Path,
    newest: Path | None,
    micro: int,
    live: Path | None,
) -> Ended:
    """Train to the end with one size of micro-batches; a SIGTERM ends it after the current step, with a checkpoint."""
    params = task.params
    passes = _passes(params, micro, accelerator.num_processes)
    learner, model, optimizer = _load(task, accelerator, newest)
    rows = curve.read(newest / CURVE) if newest else []
    dealt = loader.deal(task.order, micro, accelerator.process_index, accelerator.num_processes)
    read = iter(
        loader.batches(
            learner.examples, dealt[len(rows) * passes :], learner.collate, workers=params.dataloader_num_workers
        )
    )
    if newest:
        LOG.info("train: going on from %s", newest)
        _restore_generators(newest, accelerator.process_index)
    over = len(rows) == params.max_steps or selection.exhausted(rows, params)
    bad, waited, began = 0, 0.0, time.monotonic()
    progress = callbacks.Progress(len(rows), params.max_steps)
    main = accelerator.is_main_process
    with _stoppable(accelerator), callbacks.live(live if main else None, task.metrics, rows) as curves:
        while not over:
            asked = time.monotonic()
            batches = [next(read) for _ in range(passes)]
            waited += time.monotonic() - asked
            row = _step(len(rows) + 1, learner, model, optimizer, batches, params, accelerator)
            if isinstance(learner, Follower):
                learner.follow()
            bad = 0 if math.isfinite(row.loss) and math.isfinite(row.grad_norm) else bad + 1
            if bad == BAD_STEPS:
                raise TrainingError(
                    f"the loss or its gradient was not finite for {BAD_STEPS} steps, up to step {row.step} (loss "
                    f"{row.loss}); lower learning_rate, or the weights within the loss. The last good checkpoint is "
                    f"kept in {folder}"
                )
            if main:
                progress.step(row)
            if row.step % params.eval_steps == 0 or row.step == params.max_steps:
                row = replace(row, validation=_measure(learner, model, micro))
                if main:
                    progress.measured(row)
            rows.append(row)
            if curves:
                curves.write(row)
            stop = accelerator.check_trigger()
            over = row.step == params.max_steps or selection.exhausted(rows, params)
            if bad and (over or stop or row.step % params.save_steps == 0):
                LOG.warning("warning: no checkpoint after step %d: its loss is not finite", row.step)
            elif over or stop or row.step % params.save_steps == 0:
                _save(folder / f"checkpoint-{row.step}", learner, optimizer, rows, params, accelerator)
            if stop and not over:
                raise PreemptedError(
                    f"asked to stop after step {row.step} of {params.max_steps}; "
                    f"{'the last sound checkpoint is kept' if bad else 'a checkpoint is written'}: start again to go on"
                )
    return Ended(rows, learner.count(), waited / max(time.monotonic() - began, 1e-9))


def _passes(params: LoopParams, micro: int, processes: int) -> int:
    """Forward passes of one process in one optimizer step."""
    passes, rest = divmod(params.samples_per_step // micro, processes)
    if rest:
        raise TrainingError(
            f"found {processes} processes, wanted a number that divides gradient_accumulation_steps "
            f"{params.gradient_accumulation_steps}"
        )
    return passes


def _load(
    task: Task[Sample, Batch], accelerator: "Accelerator", newest: Path | None
) -> tuple[Learner[Sample, Batch], "Module", "Optimizer"]:
    """A learner, its model in the wrapper of the processes, and the optimizer, as a checkpoint left them."""
    import torch
    from accelerate.utils import set_seed

    try:
        learner = task.load()
        set_seed(task.params.seed)
        if newest:
            learner.restore(newest)
        model = accelerator.prepare(learner.model)
        optimizer = _adamw(model, task.params)
        if newest:
            optimizer.load_state_dict(torch.load(newest / OPTIMIZER, map_location="cpu", weights_only=True))
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "out of GPU memory while the model is loaded, before the first step, where a smaller batch does not help; "
            "choose a smaller model, one held in fewer bits (quantization nf4), or a GPU with more free memory"
        ) from error
    return learner, model, optimizer


def _adamw(model: "Module", params: LoopParams) -> "Optimizer":
    """Optimizer of the parameters that require a gradient.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019; biases and other vectors do not decay.
    """
    import torch

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in trained if one.ndim > 1], "weight_decay": params.weight_decay},
        {"params": [one for one in trained if one.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=params.learning_rate, fused=True)


def _step(
    number: int,
    learner: Learner[Sample, Batch],
    model: "Module",
    optimizer: "Optimizer",
    batches: Sequence[Batch],
    params: LoopParams,
    accelerator: "Accelerator",
) -> Row:
    """Take one optimizer step over micro-batches, and return its row, not yet measured on validation samples."""
    import torch
    from accelerate.utils import send_to_device

    warmup = schedule.warmup_steps(params.warmup_ratio, params.max_steps)
    rate = schedule.learning_rate(number - 1, params.learning_rate, warmup, params.max_steps, params.fall)
    for group in optimizer.param_groups:
        group["lr"] = rate
    model.train()
    loss = torch.zeros((), device=accelerator.device)  # ()
    for place, batch in enumerate(batches, start=1):
        with nullcontext() if place == len(batches) else accelerator.no_sync(model):
            here = send_to_device(batch, accelerator.device, non_blocking=True)
            # the gradients of several processes are averaged, and their fractions are to be added
            fraction = learner.loss(model, here, params.samples_per_step) * accelerator.num_processes  # ()
            fraction.backward()
        loss += fraction.detach()
    norm = accelerator.clip_grad_norm_(model.parameters(), params.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()
    return Row(number, accelerator.gather(loss).mean().item(), float(norm), rate)


def _measure(learner: Learner[Sample, Batch], model: "Module", micro: int) -> dict[str, float | None]:
    """Validation metrics of the model as it is now."""
    import torch

    model.eval()
    with torch.no_grad():
        return dict(learner.evaluate(micro))


def _identity(task: Task[Sample, Batch]) -> dict[str, Any]:
    return {"checkpoint format": FORMAT, **task.identity}


def _newest(task: Task[Sample, Batch], accelerator: "Accelerator", folder: Path) -> Path | None:
    """Newest complete checkpoint of this run; if there is none, say how other runs here differ from it."""
    with accelerator.main_process_first():
        found = checkpoints.complete(folder)
        mine = folder / IDENTITY
        if not mine.exists():
            for other in sorted(folder.parent.glob(f"*/{IDENTITY}")):
                theirs, ours = json.loads(other.read_text()), _identity(task)
                odd = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
                LOG.info("train: not going on from %s, which differs in %s", other.parent, ", ".join(odd))
            files.write_json(mine, _identity(task))
    return found[-1] if found else None


def _save(
    folder: Path,
    learner: Learner[Sample, Batch],
    optimizer: "Optimizer",
    rows: Sequence[Row],
    params: LoopParams,
    accelerator: "Accelerator",
) -> None:
    """Write a complete checkpoint, and delete those that are neither among the newest nor the best so far."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    torch.save(_generators(), folder / _generators_file(accelerator.process_index))
    if accelerator.is_main_process:
        learner.save(folder)
        torch.save(optimizer.state_dict(), folder / OPTIMIZER)
        curve.write(folder / CURVE, rows)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        checkpoints.commit(folder)
        planned = selection.planned(rows, params)
        selected_by, _ = selection.rule(planned, params.select_by)
        spare = [selection.best(planned, selected_by)] if planned else []
        checkpoints.prune(folder.parent, params.save_total_limit, spare)
    accelerator.wait_for_everyone()


def _generators() -> dict[str, Any]:
    """States of torch's generators in this process."""
    import torch

    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _restore_generators(folder: Path, process: int) -> None:
    """Take up torch's generators where this process left them."""
    import torch

    path = folder / _generators_file(process)
    if not path.exists():
        LOG.warning("warning: %s was written by fewer processes: dropout goes on otherwise than it would have", folder)
        return
    states = torch.load(path, map_location="cpu", weights_only=True)
    torch.set_rng_state(states["cpu"])
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _generators_file(process: int) -> str:
    return f"generators-{process}.pt"


@contextmanager
def _stoppable(accelerator: "Accelerator") -> Iterator[None]:
    """Let SIGTERM set a flag, which all processes look at after each step, in the place of ending this one."""
    before = signal.signal(signal.SIGTERM, lambda *_: accelerator.set_trigger())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
