"""The task of telling images with and without a nodule apart by one logit: full fine-tuning of an image network.

What validation measures, what a checkpoint is chosen by and what is written is the moving average of the weights, where
the row has one.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stages.lib.core import files, params
from stages.lib.core.errors import TrainingError
from stages.lib.images import normalized
from stages.lib.learn import augment, checkpoints, loader, losses, moving_average, samplers
from stages.lib.learn.augment import AugmentParams
from stages.lib.learn.candidate import Inputs
from stages.lib.learn.task import LoopParams
from stages.lib.metrics import binary
from stages.lib.models import preprocessor
from stages.lib.models.backbone import BackboneParams
from stages.lib.models.snapshot import Snapshot

if TYPE_CHECKING:
    from torch import Tensor

    from stages.lib.models.image_network import Loaded, Network

HARMLESS = ("dataloader_num_workers", "save_total_limit")  # they do not change what comes out
METRICS = ("loss", "average_precision")
WEIGHTS, AVERAGE = "network.safetensors", "average.safetensors"
LEAST_BATCH = 4  # a pass without gradients takes less memory than one with them
# Classes whose loss of an image depends on the others of its micro-batch, by the norm of the batch.
BATCH_NORMED = ("EfficientNetForImageClassification", "ResNetForImageClassification")
Batch = tuple["Tensor", "Tensor"]  # uint8 images of shape (n, side, side), int labels of shape (n,)


@params.section
class TuneParams(LoopParams, AugmentParams):
    """How a network is tuned as a whole."""

    start: Literal["pretrained", "random"]  # random: weights drawn from the configuration, for small networks
    loss: Literal["asymmetric", "focal", "cross_entropy"]  # see stages/lib/learn/losses.py
    gamma_negative: params.NonNegativeFloat  # focus of negative images; of focal, that of both
    gamma_positive: params.NonNegativeFloat  # focus of positive images
    clip: params.Fraction  # of asymmetric: probability below which a negative image has no loss
    sampler: samplers.Sampler  # order of the images; see stages/lib/learn/samplers.py
    average_decay: params.Fraction  # of the moving average of the weights, below 1; 0: none
    select_by: Literal["last", "loss", "average_precision"]  # on validation images, unmoved

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = []
        for section in (LoopParams, AugmentParams):
            try:
                section.__post_init__(self)
            except ValueError as error:
                problems.append(str(error))
        if self.average_decay >= 1:
            problems.append(f"average_decay {self.average_decay:g}, wanted less than 1: at 1 nothing is learned")
        if self.clip >= 1:
            problems.append(f"clip {self.clip:g}, wanted less than 1: at 1 no negative image has a loss")
        given = (self.gamma_negative, self.gamma_positive, self.clip)
        if self.loss == "focal" and (self.gamma_negative != self.gamma_positive or self.clip):
            problems.append(f"loss focal with gammas and clip {given}, wanted two equal gammas and clip 0")
        if self.loss == "cross_entropy" and any(given):
            problems.append(f"loss cross_entropy with gammas and clip {given}, wanted 0 of each")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def sparing(self) -> str:
        """What to change where a GPU's memory does not suffice, before another GPU."""
        return (
            "lower per_device_train_batch_size and raise gradient_accumulation_steps as much, lower side_px, take a "
            "smaller model"
        )


@dataclass(frozen=True, kw_only=True)
class ImageTask:
    """All that decides how a network learns.

    Attributes:
        row: Name of the row, for errors.
        train: Images to learn from, with labels and pixels.
        val: Images to choose the checkpoint by, likewise.
        preprocessing_hash: Hash of everything that decides the pixels.
        found: Files of the model that it begins with.
        backbone: Its class and side.
        params: How it is tuned.
    """

    row: str
    train: Inputs
    val: Inputs
    preprocessing_hash: str
    found: Snapshot
    backbone: BackboneParams
    params: TuneParams

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Everything that changes what comes out, by name, flat; the name of the row does not."""
        known = {field.name for field in fields(TuneParams)} - set(HARMLESS)
        given = {name: value for name, value in asdict(self.params).items() if name in known}
        ours = {"architecture": self.backbone.architecture, "side_px": self.backbone.side_px}
        images = {"train images": digest(self.train), "validation images": digest(self.val)}
        weights = {"preprocessing hash": self.preprocessing_hash, "model sha256": self.found.sha256}
        libraries = {name: version(name) for name in ("torch", "transformers", "numpy")}
        return {**given, **ours, **images, **weights, **libraries}

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the validation metrics."""
        return METRICS

    @property
    def separable(self) -> bool:
        """Whether an image's loss is its own: not where a norm looks at the whole micro-batch."""
        return self.backbone.architecture not in BATCH_NORMED

    @property
    def order(self) -> np.ndarray:
        """Samples in the order of training: `place in the order * images + image`, so that each has a number."""
        samples = self.params.max_steps * self.params.samples_per_step
        shown = samplers.stream(labels_of(self.train), self.params.sampler, self.params.seed, samples)
        return np.arange(samples) * len(self.train) + shown

    def load(self) -> "ImageLearner":
        """The network as it is before the first step, the same each time."""
        from stages.lib.models import image_network

        seed = self.params.seed
        loaded = image_network.start(self.backbone, self.row, self.found, self.params.start, seed)
        return ImageLearner(self, loaded)


