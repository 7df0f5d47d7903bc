"""The task of finding nodules as boxes: a pretrained detector, tuned as a whole on marked and on negative images."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import files
from stages.lib.images import normalized
from stages.lib.learn import samplers
from stages.lib.learn.task import LoopParams
from stages.lib.models import box_model, preprocessor
from stages.lib.models.box_model import Loaded
from stages.lib.models.snapshot import Snapshot

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

WEIGHTS = "detector.safetensors"
HARMLESS = ("dataloader_num_workers", "save_total_limit")  # they do not change what comes out


@dataclass(frozen=True)
class Boxes:
    """One image and its boxes.

    Attributes:
        png: The image, normalized.
        boxes: Middle and size (u, v, width, height), in fractions of the padded square, shape (m, 4); m is 0 of a
            negative image.
    """

    png: Path
    boxes: NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """All that decides a run.

    Attributes:
        params: How it is trained; `select_by` is last, as nothing is validated.
        base: The detector's files.
        architecture: Its class.
        side_px: Side of the images.
        row: Name of the row, for errors.
        images: Training images; marked and negative ones alternate as balanced rotation has it.
        preprocessing_hash: Of the images.
    """

    params: LoopParams
    base: Snapshot
    architecture: str
    side_px: int
    row: str
    images: Sequence[Boxes]
    preprocessing_hash: str
    metrics: tuple[str, ...] = ()
    separable: bool = False  # the loss of a batch is divided by its boxes

    @property
    def identity(self) -> Mapping[str, Any]:
        """Parameters, model, images and boxes."""
        given = {name: value for name, value in asdict(self.params).items() if name not in HARMLESS}
        images = [(str(one.png), one.boxes.tolist()) for one in self.images]
        ours = {"architecture": self.architecture, "side_px": self.side_px, "weights": self.base.sha256}
        return {**given, **ours, "pixels": self.preprocessing_hash, "images": files.sha256_json(images)}

    @property
    def order(self) -> np.ndarray:
        """As many marked as negative images, the larger class in turns."""
        labels = np.array([int(len(one.boxes) > 0) for one in self.images])
        length = self.params.max_steps * self.params.samples_per_step
        return samplers.stream(labels, "balanced_rotation", self.params.seed, length)

    def load(self) -> "Learner":
        """The detector as it is before the first step."""
        loaded = box_model.load(self.base.folder, self.architecture, self.side_px, self.params.seed, self.row)
        return Learner(loaded, Examples(self.images))


@dataclass(frozen=True)
class Examples:
    """Images with their boxes, read as they are asked for."""

    images: Sequence[Boxes]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, NDArray[np.float64]]:
        one = self.images[index]
        return normalized.load(one.png), one.boxes


@dataclass(frozen=True)
class Learner:
    """A detector in memory."""

    loaded: Loaded
    examples: Examples

    @property
    def model(self) -> "Module":
        """The detector; all of it is trained."""
        module: Module = self.loaded.model
        return module

    def collate(self, samples: list[tuple[np.ndarray, NDArray[np.float64]]], /) -> dict[str, "Tensor"]:
        """Images as the model takes them, (n, 3, side, side), their boxes, (m, 4), and how many each has, (n,)."""
        import torch

        images = [image for image, _ in samples]
        boxes = np.concatenate([np.zeros((0, 4)), *(some for _, some in samples)])
        return {
            "pixels": preprocessor.pixels(self.loaded.greys, images, self.loaded.side_px, self.loaded.row),
            "boxes": torch.tensor(boxes, dtype=torch.float32),
            "counts": torch.tensor([len(some) for _, some in samples]),
        }

    def loss(self, model: "Module", batch: dict[str, "Tensor"], samples: int, /) -> "Tensor":
        """The detector's own loss, of set matching and of denoising, of the mean image, as its part of the step's."""
        import torch

        parts = torch.split(batch["boxes"], batch["counts"].tolist())
        labels = [
            {"class_labels": torch.zeros(len(some), dtype=torch.long, device=some.device), "boxes": some}
            for some in parts
        ]
        found: Tensor = model(pixel_values=batch["pixels"], labels=labels).loss
        return found * len(parts) / samples

    def evaluate(self, batch_size: int, /) -> Mapping[str, float | None]:
        """Nothing: so few images are marked that none is held out."""
        return {}

    def save(self, folder: Path, /) -> None:
        """All weights."""
        from safetensors.torch import save_model

        save_model(self.model, str(folder / WEIGHTS))

    def restore(self, folder: Path, /) -> None:
        """All weights, bit by bit."""
        from safetensors.torch import load_model

        load_model(self.model, folder / WEIGHTS)

    def count(self) -> tuple[int, int]:
        """All of them are trained."""
        size = sum(one.numel() for one in self.model.parameters())
        return size, size


def tuned(task: Task, checkpoint: Path) -> Loaded:
    """The detector of a checkpoint of a task, on a GPU if there is one."""
    import torch

    learner = task.load()
    learner.restore(checkpoint)
    learner.model.to("cuda" if torch.cuda.is_available() else "cpu")
    return learner.loaded
