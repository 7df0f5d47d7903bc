"""A model of Gemma 3's classes in this process, asked as a server would be.

A conversation goes through the model's own chat template and processor, as in `transformers serve`, so both give the
same text. Answers are made in batches of conversations with as many tokens and images, so that nothing is padded. Drawn
ones have each a generator of its own seed, so that an answer does not depend on what else is asked.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from stages.lib.core import files, params
from stages.lib.core.errors import ImageError
from stages.lib.models import adapters, gemma3, snapshot
from stages.lib.models.arm import NONE, Setting
from stages.lib.models.chat.request import Message, Picture, Reply, Request, Sampling, Text, Usage

HASH_DIGITS = 16
LEAST_TOP_P = 1e-6  # of which the most probable token alone is left
LEAST_UNIFORM = 1e-300  # a draw of 0 has no logarithm


@params.section
class LocalParams:
    """Which model, and how it is held in memory."""

    model: params.Text  # folder, or id of a model on huggingface.co
    revision: params.Text  # commit, tag or branch on the hub; none for a folder
    adapter: params.Text  # folder of a trained adapter; none
    dtype: Literal["bfloat16", "float32"]  # of all weights that are not quantized
    attention: Literal["sdpa", "eager"]
    quantization: Literal["nf4", "none"]
    batch_size: params.Count  # answers made at once; in bfloat16 only 1 gives the same bytes whatever else is asked
    dollars_per_gpu_hour: params.NonNegativeFloat  # 0.0 where it costs nothing

    @property
    def held(self) -> gemma3.ModelParams:
        """How it is held in memory."""
        return gemma3.ModelParams(
            dtype=self.dtype, attention=self.attention, quantization=self.quantization, cache_features=False
        )


class Local:
    """A responder on a model in memory; it is loaded when it is first asked, and not for answers that are kept.

    Args:
        load: Loads the model.
        name: What requests call it.
        revision: Hash of its weights, and of the adapter's.
        batch_size: Answers made at once.
    """

    def __init__(self, load: Callable[[], gemma3.Loaded], name: str, revision: str, batch_size: int) -> None:
        self._load, self.name, self.revision, self.batch_size = load, name, revision, batch_size

    @cached_property
    def loaded(self) -> gemma3.Loaded:
        """The model."""
        return self._load()

    def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """Number and reply of each request; those that can be answered together stand together."""
        for numbers in self._batches(requests):
            began = time.monotonic()
            ready: dict[int, dict[str, Any]] = {}
            for number in numbers:
                try:
                    ready[number] = inputs(self.loaded, requests[number])
                except (ImageError, OSError, ValueError) as error:
                    yield number, Reply("error", problem=str(error), model=self.name)
            made = self._generate(list(ready.values()), [requests[number].sampling for number in ready])
            seconds = (time.monotonic() - began) / max(len(ready), 1)
            for number, answer in zip(ready, made, strict=True):
                yield number, replace(answer, seconds=seconds, total_seconds=seconds)

    def _batches(self, requests: Sequence[Request]) -> Iterator[list[int]]:
        """Numbers of the requests that are answered at once, in the order of the first of each group."""
        groups: dict[Any, list[int]] = {}
        for number, request in enumerate(requests):
            key = (*_length(self.loaded, request), replace(request.sampling, seed=None))
            groups.setdefault(key, []).append(number)
        for group in groups.values():
            for start in range(0, len(group), self.batch_size):
                yield group[start : start + self.batch_size]

    def _generate(self, ready: Sequence[Mapping[str, Any]], sampling: Sequence[Sampling]) -> list[Reply]:
        """Replies to conversations with the same number of tokens; where memory does not suffice, half at a time."""
        import torch

        if not ready:
            return []
        try:
            return [
                Reply(
                    "ok",
                    text=one.text,
                    finish_reason="length" if one.cut else "stop",
                    model=self.name,
                    usage=Usage(prompt_tokens=one.prompt_tokens, completion_tokens=one.tokens),
                )
                for one in respond(self.loaded, ready, sampling)
            ]
        except torch.OutOfMemoryError:
            half = len(ready) // 2
        if not half:
            problem = "out of GPU memory for one answer; choose a smaller model, fewer images or quantization nf4"
            return [Reply("error", problem=problem, model=self.name)]
        return [*self._generate(ready[:half], sampling[:half]), *self._generate(ready[half:], sampling[half:])]


@dataclass(frozen=True)
class Response:
    """Generated text of one conversation.

    Attributes:
        text: Without special tokens.
        cut: Whether it ended at the limit of tokens.
        prompt_tokens: Tokens of the conversation, those of images included.
        tokens: Tokens of the answer, the one that ends it included.
    """

    text: str
    cut: bool
    prompt_tokens: int
    tokens: int


def responder(params: LocalParams, setting: Setting) -> Local:
    """The model of a row.

    Raises:
        DocumentError: If the record of its files is missing.
        ModelError: If the files are not there.
    """
    found = snapshot.read(setting.path("fetched"))
    adapter = adapter_of(params, setting)
    revision = found.sha256[:HASH_DIGITS]
    if adapter is not None:
        revision += f"+{files.sha256_file(adapter / adapters.WEIGHTS)[:HASH_DIGITS]}"
    return Local(
        partial(gemma3.load, found.folder, params.held, adapter=adapter), found.base, revision, params.batch_size
    )


def adapter_of(params: LocalParams, setting: Setting) -> Path | None:
    """Folder of the row's adapter, where it was given or where the row says."""
    return None if params.adapter == NONE else setting.adapter or Path(params.adapter)


