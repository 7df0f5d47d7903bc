"""The task of writing a text about images: LoRA on the next tokens of gold texts, which follow the prompt of an arm."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stages.lib.core import files, params
from stages.lib.core.errors import TrainingError
from stages.lib.learn import loader, losses, samplers
from stages.lib.learn.task import LoopParams
from stages.lib.models import gemma3, lora
from stages.lib.models.chat import local
from stages.lib.models.chat.request import Message, Request, Text
from stages.lib.models.snapshot import Snapshot

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

METRICS = ("loss",)
HARMLESS = ("dataloader_num_workers", "save_total_limit", "cache_features")  # they do not change what comes out
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "pixel_values")


@params.section
class TextParams(LoopParams, lora.LoraParams):
    """How an adapter that writes texts is trained."""

    gradient_checkpointing: bool  # compute activations twice instead of keeping them
    select_by: Literal["last", "loss"]  # on validation texts


@dataclass(frozen=True)
class Told:
    """A conversation and the answer that is wanted.

    Attributes:
        request: What is said up to the answer.
        gold: The answer.
    """

    request: Request
    gold: str


@dataclass(frozen=True)
class TextTask:
    """All that decides how a model learns to write.

    Attributes:
        train: Conversations to learn from.
        val: Conversations to choose the checkpoint by.
        base: The base model.
        model: How it is held.
        params: How it is trained.
    """

    train: Sequence[Told]
    val: Sequence[Told]
    base: Snapshot
    model: gemma3.ModelParams
    params: TextParams

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that changes what comes out, by name, flat."""
        sections = {"train": asdict(self.params), "model": asdict(self.model)}
        values = {
            f"{name}.{key}": value
            for name, section in sections.items()
            for key, value in section.items()
            if key not in HARMLESS
        }
        return {
            **values,
            "training texts": digest(self.train),
            "validation texts": digest(self.val),
            "base sha256": self.base.sha256,
        }

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the validation metrics."""
        return METRICS

    @property
    def separable(self) -> bool:
        """Each text's loss is its own."""
        return True

    @property
    def order(self) -> np.ndarray:
        """Conversations in the order of training: each once per epoch."""
        samples = self.params.max_steps * self.params.samples_per_step
        return samplers.shuffled(len(self.train), self.params.seed, samples)

    def load(self) -> "TextLearner":
        """A freshly loaded base with a fresh adapter."""
        loaded = gemma3.load(self.base.folder, self.model)
        loaded = gemma3.ready(lora.add(loaded.model, self.params), loaded.processor)
        if self.params.gradient_checkpointing:
            lora.checkpoint_activations(loaded.model)
        return TextLearner(self, loaded)


@dataclass(frozen=True)
class Encoded:
    """Conversations with their answers in tokens, by number, as torch's DataLoader reads them.

    Attributes:
        told: The conversations.
        loaded: The model.
    """

    told: Sequence[Told]
    loaded: gemma3.Loaded

    def __len__(self) -> int:
        return len(self.told)

    def __getitem__(self, index: int) -> tuple[dict[str, Any], list[int]]:
        """Inputs up to the answer, see `local.inputs`, and the tokens of the answer."""
        one = self.told[index]
        try:
            ready = local.inputs(self.loaded, one.request)
        except (OSError, ValueError) as error:
            raise TrainingError(f"{one.request.item}: {error}") from error
        return ready, answer_tokens(self.loaded, one)


