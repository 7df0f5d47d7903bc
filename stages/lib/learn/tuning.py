"""The task of writing the boxes of a sentence: by LoFi's decoder, with the vision tower frozen or with LoRA.

With frozen towers an image's patches are computed once and kept on disk. The loss of a sentence is the mean over the
tokens of its answer, that of a step the mean over its sentences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stages.lib.core import files, params
from stages.lib.core.errors import ImageError, TrainingError
from stages.lib.images import normalized
from stages.lib.learn import loader, samplers
from stages.lib.learn.schedule import Fall
from stages.lib.learn.task import LoopParams
from stages.lib.models.box_text import Rounding
from stages.lib.models.features import Store
from stages.lib.models.lofi import patches, weights
from stages.lib.models.lofi.params import ModelParams
from stages.lib.models.lofi.weights import Loaded
from stages.lib.models.snapshot import Snapshot

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

METRICS = ("loss",)
HARMLESS = ("dataloader_num_workers", "save_total_limit")  # they do not change what comes out
NAMES = ("encoder", "encoder_revision", "decoder", "decoder_revision")  # of the bases their files count
VISION_LORA = "encoder.vision_model.encoder."


@params.section
class TuneParams(LoopParams):
    """How a grounder is fine-tuned."""

    tower: Literal["frozen", "lora"]  # the vision tower as it is, its patches kept on disk; or its LoRA trained too
    rounding: Rounding  # of boxes in answers
    max_answer_tokens: params.Count  # a longer one is refused before training, never cut; a box takes 20
    gradient_checkpointing: Literal["none", "tower", "all"]  # activations that are computed twice instead of kept
    select_by: Literal["last", "loss"]  # on validation sentences
    schedule: Fall  # how the learning rate falls after the warm-up

    @property
    def fall(self) -> Fall:
        """As `schedule` says."""
        return self.schedule


@dataclass(frozen=True)
class Boxed:
    """A sentence, and the answer that is wanted.

    Attributes:
        image_id: Its image.
        number: Of the sentence in its report.
        png: The image, normalized.
        prompt: What the decoder is asked.
        answer: The boxes as text.
    """

    image_id: str
    number: int
    png: Path
    prompt: str
    answer: str


@dataclass(frozen=True)
class TuneTask:
    """All that decides a fine-tuning.

    Attributes:
        train: Sentences to learn from.
        val: Sentences to choose the checkpoint by.
        preprocessing_hash: Of their images.
        encoder: Base of the towers.
        decoder: Base of the decoder.
        model: How they are joined.
        params: How they are trained.
        start: Folder of a LoFi adapter to begin with; None for a pooling of random weights.
        features: Folder of patches; None to compute them each time.
    """

    train: Sequence[Boxed]
    val: Sequence[Boxed]
    preprocessing_hash: str
    encoder: Snapshot
    decoder: Snapshot
    model: ModelParams
    params: TuneParams
    start: Path | None
    features: Path | None

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that changes what comes out, by name, flat."""
        sections = {"tune": asdict(self.params), "model": asdict(self.model)}
        values = {
            f"{name}.{key}": value
            for name, section in sections.items()
            for key, value in section.items()
            if key not in (*HARMLESS, *NAMES)
        }
        begins = [files.sha256_file(self.start / name) for name in (weights.LORA, weights.WHOLE)] if self.start else []
        return {
            **values,
            "training sentences": digest(self.train),
            "validation sentences": digest(self.val),
            "preprocessing hash": self.preprocessing_hash,
            "encoder sha256": self.encoder.sha256,
            "decoder sha256": self.decoder.sha256,
            "start sha256": begins,
        }

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the validation metrics."""
        return METRICS

    @property
    def separable(self) -> bool:
        """Each sentence's loss is its own."""
        return True

    @property
    def order(self) -> np.ndarray:
        """Sentences in the order of training: each once per epoch."""
        samples = self.params.max_steps * self.params.samples_per_step
        return samplers.shuffled(len(self.train), self.params.seed, samples)

    def load(self) -> "TuneLearner":
        """The bases, the adapter to begin with, and what is trained of them.

        Raises:
            TrainingError: If an answer would have to be cut.
            ModelError: As `weights.load`.
        """
        loaded = weights.load(self.encoder, self.decoder, self.model, self.start, trainable=True, seed=self.params.seed)
        refuse(loaded, [*self.train, *self.val], self.params.max_answer_tokens)
        weights.freeze_towers(loaded.network)
        kept = None
        if self.params.tower == "lora":
            for name, parameter in loaded.network.named_parameters():
                parameter.requires_grad_(parameter.requires_grad or (name.startswith(VISION_LORA) and ".lora_" in name))
        elif self.features is not None:
            kept = self.filled(loaded, self.features)
        loaded.network.checkpoint_activations(self.params.gradient_checkpointing)
        return TuneLearner(self, loaded, kept)

    def filled(self, loaded: Loaded, root: Path) -> Store:
        """Patches of all images; several processes share the work."""
        from accelerate import PartialState

        state = PartialState()
        kept = patches.store(root, loaded, self.preprocessing_hash)
        pngs = list(dict.fromkeys(one.png for one in (*self.train, *self.val)))
        patches.fill(kept, loaded, pngs[state.process_index :: state.num_processes])
        state.wait_for_everyone()
        return kept


