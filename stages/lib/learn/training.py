"""What decides a training run, and what it is judged by: images, parameters, schedule, loss, validation metrics."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.lib.core import files, params
from stages.lib.images import normalized
from stages.lib.learn import samplers
from stages.lib.models import gemma3, prompts

METRICS = ("loss", "balanced_accuracy", "f1", "average_precision")
CURVE = {  # columns of the curve by step, and what the Trainer calls them
    "step": "step",
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    **{f"val_{name}": f"eval_{name}" for name in METRICS},
}
HARMLESS = ("dataloader_num_workers", "save_total_limit", "cache_features")  # they do not change what comes out


@params.section
class TrainParams:
    """How the adapter is trained."""

    sampler: samplers.Sampler  # order of the images; see stages/lib/learn/samplers.py
    positive_weight: params.PositiveFloat  # of the loss of an image with a nodule; 1.0 beside a balancing sampler
    lora_r: params.Count  # of LoRA's matrices
    lora_alpha: params.PositiveFloat  # LoRA's update is scaled by lora_alpha / lora_r
    lora_dropout: params.Fraction  # of LoRA's input
    lora_target_modules: Literal["all-linear", "language", "vision", "attention"]  # layers that get LoRA
    per_device_train_batch_size: params.Count  # images in one forward pass
    gradient_accumulation_steps: params.Count  # forward passes in one optimizer step, over all processes
    learning_rate: params.PositiveFloat  # learning rate after the warm-up; it then falls linearly to 0
    warmup_ratio: params.Fraction  # of the steps in which it rises linearly from 0
    max_steps: params.Count  # optimizer steps
    max_grad_norm: params.PositiveFloat  # the gradient is scaled down to this norm
    weight_decay: params.NonNegativeFloat
    gradient_checkpointing: bool  # compute activations twice instead of keeping them
    eval_steps: params.Count  # optimizer steps between two measurements on validation images
    save_steps: params.Count  # optimizer steps between two checkpoints; a multiple of eval_steps
    select_by: Literal["last", "loss", "balanced_accuracy", "f1", "average_precision"]  # on validation
    patience: params.NonNegativeInt  # measurements in a row without a better select_by that end training; 0: never
    save_total_limit: params.Count  # newest ones kept, beside the selected one; at least 2
    dataloader_num_workers: params.NonNegativeInt  # processes that read images ahead; 0 reads them in the main one
    seed: params.Seed

    def __post_init__(self) -> None:
        problems = []
        if self.save_steps % self.eval_steps:
            problems.append(
                f"save_steps that is a multiple of eval_steps (found {self.save_steps} and "
                f"{self.eval_steps}), so that every checkpoint is measured"
            )
        if self.patience and self.select_by == "last":
            problems.append("patience 0 beside select_by last, which measures nothing by which to stop")
        if self.save_total_limit < 2:
            problems.append("save_total_limit of 2 or more: one alone is lost if it is broken")
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class Images:
    """Images with labels, in the order of their ids.

    Attributes:
        ids: image_id of each.
        paths: Where each normalized image is.
        labels: Int array of shape (n,), 0 or 1.
        load: Reads what is put to the model: the image itself, or its vision features.
    """

    ids: list[str]
    paths: list[Path]
    labels: np.ndarray
    load: Callable[[Path], Any] = normalized.load

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.load(self.paths[index]), int(self.labels[index])

    @property
    def digest(self) -> str:
        """Hash of the ids and labels."""
        return files.sha256_json([self.ids, self.labels.tolist()])


@dataclass(frozen=True)
class Task:
    """All that decides a run.

    Attributes:
        train: Images to learn from.
        val: Images to choose the checkpoint by.
        contract: Hash of everything that decides the pixels.
        base: The base model.
        model: How it is held.
        prompt: What it is asked.
        params: How it is trained.
        live: Folder for curves to watch; None if there are to be none.
        features: Folder for the images' vision features; None if none are to be kept.
    """

    train: Images
    val: Images
    preprocessing_hash: str
    base: gemma3.Base
    model: gemma3.ModelParams
    prompt: prompts.PromptParams
    params: TrainParams
    live: Path | None = None
    features: Path | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that changes what comes out, by name, flat."""
        sections = {"train": asdict(self.params), "model": asdict(self.model), "prompt": asdict(self.prompt)}
        values = {
            f"{name}.{key}": list(value) if isinstance(value, tuple) else value
            for name, section in sections.items()
            for key, value in section.items()
            if key not in HARMLESS
        }
        data = {"train images": self.train.digest, "validation images": self.val.digest}
        return {**values, **data, "preprocessing hash": self.preprocessing_hash, "base sha256": self.base.sha256}

    @property
    def samples(self) -> int:
        """How many images are shown in all."""
        return self.params.max_steps * self.params.per_device_train_batch_size * self.params.gradient_accumulation_steps

    @property
    def order(self) -> np.ndarray:
        """Indices of the training images, in the order of training."""
        return samplers.stream(self.train.labels, self.params.sampler, self.params.seed, self.samples)

    @property
    def training_odds(self) -> float:
        """Images with a nodule per image without, as they are shown."""
        positive = int(self.train.labels[self.order].sum())
        return positive / max(self.samples - positive, 1)


def learning_rate(step: int, params: TrainParams) -> float:
    """Return the learning rate of optimizer step `step` (0, 1, ...): a linear rise, then a linear fall to 0."""
    warmup = warmup_steps(params)
    if step < warmup:
        return params.learning_rate * step / warmup
    return params.learning_rate * (params.max_steps - step) / max(params.max_steps - warmup, 1)


