"""What the loop trains: a task is samples in an order, and a learner made from it is a model, a loss and a validation.

A new objective is one `Task` and one `Learner`; resume, preemption, memory, selection and curves come with the loop.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from stages.lib.core import params
from stages.lib.learn.schedule import Fall

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

Sample = TypeVar("Sample")
Sample_co = TypeVar("Sample_co", covariant=True)
Batch = TypeVar("Batch")


@params.section
class LoopParams:
    """How a task is trained, whatever it is."""

    per_device_train_batch_size: params.Count  # samples in one forward pass
    gradient_accumulation_steps: params.Count  # forward passes in one optimizer step, over all processes
    learning_rate: (
        params.PositiveFloat
    )  # learning rate after the warm-up; it then falls to 0, linearly or as `fall` says
    warmup_ratio: params.Fraction  # of the steps in which it rises linearly from 0
    max_steps: params.Count  # optimizer steps
    max_grad_norm: params.PositiveFloat  # the gradient is scaled down to this norm
    weight_decay: params.NonNegativeFloat  # of matrices; biases and other vectors have none
    eval_steps: params.Count  # optimizer steps between two measurements on validation samples
    save_steps: params.Count  # optimizer steps between two checkpoints; a multiple of eval_steps
    select_by: params.Text  # "last", or a validation metric of the task
    patience: params.NonNegativeInt  # measurements in a row without a better select_by that end training; 0: never
    save_total_limit: params.Count  # newest ones kept, beside the selected one; at least 2
    dataloader_num_workers: params.NonNegativeInt  # processes that read samples ahead; 0 reads them in the main one
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

    @property
    def fall(self) -> Fall:
        """How the learning rate falls after the warm-up."""
        return "linear"

    @property
    def sparing(self) -> str:
        """What to change where a GPU's memory does not suffice, before another GPU."""
        return "lower per_device_train_batch_size, turn gradient_checkpointing on, train fewer parameters (lora_r)"

    @property
    def samples_per_step(self) -> int:
        """Samples of one optimizer step, over all forward passes and processes."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps


class Examples(Protocol[Sample_co]):
    """Training samples by number, as torch's DataLoader reads them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample_co: ...


class Learner(Protocol[Sample, Batch]):
    """A task's model in memory, how it learns and how it is measured.

    All randomness comes from torch's global generators, so that the loop can take it up where it stopped.
    """

    @property
    def model(self) -> "Module":
        """The model; the loop trains its parameters that require a gradient."""

    @property
    def examples(self) -> Examples[Sample]:
        """Training samples, by the numbers of the task's `order`."""

    def collate(self, samples: list[Sample], /) -> Batch:
        """Samples as one batch of tensors: a tuple, a named tuple or a dict."""

    def loss(self, model: "Module", batch: Batch, samples: int, /) -> "Tensor":
        """Loss of one micro-batch as its fraction of the optimizer step's, a float tensor of shape ().

        The fractions of a step's micro-batches, over all processes, are added.

        Args:
            model: `self.model`, in a wrapper where there are several processes; the pass has to go through it.
            batch: What `collate` made, on the model's device.
            samples: Samples of the whole step.
        """

    def evaluate(self, batch_size: int, /) -> Mapping[str, float | None]:
        """Each validation metric, None where undefined, the same in every process; empty without validation.

        Args:
            batch_size: Samples that are known to fit into memory in training.
        """

    def save(self, folder: Path, /) -> None:
        """Write what was trained to a folder that is there; the main process alone does."""

    def restore(self, folder: Path, /) -> None:
        """Read it back, bit by bit."""

    def count(self) -> tuple[int, int]:
        """Numbers of parameters: those that are trained, and all."""


@runtime_checkable
class Follower(Protocol):
    """What a learner has besides if it follows its weights from step to step, as a moving average does."""

    def follow(self) -> None:
        """Take in the weights after an optimizer step."""


class Task(Protocol[Sample, Batch]):
    """All that decides a run; it holds no model."""

    @property
    def params(self) -> LoopParams:
        """How it is trained."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that changes what comes out, by name, as JSON has it; another identity is another run."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the validation metrics; less of a name that ends in `loss` or `error` is better."""

    @property
    def separable(self) -> bool:
        """Whether the loss of a batch is a sum over its samples.

        Only then is a step the same however it is cut into micro-batches, so that the loop may halve them where memory
        does not suffice. A contrastive loss is not separable: it compares each sample with those of its micro-batch.
        """

    @property
    def order(self) -> np.ndarray:
        """Samples in the order of training, int array of shape (max_steps * samples_per_step,)."""

    def load(self) -> Learner[Sample, Batch]:
        """A learner as it is before the first step, the same each time."""
