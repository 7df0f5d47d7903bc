"""Conversations of several turns and images with a model of Gemma 3's classes, and answers to the last turn.

What many questions share, everything up to the last image, is computed once: its keys and values are kept, and each
question goes on from a copy. Vision features are handed over instead of images.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stages.lib.core.errors import ModelError
from stages.lib.models import gemma3


@dataclass(frozen=True)
class Turn:
    """A turn of a conversation.

    Attributes:
        role: Who speaks.
        text: What is said.
        image: Name of the image that stands before the text; None without one.
    """

    role: Literal["user", "model"]
    text: str
    image: str | None = None


@dataclass(frozen=True)
class Prompt:
    """A conversation as tokens.

    Attributes:
        ids: Tokens, int tensor of shape (tokens,).
        images: Names of the images, in order.
        shared: How many tokens stand up to the end of the last image.
    """

    ids: Any
    images: tuple[str, ...]
    shared: int


def encode(loaded: gemma3.Loaded, turns: Sequence[Turn], response_prefix: str = "") -> Prompt:
    """A conversation as tokens, up to where the model speaks.

    Args:
        loaded: The model.
        turns: Of the conversation; the last is the user's, and the last image stands in it.
        response_prefix: What the model has said already.

    Raises:
        ModelError: If a text holds marks of the template, so that the tokens are not those of these turns.
    """
    import torch

    processor = loaded.processor
    messages = [
        {
            "role": "assistant" if turn.role == "model" else turn.role,
            "content": [
                *([{"type": "image"}] if turn.image is not None else []),
                {"type": "text", "text": turn.text},
            ],
        }
        for turn in turns
    ]
    talk = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    images = tuple(turn.image for turn in turns if turn.image is not None)
    if talk.count(processor.boi_token) != len(images):
        raise ModelError(
            f"found {talk.count(processor.boi_token)} marks of an image, wanted {len(images)}: {turns[-1]}"
        )
    talk = talk.replace(processor.boi_token, processor.full_image_sequence) + response_prefix
    ids = torch.tensor(loaded.tokenizer.encode(talk, add_special_tokens=False), dtype=torch.long, device=loaded.device)
    places = (ids == loaded.model.config.image_token_id).nonzero().flatten()
    odd = {
        "image tokens": (len(places), len(images) * loaded.image_tokens),
        "beginnings": (int((ids == loaded.tokenizer.bos_token_id).sum()), 1),
    }
    if told := [f"{found} {name}, wanted {wanted}" for name, (found, wanted) in odd.items() if found != wanted]:
        raise ModelError(f"the conversation that ends with {turns[-1].text!r}: found {'; '.join(told)}")
    return Prompt(ids, images, int(places[-1]) + 1 if len(places) else 0)


def positions(loaded: gemma3.Loaded) -> int:
    """Most tokens that the model reads and writes together."""
    return int(loaded.model.config.get_text_config().max_position_embeddings)


def prefill(loaded: gemma3.Loaded, prompt: Prompt, features: Any) -> Any:
    """Keys and values of everything up to the end of the last image.

    Args:
        loaded: The model.
        prompt: A conversation with that beginning, and at least one image.
        features: Vision features of its images, in order, tensor of shape (images, image_tokens, hidden).
    """
    import torch
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    ids = prompt.ids[None, : prompt.shared]
    seen = BaseModelOutputWithPooling(pooler_output=features.to(loaded.device))
    with torch.inference_mode():
        return loaded.model(
            input_ids=ids,
            token_type_ids=(ids == loaded.model.config.image_token_id).long(),
            mm_encoder_outputs={"image": seen},
            use_cache=True,
            logits_to_keep=1,
        ).past_key_values


def answer(loaded: gemma3.Loaded, prompt: Prompt, kept: Any, max_new_tokens: int) -> gemma3.Generated:
    """What the model says, the likeliest word each time.

    Args:
        loaded: The model.
        prompt: The conversation.
        kept: What `prefill` made of its beginning; it stays as it is.
        max_new_tokens: The answer is cut there.
    """
    import torch

    own = copy.deepcopy(kept)
    ends = loaded.model.generation_config.eos_token_id
    ends = {ends} if isinstance(ends, int) else set(ends)
    ids = prompt.ids[None, prompt.shared :]
    said: list[int] = []
    with torch.inference_mode():
        for _ in range(max_new_tokens):
            made = loaded.model(input_ids=ids, past_key_values=own, use_cache=True, logits_to_keep=1)
            word = int(made.logits[0, -1].argmax())
            if word in ends:
                return gemma3.Generated(_text(loaded, said), cut=False)
            said.append(word)
            ids = prompt.ids.new_tensor([[word]])
    return gemma3.Generated(_text(loaded, said), cut=True)


def _text(loaded: gemma3.Loaded, words: Sequence[int]) -> str:
    return str(loaded.tokenizer.decode(words, skip_special_tokens=True))
