"""The task of answering a question about an image with one of two tokens: QLoRA on the margin of their logits."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from stages.lib.core import files, params
from stages.lib.images import normalized, shifts
from stages.lib.images.shifts import Shift
from stages.lib.learn import loader, losses, samplers, validation
from stages.lib.learn.task import LoopParams
from stages.lib.metrics import calibration
from stages.lib.models import features, gemma3, lora, prompts
from stages.lib.models.snapshot import Snapshot

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

HARMLESS = ("dataloader_num_workers", "save_total_limit", "cache_features")  # they do not change what comes out
MOVES = 1  # stream of random numbers beside the sampler's, of the same seed
MIN_VALIDATION_BATCH = 4  # a pass without gradients takes less memory than one with them


@params.section
class TrainParams(LoopParams, lora.LoraParams):
    """How the adapter is trained."""

    sampler: samplers.Sampler  # order of the images; see stages/lib/learn/samplers.py
    positive_weight: params.PositiveFloat  # of the loss of an image with a nodule; 1.0 beside a balancing sampler
    gradient_checkpointing: bool  # compute activations twice instead of keeping them
    shifts: params.Count  # places along a side of a token; each time an image is shown, it is at a random one of them
    select_by: Literal["last", "loss", "balanced_accuracy", "f1", "average_precision"]  # on validation, unmoved


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
    load: shifts.Load = normalized.load

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.at(index, shifts.UNMOVED)

    def at(self, index: int, place: Shift) -> tuple[Any, int]:
        """An image at one of its places, and its label."""
        return self.load(self.paths[index], place), int(self.labels[index])

    @property
    def digest(self) -> str:
        """Hash of the ids and labels."""
        return files.sha256_json([self.ids, self.labels.tolist()])


@dataclass(frozen=True)
class Moved:
    """Images at each of their places: sample number `image * places + place`, as of `AnswerTask.order`.

    Attributes:
        images: The images.
        places: How far each is moved.
    """

    images: Images
    places: Sequence[Shift]

    def __len__(self) -> int:
        return len(self.images) * len(self.places)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        index, place = divmod(number, len(self.places))
        return self.images.at(index, self.places[place])


class Answered(NamedTuple):
    """A batch of images and the answers wanted.

    Attributes:
        images: Uint8 tensor of shape (n, side_px, side_px), or vision features, of shape (n, image tokens, hidden).
        labels: Int tensor of shape (n,), 0 or 1.
    """

    images: "Tensor"
    labels: "Tensor"


@dataclass(frozen=True)
class AnswerTask:
    """All that decides how a model learns to answer.

    Attributes:
        train: Images to learn from.
        val: Images to choose the checkpoint by.
        preprocessing_hash: Hash of everything that decides the pixels.
        base: The base model.
        model: How it is held.
        prompt: The question and the two answers.
        params: How it is trained.
        features: Folder for the images' vision features; None if none are to be kept.
    """

    train: Images
    val: Images
    preprocessing_hash: str
    base: Snapshot
    model: gemma3.ModelParams
    prompt: prompts.PromptParams
    params: TrainParams
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
    def metrics(self) -> tuple[str, ...]:
        """Names of the validation metrics."""
        return validation.METRICS

    @property
    def separable(self) -> bool:
        """Each image's loss is its own."""
        return True

    @property
    def places(self) -> int:
        """At how many places a training image may be shown."""
        return self.params.shifts**2

    @property
    def shown(self) -> np.ndarray:
        """Indices of the training images, in the order of training."""
        samples = self.params.max_steps * self.params.samples_per_step
        return samplers.stream(self.train.labels, self.params.sampler, self.params.seed, samples)

    @property
    def order(self) -> np.ndarray:
        """Samples in the order of training: `image * places + place`, the place a seeded random one each time."""
        shown = self.shown
        place = np.random.default_rng([self.params.seed, MOVES]).integers(self.places, size=len(shown))
        return shown * self.places + place

    @property
    def training_odds(self) -> float:
        """Images with a nodule per image without, as they are shown."""
        labels = self.train.labels[self.shown]
        return int(labels.sum()) / max(int((1 - labels).sum()), 1)

    def load(self) -> "AnswerLearner":
        """A freshly loaded base with a fresh adapter."""
        loaded = gemma3.load(self.base.folder, self.model)
        loaded = gemma3.ready(lora.add(loaded.model, self.params), loaded.processor)
        if self.params.gradient_checkpointing:
            lora.checkpoint_activations(loaded.model)
        return AnswerLearner(_with_features(self, loaded), loaded)


