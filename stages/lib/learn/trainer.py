"""QLoRA by the Trainer of transformers: from a task to a folder of checkpoints, and on from there after any fault.

Everything that decides a run is in its task's identity; checkpoints lie in a folder named after it, so a run with
other data or parameters never goes on from them.
"""

import json
import math
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.core import files
from stages.lib.core.errors import PreemptedError, TrainingError
from stages.lib.core.log import LOG
from stages.lib.learn import checkpoints, live, training, watch
from stages.lib.learn.training import Task, TrainParams
from stages.lib.models import features, gemma3

TARGETS = {
    "all-linear": "all-linear",
    "language": r".*language_model.*\.(q|k|v|o|gate|up|down)_proj",
    "vision": r".*vision_tower.*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)",
    "attention": r".*\.self_attn\.(q|k|v|o|out)_proj",
}


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        checkpoint: Folder of the selected checkpoint.
        trainable: Parameters that were trained, as PEFT counts them.
        total: All parameters, those of the adapter included.
        history: What was logged, one mapping per event, in order.
        table: Step and validation metrics of every checkpoint written; None where a metric is undefined.
        selected_by: Metric that the checkpoint was selected by, or "last".
        notes: Sentences that the report has to repeat.
        steps: Optimizer steps done, those before an interruption included.
        seconds: Wall-clock time of this process's part.
        data_wait_fraction: Fraction of the training time of this process's part that the model waited for images.
        resumed_from: Step that it went on from; 0 for a fresh start.
    """

    checkpoint: Path
    trainable: int
    total: int
    history: list[dict[str, Any]]
    table: list[dict[str, Any]]
    selected_by: str
    notes: list[str]
    steps: int
    seconds: float
    data_wait_fraction: float
    resumed_from: int


def lora(model: Any, params: TrainParams) -> Any:
    """Return `model` with a fresh LoRA adapter on the layers that `lora_target_modules` names; the rest is frozen.

    Raises:
        TrainingError: If no layer has such a name.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(params.seed)
    config = LoraConfig(
        r=params.lora_r,
        lora_alpha=params.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=params.lora_dropout,
        target_modules=TARGETS[params.lora_target_modules],
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise TrainingError(f"train.lora_target_modules {params.lora_target_modules!r}: {error}") from error


def checkpoint_activations(model: Any) -> None:
    """Make a model with an adapter compute its activations twice, in training, instead of keeping them.

    The library also asks for gradients of the embeddings, which only re-entrant checkpointing needs: they would run
    back through a frozen vision tower and double the cost of a step.
    """
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    model.get_base_model().disable_input_require_grads()


def fit(task: Task, root: Path) -> Outcome:
    """Train an adapter, going on from the newest complete checkpoint of the same run, if there is one.

    If the GPU's memory does not suffice, the micro-batch is halved and the accumulation doubled: the steps stay as
    they are.

    Args:
        task: What to train on what.
        root: Folder for the checkpoints of this and other runs.

    Raises:
        TrainingError: If a class is missing, the loss is not finite any more, or memory does not suffice.
        PreemptedError: If the process was sent SIGTERM; the checkpoint is written.
    """
    import torch

    began = time.monotonic()
    folder = root / files.sha256_json(task.identity)[:16]
    params = task.params
    micro, accumulation = params.per_device_train_batch_size, params.gradient_accumulation_steps
    resumed_from: int | None = None
    while True:
        try:
            trainer = _trainer(task, folder, micro, accumulation)
            newest = _newest(task, trainer, folder)
            resumed_from = checkpoints.step(newest) if newest and resumed_from is None else resumed_from or 0
            _run(trainer, newest)
            break
        except torch.OutOfMemoryError as error:
            if micro % 2 or os.environ.get("WORLD_SIZE", "1") != "1":
                raise TrainingError(
                    f"out of GPU memory with a micro-batch of {micro}; lower it, turn train.gradient_checkpointing on, "
                    "choose a smaller train.lora_r, or a GPU with more memory"
                ) from error
            micro, accumulation = micro // 2, accumulation * 2
            LOG.warning("warning: out of GPU memory; going on with %d images x %d passes", micro, accumulation)
        del trainer
        torch.cuda.empty_cache()
    kept = {checkpoints.step(path) for path in checkpoints.complete(folder)}
    done = trainer.state.global_step
    if done not in kept:
        raise TrainingError(f"training ended without a sound checkpoint of step {done} in {folder}")
    trainable, total = trainer.model.get_nb_trainable_parameters()
    history = list(trainer.state.log_history)
    table = training.table_of(history, task.params)
    selected_by, notes = training.selection_rule(table, task.params.select_by)
    if done < task.params.max_steps:
        notes.append(
            f"training stopped after step {done} of {task.params.max_steps}: {task.params.select_by} on validation had "
            f"not become better in {task.params.patience} measurements"
        )
    LOG.info("train: the model waited for images %.1f %% of the time", 100 * trainer.watch.data_wait_fraction)
    return Outcome(
        checkpoint=folder / f"checkpoint-{training.select([r for r in table if r['step'] in kept], selected_by)}",
        trainable=trainable,
        total=total,
        history=history,
        table=table,
        selected_by=selected_by,
        notes=notes,
        steps=done,
        data_wait_fraction=trainer.watch.data_wait_fraction,
        seconds=time.monotonic() - began,
        resumed_from=resumed_from,
    )


def _newest(task: Task, trainer: Any, folder: Path) -> Path | None:
    """Return the newest complete checkpoint of this run; if there is none, say how other runs here differ from it."""
    with trainer.args.main_process_first(local=False):
        found = checkpoints.complete(folder)
        mine = folder / "identity.json"
        if not mine.exists():
            for other in sorted(folder.parent.glob("*/identity.json")):
                theirs, ours = json.loads(other.read_text()), task.identity
                odd = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
                LOG.info("train: not going on from %s, which differs in %s", other.parent, ", ".join(odd))
            files.write_json(mine, task.identity)
    return found[-1] if found else None


def _run(trainer: Any, newest: Path | None) -> None:
    """Train on from a checkpoint, if there is one; a SIGTERM ends it after the current step, with a checkpoint."""
    from transformers import TrainerState

    if newest:
        LOG.info("train: going on from %s", newest)
        state = TrainerState.load_from_json(str(newest / "trainer_state.json"))
        if training.exhausted(state.log_history, trainer.task.params):
            trainer.state = state
            return
    before = signal.signal(signal.SIGTERM, lambda *_: trainer.watch.stop())
    try:
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    finally:
        signal.signal(signal.SIGTERM, before)
    done = trainer.state.global_step == trainer.state.max_steps
    if trainer.watch.stopped and not done and not training.exhausted(trainer.state.log_history, trainer.task.params):
        raise PreemptedError(
            f"asked to stop after step {trainer.state.global_step} of {trainer.state.max_steps}; a checkpoint is "
            "written: start again to go on"
        )


def _trainer(task: Task, folder: Path, micro: int, accumulation: int) -> Any:
    """Return a Trainer for `task` with a freshly loaded base and a fresh adapter."""
    import torch
    from transformers import TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    loaded = gemma3.load(task.base.folder, task.model)
    loaded = gemma3.ready(lora(loaded.model, task.params), loaded.processor)
    params = task.params
    if params.gradient_checkpointing:
        checkpoint_activations(loaded.model)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=params.max_steps,
        per_device_train_batch_size=micro,
        per_device_eval_batch_size=max(micro, 4),
        gradient_accumulation_steps=1,
        learning_rate=params.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=training.warmup_steps(params),
        optim="adamw_torch_fused",
        weight_decay=params.weight_decay,
        max_grad_norm=params.max_grad_norm,
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if len(task.val) else "no",
        eval_steps=params.eval_steps,
        save_strategy="steps",
        save_steps=params.save_steps,
        dataloader_num_workers=params.dataloader_num_workers,
        dataloader_prefetch_factor=2 if params.dataloader_num_workers else None,
        dataloader_persistent_workers=False,
        ddp_find_unused_parameters=False,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        label_names=["labels"],
        disable_tqdm=True,
        report_to="none",
        seed=params.seed,
    )
    processes = arguments.world_size
    if accumulation % processes:
        raise TrainingError(
            f"found {processes} processes, wanted a number that divides gradient_accumulation_steps {accumulation}"
        )
    arguments.gradient_accumulation_steps = accumulation // processes
    arguments._n_gpu = min(arguments.n_gpu, 1)  # DataParallel would multiply the batch by the number of GPUs
    trainer = trainer_class()(_with_features(task, loaded, arguments), loaded, arguments)
    trainer.remove_callback(PrinterCallback)
    if task.live:
        trainer.add_callback(live.watcher(task.live))
    return trainer


