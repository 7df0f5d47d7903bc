"""LoFi's task: images beside their reports by the sigmoid loss, and what a decoder writes of them, in one step.

total = sigmoid + location_weight x (caption, ground, describe), each loss of words the mean over the tokens of an
answer, then over the images of the step: an image without an answer counts as one of loss 0.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stages.lib.core import files, params
from stages.lib.core.errors import ImageError, TrainingError
from stages.lib.images import normalized
from stages.lib.learn import reports, samplers, sigmoid
from stages.lib.learn.reports import Drawing, Report, Sample
from stages.lib.learn.schedule import Fall
from stages.lib.learn.task import LoopParams
from stages.lib.models.box_text import Rounding
from stages.lib.models.lofi import weights
from stages.lib.models.lofi.params import ModelParams
from stages.lib.models.lofi.weights import Loaded
from stages.lib.models.lofi.wording import Task
from stages.lib.models.snapshot import Snapshot

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from stages.lib.learn.joint import Batch

WRITTEN: tuple[Task, ...] = ("caption", "ground", "describe")
METRICS = ("recall_at_10", "sigmoid_loss", *(f"{task}_loss" for task in WRITTEN), "scale", "bias")
HARMLESS = ("dataloader_num_workers", "save_total_limit", "start")  # of the start its files count, not its name
NAMES = ("encoder", "encoder_revision", "decoder", "decoder_revision")  # of the bases their files count


@params.section
class LofiParams(LoopParams):
    """How LoFi is trained."""

    start: params.Text  # folder of a LoFi adapter to begin with; none for a pooling of random weights
    tasks: tuple[Literal["sigmoid", "caption", "ground", "describe"], ...]  # sigmoid, and what the decoder learns
    every_task: bool  # each image gets all tasks, weighted; if not, one is drawn, which costs less and means the same
    location_weight: params.NonNegativeFloat  # of the tasks beside sigmoid: the paper's lambda
    positives: sigmoid.Positives  # how equal texts of two images of a batch are read
    sentences: tuple[params.Count, params.Count]  # fewest and most of a report that make one text
    rounding: Rounding  # of boxes in answers
    max_answer_tokens: params.Count  # a longer one is refused before training, never cut; a box takes 20
    samples_per_pass: params.Count  # images whose activations are held at once; the loss is that of the whole batch
    gradient_checkpointing: Literal["none", "tower", "all"]  # activations that are computed twice instead of kept
    schedule: Fall  # how the learning rate falls after the warm-up

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = []
        if "sigmoid" not in self.tasks or len({*self.tasks}) != len(self.tasks):
            problems.append(f"tasks with sigmoid, each once (found {list(self.tasks)})")
        if self.sentences[0] > self.sentences[1]:
            problems.append(f"sentences from few to many (found {list(self.sentences)})")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def fall(self) -> Fall:
        """As `schedule` says."""
        return self.schedule

    @property
    def sparing(self) -> str:
        """A smaller batch would be another loss; fewer samples in a pass are not."""
        if self.samples_per_pass > 1:
            first = f"lower lofi.train.samples_per_pass (now {self.samples_per_pass}), which does not change the loss"
        else:
            first = "lofi.train.samples_per_pass is 1 already"
        left = "" if self.gradient_checkpointing == "all" else ", set gradient_checkpointing to all"
        return f"{first}{left}, set lofi.model.pooling to queries or average_patches to true"

    @property
    def written(self) -> tuple[Task, ...]:
        """What the decoder learns to write."""
        return tuple(task for task in WRITTEN if task in self.tasks)


@dataclass(frozen=True)
class LofiTask:
    """All that decides a training of LoFi.

    Attributes:
        train: Reports to learn from.
        val: Reports to choose the checkpoint by.
        preprocessing_hash: Of their images.
        encoder: Base of the towers.
        decoder: Base of the decoder; it is not loaded if nothing is to be written.
        model: How they are joined.
        params: How they are trained.
        start: Folder of the adapter to begin with; None for none.
    """

    train: Sequence[Report]
    val: Sequence[Report]
    preprocessing_hash: str
    encoder: Snapshot
    decoder: Snapshot
    model: ModelParams
    params: LofiParams
    start: Path | None

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that changes what comes out, by name, flat."""
        sections = {"train": asdict(self.params), "model": asdict(self.model)}
        values = {
            f"{name}.{key}": list(value) if isinstance(value, tuple) else value
            for name, section in sections.items()
            for key, value in section.items()
            if key not in (*HARMLESS, *NAMES)
        }
        begins = [files.sha256_file(self.start / name) for name in (weights.LORA, weights.WHOLE)] if self.start else []
        return {
            **values,
            "training reports": reports.digest(self.train),
            "validation reports": reports.digest(self.val),
            "preprocessing hash": self.preprocessing_hash,
            "encoder sha256": self.encoder.sha256,
            "decoder sha256": self.decoder.sha256 if self.params.written else None,
            "start sha256": begins,
        }

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the validation metrics."""
        return METRICS

    @property
    def separable(self) -> bool:
        """An image is compared with the texts of all others of its step."""
        return False

    @property
    def order(self) -> np.ndarray:
        """Numbers of samples: that of the image, and the number of images for each epoch before."""
        n = len(self.train)
        images = samplers.shuffled(n, self.params.seed, self.params.max_steps * self.params.samples_per_step)
        return images + n * (np.arange(len(images)) // n)

    def load(self) -> "LofiLearner":
        """The bases with what is trained on them.

        Raises:
            TrainingError: If an answer would have to be cut, or the batch of a step does not go through in one pass.
        """
        from accelerate import PartialState

        from stages.lib.learn.joint import Joint

        processes, passes = PartialState().num_processes, self.params.gradient_accumulation_steps
        if passes != processes:
            raise TrainingError(
                f"found gradient_accumulation_steps {passes} with {processes} processes, wanted {processes}: the "
                "sigmoid loss compares each image with all texts of the step, so those of smaller batches do not "
                "add up to it. Raise per_device_train_batch_size; lower samples_per_pass if the memory does not "
                "suffice, which gives the loss of the whole batch"
            )
        loaded = weights.load(
            self.encoder,
            self.decoder if self.params.written else None,
            self.model,
            self.start,
            trainable=True,
            seed=self.params.seed,
        )
        loaded.network.checkpoint_activations(self.params.gradient_checkpointing)
        drawing = self.drawing()
        reports.refuse(drawing, [*self.train, *self.val])
        return LofiLearner(self, loaded, Joint(loaded, self.params.samples_per_pass), drawing)

    def drawing(self) -> Drawing:
        """How samples are drawn of reports."""
        params = self.params
        tower, decoder = weights.read_words(self.encoder, self.decoder if params.written else None)
        return Drawing(
            tower=tower,
            decoder=decoder,
            tasks=params.written,
            every=params.every_task,
            sentences=params.sentences,
            rounding=params.rounding,
            max_answer_tokens=params.max_answer_tokens,
            visual_tokens=self.model.visual_tokens,
            seed=params.seed,
        )


@dataclass(frozen=True)
class Samples:
    """Samples by number, as torch's DataLoader reads them.

    Attributes:
        reports: Of n images; sample i is of image i modulo n.
        drawing: How they are drawn.
    """

    reports: Sequence[Report]
    drawing: Drawing

    def __len__(self) -> int:
        return len(self.reports)

    def __getitem__(self, number: int) -> Sample:
        """A sample.

        Raises:
            TrainingError: If its image cannot be read.
        """
        report = self.reports[number % len(self.reports)]
        text, said = self.drawing.drawn(report, number)
        words = self.drawing.decoder
        asked = [(words.asked(one.prompt), words.answer(one.answer), one.weight) for one in said] if words else []
        return Sample(image=read(report), ids=self.drawing.tower.encode([text.text])[0], asked=tuple(asked))


def read(report: Report) -> np.ndarray:
    """Image of a report.

    Raises:
        TrainingError: If it cannot be read.
    """
    try:
        return normalized.load(report.path)
    except ImageError as error:
        raise TrainingError(f"{report.image_id}: {error}") from error


class LofiLearner:
    """A network that learns.

    Args:
        task: What it learns.
        loaded: The network.
        joint: One pass of it.
        drawing: How samples are drawn.
    """

    def __init__(self, task: LofiTask, loaded: Loaded, joint: "Module", drawing: Drawing) -> None:
        self.task, self.loaded, self.joint, self.drawing = task, loaded, joint, drawing

    @property
    def model(self) -> "Module":
        """One pass of the network."""
        return self.joint

    @property
    def examples(self) -> Samples:
        """Training samples."""
        return Samples(self.task.train, self.drawing)

    def collate(self, samples: Sequence[Sample]) -> "Batch":
        """Samples as one batch."""
        from stages.lib.learn.joint import batch

        return batch(samples)

    def loss(self, model: "Module", batch: "Batch", samples: int) -> "Tensor":
        """Loss of this process's images, told from the texts of all, as its fraction of the step's."""
        from stages.lib.learn import exchange

        passed, params = model(batch), self.task.params
        texts, ids = exchange.gathered(passed.texts), exchange.gathered(batch.ids)  # (m, d), (m, length)
        compared = self.sigmoid(passed.images, texts, ids, exchange.rank() * len(batch.images), samples)
        return compared + params.location_weight * (batch.weights * passed.words).sum() / samples

    def sigmoid(self, images: "Tensor", texts: "Tensor", ids: "Tensor", first: int, samples: int) -> "Tensor":
        """Sigmoid loss of embeddings.

        Args:
            images: Float tensor of shape (n, d).
            texts: Float tensor of shape (m, d).
            ids: Tokens of the texts, int tensor of shape (m, length).
            first: Number of the first image's text.
            samples: Images of the whole step.
        """
        network = self.loaded.network
        logits = network.scale * images @ texts.T + network.bias  # (n, m)
        labels = sigmoid.labels(ids, first, len(images), self.task.params.positives)
        return sigmoid.sigmoid_loss(logits, labels, samples)

    def evaluate(self, batch_size: int) -> dict[str, float | None]:
        """Metrics of the validation reports; several processes share them."""
        from stages.lib.learn import retrieved

        return retrieved.evaluate(self, batch_size)

    def save(self, folder: Path) -> None:
        """Write what is trained."""
        weights.save(self.loaded.network, folder)

    def restore(self, folder: Path) -> None:
        """Read it back."""
        weights.restore(self.loaded.network, folder)

    def count(self) -> tuple[int, int]:
        """Parameters that are trained, and all."""
        return weights.count(self.loaded.network)