def labels_of(images: Inputs) -> np.ndarray:
    """Labels of images that have some.

    Raises:
        TrainingError: If they have none.
    """
    if images.labels is None or images.pixels is None:
        raise TrainingError("found images without labels or pixels, wanted both to train on")
    return images.labels


def digest(images: Inputs) -> str:
    """Hash of ids, labels and the bytes of the images' files."""
    pixels = [files.sha256_file(path) for path in images.pixels or ()]
    return files.sha256_json([list(images.ids), labels_of(images).tolist(), pixels])


@dataclass(frozen=True)
class Shown:
    """Training images as they are shown: sample number as of `ImageTask.order`.

    Attributes:
        task: What is learned.
    """

    task: ImageTask

    def __len__(self) -> int:
        return len(self.task.order)

    def __getitem__(self, number: int) -> tuple[np.ndarray, int]:
        sample, image = divmod(number, len(self.task.train))
        grey, label = read(self.task.train, image, self.task)
        change = augment.drawn(self.task.params, self.task.params.seed, sample)
        return augment.changed(grey, change), label


@dataclass(frozen=True)
class Unmoved:
    """Validation images as they are."""

    task: ImageTask

    def __len__(self) -> int:
        return len(self.task.val)

    def __getitem__(self, number: int) -> tuple[np.ndarray, int]:
        return read(self.task.val, number, self.task)


def read(images: Inputs, number: int, task: ImageTask) -> tuple[np.ndarray, int]:
    """An image of the row's side, and its label.

    Raises:
        ImageError: If it cannot be read.
        MismatchError: If it has another side.
    """
    labels = labels_of(images)
    image = normalized.load((images.pixels or ())[number])
    preprocessor.check_sides([image], task.backbone.side_px, task.row)
    return image, int(labels[number])


class ImageLearner:
    """A network that learns.

    Args:
        task: What it learns.
        loaded: The network, all of it trained.
    """

    def __init__(self, task: ImageTask, loaded: "Loaded") -> None:
        self.task, self.loaded = task, loaded
        self.steps = 0
        self.average: Network | None = None
        if task.params.average_decay:
            self.average = copy.deepcopy(loaded.network).eval().requires_grad_(False)

    @property
    def model(self) -> "Network":
        """The network."""
        return self.loaded.network

    @property
    def measured(self) -> "Network":
        """The network that is measured and written."""
        return self.average or self.loaded.network

    @property
    def examples(self) -> Shown:
        """Training images, changed each time as their number in the order says."""
        return Shown(self.task)

    def collate(self, samples: Sequence[tuple[np.ndarray, int]], /) -> Batch:
        """Images and labels as one batch."""
        import torch

        images, labels = zip(*samples, strict=True)
        return torch.from_numpy(np.stack(images)), torch.tensor(labels)

    def loss(self, model: Any, batch: Batch, samples: int, /) -> "Tensor":
        """Loss of one micro-batch as its fraction of the optimizer step's."""
        images, labels = batch
        return self._loss(model(images), labels, samples)

    def _loss(self, logits: "Tensor", labels: "Tensor", samples: int) -> "Tensor":
        given = self.task.params
        return losses.asymmetric_loss(
            logits, labels, given.gamma_negative, given.gamma_positive, given.clip, samples
        )  # focal and cross-entropy are it with equal gammas, and without any

    def follow(self) -> None:
        """Take the weights after a step into the average."""
        self.steps += 1
        if self.average is not None:
            moving_average.follow(self.average, self.model, self.steps, self.task.params.average_decay)

    def evaluate(self, batch_size: int, /) -> dict[str, float | None]:
        """Validation metrics of the images at their own place, the same in every process."""
        import torch

        labels = labels_of(self.task.val)
        network, size = self.measured, max(batch_size, LEAST_BATCH)
        dealt = loader.deal(np.arange(len(labels)), size, 0, 1)
        batches = loader.batches(Unmoved(self.task), dealt, self.collate, self.task.params.dataloader_num_workers)
        found = [network(images.to(network.greys.device)).float().cpu() for images, _ in batches]
        logits = torch.cat(found) if found else torch.zeros(0)
        if len(np.unique(labels)) < 2 or not bool(torch.isfinite(logits).all()):
            return dict.fromkeys(METRICS)
        return {
            "loss": float(self._loss(logits.double(), torch.from_numpy(labels), len(labels))),
            "average_precision": binary.average_precision(labels, logits.double().numpy()),
        }

    def save(self, folder: Path, /) -> None:
        """Write the weights, and their average."""
        from stages.lib.models import image_network

        image_network.write_weights(self.model, folder / WEIGHTS)
        if self.average is not None:
            image_network.write_weights(self.average, folder / AVERAGE)

    def restore(self, folder: Path, /) -> None:
        """Read them back, bit by bit."""
        from stages.lib.models import image_network

        image_network.read_weights(self.model, folder / WEIGHTS, self.task.row)
        if self.average is not None:
            image_network.read_weights(self.average, folder / AVERAGE, self.task.row)
        self.steps = checkpoints.step(folder)

    def count(self) -> tuple[int, int]:
        """Parameters that are trained, and all."""
        every = list(self.model.parameters())
        return sum(one.numel() for one in every if one.requires_grad), sum(one.numel() for one in every)