def _with_features(task: Task, loaded: gemma3.Loaded, arguments: Any) -> Task:
    """Return `task` with vision features in the place of images, if the tower is not tuned and they are to be kept.

    Several processes share the images that have none yet, and wait for each other.
    """
    from accelerate import PartialState

    store = features.store(task.features, loaded, task.preprocessing_hash)
    if store is None:
        return task
    shown = [task.train.paths[index] for index in np.unique(task.order)]
    store.fill(loaded, [*shown, *task.val.paths][arguments.process_index :: arguments.world_size])
    PartialState().wait_for_everyone()
    return replace(task, train=replace(task.train, load=store.load), val=replace(task.val, load=store.load))


@cache
def trainer_class() -> Any:
    """Return the Trainer that shows images in the order of the stream and learns from the two answers' logits."""
    import torch
    from transformers import Trainer

    class AnswerTrainer(Trainer):
        loss_is_scaled_for_ga = True  # `answer_loss` is already divided by the images of the whole step

        def __init__(self, task: Task, loaded: gemma3.Loaded, args: Any) -> None:
            self.task, self.loaded = task, loaded
            self.pair = list(gemma3.answer_ids(loaded, task.prompt))
            self.shift = math.log(task.training_odds * task.params.positive_weight)
            self.watch = watch.watch(task.params)
            super().__init__(
                model=loaded.model,
                args=args,
                data_collator=collate,
                train_dataset=task.train,
                eval_dataset=task.val,
                compute_metrics=self._measure,
                callbacks=[self.watch],
            )

        def _measure(self, seen: Any) -> dict[str, Any]:
            return training.validation_metrics(seen.predictions, seen.label_ids, self.shift)

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return self.task.order.tolist()

        def get_batch_samples(self, *args: Any, **named: Any) -> Any:
            began = time.monotonic()
            found = super().get_batch_samples(*args, **named)
            self.watch.waited += time.monotonic() - began
            return found

        def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
            """Images of the optimizer step; the library would count labels as tokens and leave out the first."""
            count = torch.tensor(sum(len(batch["labels"]) for batch in batch_samples), device=device)
            return self.accelerator.gather(count).sum()

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            pair = self._pair(model, inputs["images"])
            # the gradients of several processes are averaged, and their shares are to be added
            fraction = training.answer_loss(
                pair, inputs["labels"], self.task.params.positive_weight, num_items_in_batch
            )
            return fraction * self.accelerator.num_processes

        def prediction_step(
            self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
        ) -> tuple[None, Any, Any]:
            inputs = self._prepare_inputs(inputs)
            with torch.no_grad():
                return None, self._pair(model, inputs["images"]), inputs["labels"]

        def _pair(self, model: Any, images: Any) -> Any:
            return gemma3.ask(self.loaded, images, self.task.prompt, through=model)[:, self.pair]

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            if self.watch.bad:
                LOG.warning("warning: no checkpoint after step %d: its loss is not finite", self.state.global_step)
                return
            folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                checkpoints.commit(folder)
                table = training.table_of(self.state.log_history, self.task.params)
                selected_by, _ = training.selection_rule(table, self.task.params.select_by)
                spare = [training.select(table, selected_by)] if table else []
                checkpoints.prune(folder.parent, self.task.params.save_total_limit, spare)
            self.accelerator.wait_for_everyone()

    return AnswerTrainer


def collate(samples: Sequence[tuple[Any, int]]) -> dict[str, Any]:
    """Return images (or their vision features) as one tensor, and their labels as an int tensor of shape (n,)."""
    import torch

    images, labels = zip(*samples, strict=True)
    return {"images": torch.stack([torch.as_tensor(one) for one in images]), "labels": torch.tensor(labels)}
