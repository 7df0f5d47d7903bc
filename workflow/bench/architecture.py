"""The real model's architecture without its weights, to count the operations of an image without computing them."""

from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.models import gemma3, prompts

DEMO_BASE = Path(__file__).parents[1] / "demo_base"


def real_4b() -> Any:
    """Gemma 3 4B, which is MedGemma's architecture, on the meta device."""
    import torch
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3TextConfig, SiglipVisionConfig

    text = Gemma3TextConfig(
        vocab_size=262208,
        hidden_size=2560,
        intermediate_size=10240,
        num_hidden_layers=34,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=256,
    )
    vision = SiglipVisionConfig(
        hidden_size=1152,
        intermediate_size=4304,
        num_hidden_layers=27,
        num_attention_heads=16,
        image_size=896,
        patch_size=14,
        vision_use_head=False,
    )
    with torch.device("meta"):
        return Gemma3ForConditionalGeneration(Gemma3Config(text_config=text, vision_config=vision))


class Words:
    """A tokenizer that knows two words: which tokens they are does not change the work."""

    unk_token_id = -1

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """One token for an answer."""
        return [len(text)]

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        """Names of tokens, for errors."""
        return [str(one) for one in ids]


def loaded(model: Any, prompt: prompts.PromptParams, text_tokens: int) -> gemma3.Loaded:
    """`real_4b`, bare or in a PEFT model, as the project's own functions take it.

    Args:
        model: The model.
        prompt: The question; its tokens have no values on the meta device, only their number counts.
        text_tokens: Tokens of the conversation beside those of the image.
    """
    import torch

    image = model.config.mm_tokens_per_image
    ids = torch.zeros((1, image + text_tokens), dtype=torch.long, device="meta")
    tokens = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    return gemma3.Loaded(
        model=model,
        processor=None,
        tokenizer=None,
        device=torch.device("meta"),
        side_px=model.config.vision_config.image_size,
        image_tokens=image,
        greys=torch.zeros((3, 256), device="meta"),
        tokens={(prompt.question, prompt.image_first): tokens},
    )


def text_tokens(prompt: prompts.PromptParams) -> int:
    """Tokens of the project's conversation beside those of the image, in the demo's tokenizer.

    It knows the words of the question as Gemma's does; the real one may need a token or two more.
    """
    demo = gemma3.load(
        DEMO_BASE, gemma3.ModelParams(dtype="float32", attention="sdpa", quantization="none", cache_features=False)
    )
    blank = np.zeros((1, demo.side_px, demo.side_px), dtype=np.uint8)
    batch = gemma3.encode(demo, blank, prompt.question, image_first=prompt.image_first)
    return int(batch["input_ids"].shape[1]) - demo.image_tokens
