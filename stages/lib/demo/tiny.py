"""A tiny base model of MedGemma's architecture: the same classes, under a million parameters, random weights.

Its folder is loaded exactly as MedGemma's is: AutoModelForImageTextToText, AutoProcessor, chat template, no network.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SIDE_PX = 112
PATCH_PX = 14
IMAGE_TOKENS = 64  # one per patch: MedGemma pools 4096 patches to 256 tokens, but here a patch is as wide as a nodule
ARCHITECTURE = "Gemma 3 ({parameters:,} parameters, float32) with MedGemma's architecture, processor and chat template,"
PARAMETERS_MOST = 870_000  # 3.5 MB of float32

SPECIAL = (
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<mask>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<end_of_image>",
    "<image_soft_token>",
)
WORDS = (  # one token each, as in Gemma; any other word is spelled in characters, any other character in bytes
    *("Yes", "No", "Answer", "Does", "Find", "Is", "Locate", "Return", "The", "There", "This"),
    *("\n\n", '"box_2d"', '"label"', '"nodule"', "▁[", ",▁"),
    *("▁a", "▁an", "▁and", "▁answer", "▁any", "▁are", "▁as", "▁bounding", "▁box", "▁boxes", "▁chest", "▁coordinates"),
    *(
        "▁does",
        "▁each",
        "▁every",
        "▁film",  # a token of the shipped base: another word here is another vocabulary
        "▁final",
        "▁finding",
        "▁findings",
        "▁find",
        "▁for",
        "▁give",
        "▁if",
        "▁image",
    ),
    *("▁in", "▁is", "▁JSON", "▁key", "▁keys", "▁list", "▁locate", "▁lung", "▁lungs", "▁no", "▁No", "▁nodule"),
    *("▁nodules", "▁none", "▁not", "▁of", "▁on", "▁only", "▁or", "▁pulmonary", "▁radiograph", "▁return", "▁show"),
    *("▁shows", "▁that", "▁the", "▁there", "▁this", "▁to", "▁visible", "▁where", "▁with", "▁word", "▁X-ray", "▁Yes"),
    *("▁Answer", "▁Find", "▁Locate", "▁Return", "user", "model"),
)
# Gemma's turns: an image stands for <start_of_image>, the answer follows "<start_of_turn>model" and a line break.
CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
{{- '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] | trim -}}
{%- else -%}
{%- for part in message['content'] -%}
{{- '<start_of_image>' if part['type'] == 'image' else part['text'] | trim -}}
{%- endfor -%}
{%- endif -%}
{{- '<end_of_turn>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<start_of_turn>model\n' -}}
{%- endif -%}
"""
# As Gemma 3 has it: what the system says stands at the head of the first turn of the user.
SYSTEM_TEMPLATE = """\
{{- bos_token -}}
{%- set said = namespace(before='') -%}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}
{%- if message['content'] is string -%}
{%- set said.before = message['content'] | trim + '\n\n' -%}
{%- else -%}
{%- for part in message['content'] -%}
{%- set said.before = said.before + part['text'] | trim + '\n\n' -%}
{%- endfor -%}
{%- endif -%}
{%- else -%}
{{- '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' + said.before -}}
{%- set said.before = '' -%}
{%- if message['content'] is string -%}
{{- message['content'] | trim -}}
{%- else -%}
{%- for part in message['content'] -%}
{{- '<start_of_image>' if part['type'] == 'image' else part['text'] | trim -}}
{%- endfor -%}
{%- endif -%}
{{- '<end_of_turn>\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<start_of_turn>model\n' -}}
{%- endif -%}
"""


@dataclass(frozen=True)
class Language:
    """What a tiny base reads and writes.

    Attributes:
        words: One token each.
        chat_template: Jinja template of a conversation.
    """

    words: tuple[str, ...]
    chat_template: str


CHEST = Language(WORDS, CHAT_TEMPLATE)
SLICES = Language(
    (
        *(word for word in WORDS if word != ",▁"),  # a comma of a list of boxes; behind others stands a word
        *("Describe", "What", "You", "▁You", "▁There", "▁A", "▁Describe", "▁What", "▁do", "▁you", "▁see", "▁seen"),
        *("▁radiologist", "▁images", "▁CT", "▁MR", "▁mass", "▁cyst", "▁calcification", "▁collection", "▁large"),
        *("▁small", "▁left", "▁right", "▁head", "▁thorax", "▁abdomen", "▁spine", "▁pelvis", "▁other"),
    ),
    SYSTEM_TEMPLATE,
)