def inputs(loaded: gemma3.Loaded, request: Request) -> dict[str, Any]:
    """What the model takes for a conversation, through its own processor, not on its device yet.

    Returns:
        input_ids, attention_mask and token_type_ids, int tensors of shape (1, tokens); with images also pixel_values,
        of shape (images, 3, side_px, side_px).

    Raises:
        ImageError: If an image cannot be read.
        ValueError: If a text holds the model's own tokens of an image, or the conversation is too long for it.
    """
    from stages.lib.images import pictures

    shown = [part for message in request.messages for part in message.parts if isinstance(part, Picture)]
    images = [pictures.rgb(pictures.sent(part.path, part.pixels)[0]) for part in shown]
    talk = conversation(loaded, request.messages)
    marks = talk.count(loaded.processor.boi_token)
    if marks != len(images):
        raise ValueError(f"found {marks} marks of an image in the texts, wanted {len(images)}, one for each image")
    found = loaded.processor(
        text=[talk], images=[images] if images else None, add_special_tokens=False, return_tensors="pt"
    )
    tokens, most = found["input_ids"].shape[1], loaded.model.config.get_text_config().max_position_embeddings
    if tokens + request.sampling.max_tokens > most:
        raise ValueError(f"found {tokens} tokens and {request.sampling.max_tokens} to come, wanted at most {most}")
    names = ("input_ids", "attention_mask", "token_type_ids", "pixel_values")
    return {name: found[name] for name in names if name in found}


def respond(loaded: gemma3.Loaded, ready: Sequence[Mapping[str, Any]], sampling: Sequence[Sampling]) -> list[Response]:
    """Responses to conversations that have the same number of tokens and images, drawn alike but for their seeds."""
    import torch

    batch = {name: torch.cat([one[name] for one in ready]).to(loaded.device) for name in ready[0]}
    if "pixel_values" in batch:
        batch["pixel_values"] = batch["pixel_values"].to(loaded.model.dtype)
    drawn = [drawing(sampling)] if sampling[0].temperature > 0 else []
    with torch.inference_mode():
        words = loaded.model.generate(
            **batch,
            do_sample=False,  # drawn ones too: what is highest after the noise is what was drawn
            temperature=None,
            top_p=None,
            top_k=None,
            logits_processor=drawn,
            max_new_tokens=sampling[0].max_tokens,
            use_cache=True,
            pad_token_id=loaded.tokenizer.pad_token_id,
        )
    length = batch["input_ids"].shape[1]
    ends = {int(end) for end in torch.as_tensor(loaded.model.generation_config.eos_token_id).flatten()}
    responses = []
    for row in words[:, length:].tolist():  # padded behind the token that ends a response
        end = next((place for place, token in enumerate(row) if token in ends), None)
        made = row if end is None else row[: end + 1]
        text = loaded.tokenizer.decode(made, skip_special_tokens=True)
        responses.append(Response(text, end is None, length, len(made)))
    return responses


def drawing(sampling: Sequence[Sampling]) -> Callable[[Any, Any], Any]:
    """Noise on logits, by which the highest one is a token drawn at a temperature from the most probable ones.

    Each row has a generator of its own seed, on the processor, so that its draws are the same in any batch and on any
    device.

    Source: the Gumbel-max trick (Gumbel, Statistical Theory of Extreme Values, 1954; Maddison, Tarlow and Minka, A*
    Sampling, 2014, section 2): argmax of log p + g, g = -log(-log(u)) and u uniform, is a draw from p.

    Args:
        sampling: Of each row; temperature and top_p are those of the first.

    Returns:
        Takes the tokens so far and the logits of the next one, float tensor of shape (n, vocabulary), as transformers
        calls it; returns noisy logits.
    """
    import torch
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

    warpers = LogitsProcessorList([TemperatureLogitsWarper(sampling[0].temperature)])
    if sampling[0].top_p < 1:
        warpers.append(TopPLogitsWarper(max(sampling[0].top_p, LEAST_TOP_P)))
    generators = [torch.Generator().manual_seed(one.seed or 0) for one in sampling]

    def noisy(tokens: Any, logits: Any) -> Any:
        uniform = torch.stack([torch.rand(logits.shape[1], generator=one, dtype=torch.float64) for one in generators])
        gumbel = -(-uniform.clamp(min=LEAST_UNIFORM).log()).log()
        return warpers(tokens, logits).double() + gumbel.to(logits.device)

    return noisy


def conversation(loaded: gemma3.Loaded, messages: Sequence[Message], *, answered: bool = False) -> str:
    """Conversation as the model's chat template spells it.

    Args:
        loaded: The model.
        messages: The turns.
        answered: Whether its last turn is the answer; else the text ends where the answer begins.
    """
    turns = [
        {
            "role": message.role,
            "content": [
                {"type": "text", "text": part.text} if isinstance(part, Text) else {"type": "image"}
                for part in message.parts
            ],
        }
        for message in messages
    ]
    return str(loaded.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=not answered))


def _length(loaded: gemma3.Loaded, request: Request) -> tuple[int, int]:
    """Tokens and images of a conversation, told from its text alone."""
    talk = conversation(loaded, request.messages)
    images = sum(isinstance(part, Picture) for message in request.messages for part in message.parts)
    whole = talk.replace(loaded.processor.boi_token, loaded.processor.full_image_sequence)
    return len(loaded.tokenizer.encode(whole, add_special_tokens=False)), images