class TextLearner:
    """A model with an adapter that learns to write.

    Args:
        task: What it learns.
        loaded: The model; its adapter is trained.
    """

    def __init__(self, task: TextTask, loaded: gemma3.Loaded) -> None:
        self.task, self.loaded = task, loaded

    @property
    def model(self) -> "Module":
        """The model with its adapter."""
        return self.loaded.model

    @property
    def examples(self) -> Encoded:
        """Training conversations."""
        return Encoded(self.task.train, self.loaded)

    def collate(self, samples: Sequence[tuple[dict[str, Any], list[int]]]) -> dict[str, "Tensor"]:
        """Conversations as one batch, each followed by its answer; what is padded stands behind all that is read.

        Returns:
            input_ids, attention_mask, token_type_ids and targets, int tensors of shape (n, tokens): a target is the
            token that follows, -100 where none is wanted. With images also pixel_values, of shape
            (images, 3, side_px, side_px).
        """
        import torch

        padding = self.loaded.tokenizer.pad_token_id
        longest = max(ready["input_ids"].shape[1] + len(answer) for ready, answer in samples)
        rows: dict[str, list[Any]] = {name: [] for name in (*INPUTS[:3], "targets")}
        for ready, answer in samples:
            asked, rest = ready["input_ids"].shape[1], longest - ready["input_ids"].shape[1] - len(answer)
            rows["input_ids"].append([*ready["input_ids"][0].tolist(), *answer, *[padding] * rest])
            rows["attention_mask"].append([*[1] * (asked + len(answer)), *[0] * rest])
            rows["token_type_ids"].append([*ready["token_type_ids"][0].tolist(), *[0] * (len(answer) + rest)])
            rows["targets"].append([*[losses.IGNORED] * (asked - 1), *answer, *[losses.IGNORED] * (rest + 1)])
        batch = {name: torch.tensor(values) for name, values in rows.items()}
        pixels = [ready["pixel_values"] for ready, _ in samples if "pixel_values" in ready]
        return {**batch, "pixel_values": torch.cat(pixels)} if pixels else batch

    def loss(self, model: "Module", batch: Mapping[str, "Tensor"], samples: int) -> "Tensor":
        """Loss of one micro-batch as its fraction of the optimizer step's."""
        inputs = {name: batch[name] for name in INPUTS if name in batch}
        if "pixel_values" in inputs:
            inputs["pixel_values"] = inputs["pixel_values"].to(self.loaded.model.dtype)
        wanted = batch["targets"] != losses.IGNORED  # (n, tokens)
        first = int(wanted.any(dim=0).nonzero()[0])
        kept = batch["targets"].shape[1] - first  # logits of the vocabulary where no answer stands would fill memory
        logits = model(**inputs, logits_to_keep=kept, use_cache=False).logits  # (n, kept, vocabulary)
        return losses.text_loss(logits, batch["targets"][:, first:], samples)

    def evaluate(self, batch_size: int) -> dict[str, float | None]:
        """Mean loss of the validation texts; several processes share them."""
        from accelerate import PartialState
        from accelerate.utils import gather_object, send_to_device

        val, state = self.task.val, PartialState()
        if not val:
            return {}
        dealt = loader.deal(np.arange(len(val)), batch_size, state.process_index, state.num_processes)
        read = loader.batches(Encoded(val, self.loaded), dealt, self.collate, self.task.params.dataloader_num_workers)
        found = [self.loss(self.model, send_to_device(batch, self.loaded.device), len(val)).item() for batch in read]
        return {"loss": float(np.sum(gather_object(found)))}

    def save(self, folder: Any) -> None:
        """Write the adapter, as PEFT does."""
        self.loaded.model.save_pretrained(folder)

    def restore(self, folder: Any) -> None:
        """Read the adapter back."""
        self.loaded.model.load_adapter(str(folder), "default", is_trainable=True)

    def count(self) -> tuple[int, int]:
        """Parameters of the adapter, and all, as PEFT counts them: of 4-bit weights too."""
        trained, total = self.loaded.model.get_nb_trainable_parameters()
        return trained, total


def answer_tokens(loaded: gemma3.Loaded, told: Told) -> list[int]:
    """Tokens of an answer, to the one that ends it, as the chat template spells it.

    Raises:
        TrainingError: If the template spells a conversation with the answer otherwise than one that waits for it.
    """
    asked = local.conversation(loaded, told.request.messages)
    said = (*told.request.messages, Message("assistant", (Text(told.gold),)))
    whole = local.conversation(loaded, said, answered=True)
    if not whole.startswith(asked):
        raise TrainingError("the chat template of the base changes what was said when an answer follows; no LoRA on it")
    return [int(token) for token in loaded.tokenizer.encode(whole[len(asked) :].rstrip(), add_special_tokens=False)]


def digest(told: Sequence[Told]) -> str:
    """Hash of conversations and answers."""
    return files.sha256_json([[one.request.item, one.request.prompt_sha256, one.gold] for one in told])