def vocabulary(words: tuple[str, ...] = WORDS) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Tokens with their numbers, and the merges of a byte-fallback BPE that makes each of `words` one token.

    A word is merged from its left end, or of "▁" (the space before it) and a word that came earlier; digits are never
    merged, as in Gemma.

    >>> tokens, merges = vocabulary()
    >>> ("Ye", "s") in merges, "12" in tokens, tokens["<bos>"]
    (True, False, 2)
    """
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "\n", *map(chr, range(33, 127))]
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        if word[1:] in words:
            merges[word[0], word[1:]] = None
            continue
        for end in range(1, len(word)):
            merges[word[:end], word[end]] = None
    tokens += [left + right for left, right in merges]
    return {token: number for number, token in enumerate(tokens)}, list(merges)


def configuration(vocabulary_size: int) -> Any:
    """Gemma 3 configuration of the tiny base."""
    from transformers import Gemma3Config, Gemma3TextConfig, SiglipVisionConfig

    text = Gemma3TextConfig(
        vocab_size=vocabulary_size,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        query_pre_attn_scalar=32,
        max_position_embeddings=2048,
        sliding_window=512,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        eos_token_id=[SPECIAL.index("<eos>"), SPECIAL.index("<end_of_turn>")],
    )
    vision = SiglipVisionConfig(
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE_PX,
        patch_size=PATCH_PX,
        vision_use_head=False,
    )
    return Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=IMAGE_TOKENS,
        boi_token_index=SPECIAL.index("<start_of_image>"),
        eoi_token_index=SPECIAL.index("<end_of_image>"),
        image_token_index=SPECIAL.index("<image_soft_token>"),
        eos_token_id=text.eos_token_id,  # type: ignore[call-arg]
    )


def processor(language: Language = CHEST) -> Any:
    """Processor: tokenizer, chat template, and an image processor without torchvision."""
    from transformers import Gemma3ImageProcessorPil, Gemma3Processor, GemmaTokenizer

    tokens, merges = vocabulary(language.words)
    tokenizer = GemmaTokenizer(
        vocab=tokens,
        merges=merges,  # type: ignore[arg-type]
        add_bos_token=True,
        padding_side="left",
        model_max_length=2048,
        extra_special_tokens={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
            "sot_token": "<start_of_turn>",
            "eot_token": "<end_of_turn>",
        },
    )
    image_processor = Gemma3ImageProcessorPil(
        size={"height": SIDE_PX, "width": SIDE_PX}, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]
    )
    return Gemma3Processor(
        image_processor, tokenizer, chat_template=language.chat_template, image_seq_length=IMAGE_TOKENS
    )


def build(folder: Path, seed: int, language: Language = CHEST) -> None:
    """Write a tiny base with random weights to `folder`, as a folder that `from_pretrained` loads offline.

    Args:
        folder: Where to; made if missing.
        seed: Decides the weights. The global random state of torch stays as it was.
        language: What it reads and writes.
    """
    import torch
    from transformers import Gemma3ForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    tokens, _ = vocabulary(language.words)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Gemma3ForConditionalGeneration(configuration(len(tokens)))
        projection = model.model.multi_modal_projector.mm_input_projection_weight
        torch.nn.init.normal_(projection, std=projection.shape[0] ** -0.5)  # zero as made: no image would get through
    save(folder, model, language)


def save(folder: Path, model: Any, language: Language = CHEST) -> None:
    """Write `model` in float32, and the processor with it, to `folder`."""
    model.float().save_pretrained(folder)
    processor(language).save_pretrained(folder)


def parameters(files: Iterable[Path]) -> int:
    """How many parameters the models in safetensors files have, read from their headers."""
    from safetensors import safe_open

    total = 0
    for file in files:
        with safe_open(file, framework="np") as weights:
            total += sum(int(np.prod(weights.get_slice(name).get_shape())) for name in weights.keys())  # noqa: SIM118
    return total