class AnswerLearner:
    """A model with an adapter that learns to answer.

    Args:
        task: What it learns.
        loaded: The model; its adapter is trained.
    """

    def __init__(self, task: AnswerTask, loaded: gemma3.Loaded) -> None:
        self.task, self.loaded = task, loaded
        self.places = shifts.places(task.params.shifts, loaded.token_px, "nodules.train.shifts")
        self.pair = list(gemma3.answer_ids(loaded, task.prompt))
        self.offset = calibration.training_offset(task.training_odds, task.params.positive_weight)

    @property
    def model(self) -> "Module":
        """The model with its adapter."""
        return self.loaded.model

    @property
    def examples(self) -> Moved:
        """Training images at each of their places."""
        return Moved(self.task.train, self.places)

    def collate(self, samples: Sequence[tuple[Any, int]]) -> Answered:
        """Images (or their vision features) and labels as one batch."""
        import torch

        images, labels = zip(*samples, strict=True)
        return Answered(torch.stack([torch.as_tensor(one) for one in images]), torch.tensor(labels))

    def loss(self, model: "Module", batch: Answered, samples: int) -> "Tensor":
        """Loss of one micro-batch as its fraction of the optimizer step's."""
        pair = self._pair(model, batch.images)  # (n, 2)
        return losses.answer_loss(pair, batch.labels, self.task.params.positive_weight, samples)

    def evaluate(self, batch_size: int) -> dict[str, float | None]:
        """Validation metrics of the images at their own place; several processes share them."""
        from accelerate import PartialState
        from accelerate.utils import gather_object

        val, state = self.task.val, PartialState()
        if not len(val):
            return {}
        size = max(batch_size, MIN_VALIDATION_BATCH)
        dealt = loader.deal(np.arange(len(val)), size, state.process_index, state.num_processes)
        read = loader.batches(val, dealt, self.collate, self.task.params.dataloader_num_workers)
        found = [
            (indices, self._pair(self.model, batch.images).cpu().numpy())
            for indices, batch in zip(dealt, read, strict=True)
        ]
        pair = np.empty((len(val), 2), np.float32)
        for indices, logits in gather_object(found):
            pair[indices] = logits
        return validation.validation_metrics(pair, val.labels, self.offset)

    def save(self, folder: Path) -> None:
        """Write the adapter, as PEFT does."""
        self.loaded.model.save_pretrained(folder)

    def restore(self, folder: Path) -> None:
        """Read the adapter back."""
        self.loaded.model.load_adapter(str(folder), "default", is_trainable=True)

    def count(self) -> tuple[int, int]:
        """Parameters of the adapter, and all, as PEFT counts them: of 4-bit weights too."""
        trained, total = self.loaded.model.get_nb_trainable_parameters()
        return trained, total

    def _pair(self, model: "Module", images: "Tensor") -> "Tensor":
        """Logits of the negative and the positive answer, float32 tensor of shape (n, 2)."""
        return gemma3.ask(self.loaded, images, self.task.prompt, self.pair, through=model).pair


def _with_features(task: AnswerTask, loaded: gemma3.Loaded) -> AnswerTask:
    """`task` with vision features in the place of images, if the tower is not tuned and they are to be kept.

    Several processes share the images that have none yet, and wait for each other.
    """
    from accelerate import PartialState

    store = features.store(task.features, loaded, task.preprocessing_hash)
    if store is None:
        return task
    state = PartialState()
    images, place = np.divmod(np.unique(task.order), task.places)
    for number, shift in enumerate(shifts.places(task.params.shifts, loaded.token_px, "nodules.train.shifts")):
        shown = [task.train.paths[index] for index in images[place == number]]
        paths = [*shown, *task.val.paths] if shift == shifts.UNMOVED else shown
        store.fill(loaded, paths[state.process_index :: state.num_processes], shift)
    state.wait_for_everyone()
    return replace(task, train=replace(task.train, load=store.load), val=replace(task.val, load=store.load))