def warmup_steps(params: TrainParams) -> int:
    """Return the number of steps in which the learning rate rises."""
    return math.ceil(params.warmup_ratio * params.max_steps)


def answer_loss(pair: Any, labels: Any, positive_weight: float, samples: Any) -> Any:
    """Return the weighted cross-entropy of the two answers, as this micro-batch's fraction of the optimizer step's
    loss.

    Each image's loss is multiplied by its class's weight, and the sum divided by the number of images of the *whole*
    step, not by the sum of weights, nor by the micro-batch. So the weight acts the same at any micro-batch, 1 included
    (where a weighted mean would be w l / w = l), and the fractions of a step add up to its loss.

    Args:
        pair: Logits of the negative and the positive answer, float tensor of shape (n, 2).
        labels: Int tensor of shape (n,), 0 or 1.
        positive_weight: Weight of label 1; that of label 0 is 1.
        samples: Images of the optimizer step, over all micro-batches and processes.
    """
    import torch

    losses = torch.nn.functional.cross_entropy(pair, labels, reduction="none")
    weights = torch.where(labels == 1, positive_weight, 1.0)
    return (weights * losses).sum() / samples


def validation_metrics(pair: np.ndarray, labels: np.ndarray, shift: float) -> dict[str, float | None]:
    """Return the metrics of `METRICS` on validation images; None for one that needs a class which is not there.

    The margin z = logit_positive - logit_negative of a model trained at odds o with weight w holds ln(o w) too much; a
    image speaks for a nodule where z > ln(o w). `loss` is the mean cross-entropy after z is moved to the validation
    images' own odds; `balanced_accuracy` is that at the point z = ln(o w); `f1` is the largest over all thresholds;
    `average_precision` does not depend on any.

    Args:
        pair: Logits of the negative and the positive answer, float array of shape (n, 2).
        labels: Int array of shape (n,), 0 or 1.
        shift: ln(o w).
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    positive = int(labels.sum())
    if not 0 < positive < len(labels):
        return dict.fromkeys(METRICS)
    evidence = (pair[:, 1] - pair[:, 0]).astype(np.float64) - shift
    if not np.isfinite(evidence).all():
        return dict.fromkeys(METRICS)
    margin = evidence + math.log(positive / (len(labels) - positive))
    precision, recall, _ = precision_recall_curve(labels, evidence)
    return {
        "loss": float(np.logaddexp(0, np.where(labels == 1, -margin, margin)).mean()),
        "balanced_accuracy": float((np.mean(evidence[labels == 1] > 0) + np.mean(evidence[labels == 0] <= 0)) / 2),
        "f1": float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))),
        "average_precision": float(average_precision_score(labels, evidence)),
    }


def select(table: Sequence[dict[str, Any]], select_by: str) -> int:
    """Return the step of the best checkpoint; of equals the earliest, and the last one for "last".

    >>> select([{"step": 2, "loss": 0.4}, {"step": 4, "loss": 0.5}], "loss")
    2
    """
    if select_by == "last":
        return int(table[-1]["step"])
    return int(max(table, key=lambda row: (merit(row, select_by), -row["step"]))["step"])


def merit(row: Mapping[str, Any], select_by: str) -> float:
    """Return the value that is larger for a better checkpoint."""
    return -row[select_by] if select_by == "loss" else row[select_by]


def exhausted(history: Sequence[dict[str, Any]], params: TrainParams) -> bool:
    """Return whether the last `patience` measurements were none of them better than the best one before.

    A measurement without a value counts as no better. Before `patience` + 1 measurements the answer is no.

    >>> from types import SimpleNamespace
    >>> history = [{"eval_f1": value} for value in (0.5, 0.7, 0.7, 0.6)]
    >>> [exhausted(history, SimpleNamespace(patience=n, select_by="f1")) for n in (0, 1, 2, 3)]
    [False, True, True, False]
    """
    key = f"eval_{params.select_by}"
    values = [
        None if entry[key] is None else merit({params.select_by: entry[key]}, params.select_by)
        for entry in history
        if key in entry
    ]
    if not params.patience or len(values) <= params.patience:
        return False
    before, last = values[: -params.patience], values[-params.patience :]
    best = max((value for value in before if value is not None), default=-math.inf)
    return all(value is None or value <= best for value in last)


def selection_rule(table: Sequence[dict[str, Any]], select_by: str) -> tuple[str, list[str]]:
    """Return what the checkpoint is selected by, and why, if it is not what was asked for."""
    if select_by == "last" or all(row[select_by] is not None for row in table):
        return select_by, []
    return "last", [f"{select_by} is undefined on the validation images: the last checkpoint is taken"]


def table_of(history: Sequence[dict[str, Any]], params: TrainParams) -> list[dict[str, Any]]:
    """Return one row for each step so far that a checkpoint is planned at: the step and its validation metrics.

    Args:
        history: What the Trainer logged.
        params: How it is trained.
    """
    measured = {int(entry["step"]): entry for entry in history if "eval_f1" in entry}
    last = max((int(entry["step"]) for entry in history), default=0)
    ends = {params.max_steps, last if exhausted(history, params) else params.max_steps}
    steps = [step for step in range(1, last + 1) if step % params.save_steps == 0 or step in ends]
    return [{"step": step, **{name: measured.get(step, {}).get(f"eval_{name}") for name in METRICS}} for step in steps]