def refuse(loaded: Loaded, sentences: Sequence[Boxed], most: int) -> None:
    """Refuse answers that would have to be cut.

    Args:
        loaded: The network.
        sentences: All that are trained and measured on.
        most: Tokens of an answer.

    Raises:
        TrainingError: If there is one; all such images are named.
    """
    words, visual = loaded.decoder, loaded.network.params.visual_tokens
    if words is None:
        raise TrainingError("found no decoder, wanted one: boxes are written by it")
    long = []
    for one in sentences:
        answer = len(words.answer(one.answer))
        whole = len(words.begin) + visual + len(words.asked(one.prompt)) + answer
        if answer > most or whole > words.positions:
            long.append(f"{one.image_id}, sentence {one.number} ({answer} tokens, {whole} with image and prompt)")
    if long:
        raise TrainingError(
            f"found {len(long)} answers that would have to be cut, wanted at most {most} tokens, and {words.positions} "
            f"with image and prompt: {'; '.join(long[:5])}; raise max_answer_tokens, or leave them out"
        )


@dataclass(frozen=True)
class Samples:
    """Sentences by number, as torch's DataLoader reads them.

    Attributes:
        sentences: The sentences.
        loaded: The network.
        kept: Patches on disk; None to read images.
    """

    sentences: Sequence[Boxed]
    loaded: Loaded
    kept: Store | None

    def __len__(self) -> int:
        return len(self.sentences)

    def __getitem__(self, index: int) -> tuple["Tensor", list[int], list[int]]:
        """An image, uint8 tensor of shape (side, side), or its patches, (patches, d); tokens of prompt and answer.

        Raises:
            TrainingError: If the image cannot be read.
        """
        import torch

        one, words = self.sentences[index], self.loaded.decoder
        if words is None:
            raise TrainingError("found no decoder, wanted one")
        try:
            seen = torch.from_numpy(normalized.load(one.png)) if self.kept is None else self.kept.load(one.png)
        except ImageError as error:
            raise TrainingError(f"{one.image_id}: {error}") from error
        return seen, words.asked(one.prompt), words.answer(one.answer)


class TuneLearner:
    """A network that learns to write boxes.

    Args:
        task: What it learns.
        loaded: The network.
        kept: Patches of its images on disk; None to compute them.
    """

    def __init__(self, task: TuneTask, loaded: Loaded, kept: Store | None) -> None:
        from stages.lib.learn.writing import Writing

        self.task, self.loaded, self.kept = task, loaded, kept
        self.writing = Writing(loaded)

    @property
    def model(self) -> "Module":
        """One pass of the network."""
        return self.writing

    @property
    def examples(self) -> Samples:
        """Training sentences."""
        return Samples(self.task.train, self.loaded, self.kept)

    def collate(self, samples: Sequence[tuple["Tensor", list[int], list[int]]]) -> dict[str, "Tensor"]:
        """Sentences as one batch.

        Returns:
            seen, of shape (n, side, side) or (n, patches, d); words and targets, see `writing.padded`.
        """
        import torch

        from stages.lib.learn.writing import padded

        words, targets = padded([(asked, answer) for _, asked, answer in samples])
        return {"seen": torch.stack([seen for seen, *_ in samples]), "words": words, "targets": targets}

    def loss(self, model: "Module", batch: Mapping[str, "Tensor"], samples: int) -> "Tensor":
        """Loss of one micro-batch as its fraction of the optimizer step's."""
        losses: Tensor = model(batch["seen"], batch["words"], batch["targets"])  # (n,)
        return losses.sum() / samples

    def evaluate(self, batch_size: int) -> dict[str, float | None]:
        """Mean loss of the validation sentences; several processes share them."""
        from accelerate import PartialState
        from accelerate.utils import gather_object, send_to_device

        val, state = self.task.val, PartialState()
        if not val:
            return {}
        dealt = loader.deal(np.arange(len(val)), batch_size, state.process_index, state.num_processes)
        examples = Samples(val, self.loaded, self.kept)
        read = loader.batches(examples, dealt, self.collate, self.task.params.dataloader_num_workers)
        device = self.loaded.network.device
        found = [self.loss(self.writing, send_to_device(batch, device), len(val)).item() for batch in read]
        return {"loss": float(np.sum(gather_object(found)))}

    def save(self, folder: Path) -> None:
        """Write the adapter: what is trained here, and the rest of what LoFi trains, as it was."""
        weights.save(self.loaded.network, folder)

    def restore(self, folder: Path) -> None:
        """Read it back."""
        weights.restore(self.loaded.network, folder)

    def count(self) -> tuple[int, int]:
        """Parameters that are trained here, and all."""
        return weights.count(self.loaded.network)


def digest(sentences: Sequence[Boxed]) -> str:
    """Hash of sentences and answers."""
    return files.sha256_json([[one.image_id, one.number, one.prompt, one.answer] for one in sentences])
