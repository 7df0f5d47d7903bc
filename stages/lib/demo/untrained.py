"""Tiny models of real classes with random weights, in folders that load as the real ones do.

They know nothing, and say so in config.json. They stand in where real weights cannot be had: code that loads, shows
images and reads tokens runs through the same classes.
"""

from collections.abc import Callable, Mapping
from math import log
from pathlib import Path
from typing import Any

from stages.lib.core import files
from stages.lib.models.preprocessor import FILE

WIDTH, HEADS, DEPTH = 32, 2, 2
PATCH_PX = 14  # of SigLIP, DINOv2 and Qwen2.5-VL
CELL_PX = 16  # of DINOv3's patches and of the last map of the CNNs, whose originals have 32
PAD, END = 0, 1  # of SigLIP's tokens
LENGTH = 128  # tokens that SigLIP's text side reads, a byte each; 64 words in the original
MERGED = 2  # patches along a side of an image token of Qwen2.5-VL
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
KERAS = ([0.485, 0.456, 0.406], [0.47853944, 0.4732864, 0.47434163])  # as Google's EfficientNets have it
HALF = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
# Qwen2.5-VL's own names of its special tokens, in its own order.
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
ANSWERS = ("Yes", "No", "yes", "no", "True", "False", "Present", "Absent", "Abnormal", "Normal", "A", "B")  # one token
# Turns between <|im_start|> and <|im_end|>; an image stands for one <|image_pad|> between its two marks.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{{- '<|vision_start|><|image_pad|><|vision_end|>' if part['type'] == 'image' else part['text'] -}}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\n' -}}
{%- endif -%}
"""


def _dinov3(side_px: int) -> Any:
    from transformers import DINOv3ViTConfig

    return DINOv3ViTConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        num_register_tokens=4,
        image_size=side_px,
        patch_size=CELL_PX,
    )


def _dinov2(side_px: int) -> Any:
    from transformers import Dinov2Config

    return Dinov2Config(
        hidden_size=WIDTH,
        mlp_ratio=2,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        image_size=side_px,
        patch_size=PATCH_PX,
    )


def _siglip(side_px: int) -> Any:
    from transformers import SiglipConfig

    shape = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": HEADS,
    }
    text = {
        "vocab_size": len(_siglip_tokenizer()),
        "max_position_embeddings": LENGTH,
        "projection_size": WIDTH,
        "pad_token_id": PAD,
        "bos_token_id": END,
        "eos_token_id": END,
    }
    return SiglipConfig(text_config=shape | text, vision_config=shape | {"image_size": side_px, "patch_size": PATCH_PX})


def _siglip_tokenizer() -> Any:
    """A token for each byte of a text in lower case, the end, then padding on the right: no two texts read alike."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pad, end = "<pad>", "</s>"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    found = Tokenizer(models.BPE({token: number for number, token in enumerate((pad, end, *letters))}, []))
    found.normalizer = normalizers.Lowercase()
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.post_processor = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, END)])
    return PreTrainedTokenizerFast(
        tokenizer_object=found, pad_token=pad, eos_token=end, padding_side="right", model_max_length=LENGTH
    )


def _efficientnet(side_px: int) -> Any:
    from transformers import EfficientNetConfig

    width = 0.05
    return EfficientNetConfig(
        image_size=side_px,
        width_coefficient=width,
        depth_coefficient=1.0,
        kernel_sizes=(3, 3, 5, 3),
        in_channels=(32, 160, 320, 480),
        out_channels=(160, 320, 480, 640),
        strides=(1, 2, 2, 2),
        num_block_repeats=(1, 1, 1, 1),
        expand_ratios=(1, 4, 4, 4),
        hidden_dim=round(1280 * width),  # of another width, the head's norm fails
    )


def _convnext(side_px: int) -> Any:
    from transformers import ConvNextV2Config

    return ConvNextV2Config(image_size=side_px, num_stages=3, hidden_sizes=[16, 32, 48], depths=[1, 1, 1], patch_size=4)


def _resnet(side_px: int) -> Any:
    from transformers import ResNetConfig

    return ResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 48], depths=[1, 1, 1], layer_type="basic")


def _qwen(side_px: int) -> Any:
    from transformers import Qwen2_5_VLConfig

    tokens = _qwen_tokenizer()
    numbers = dict(zip(SPECIAL, tokens.convert_tokens_to_ids(list(SPECIAL)), strict=True))
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokens),
            "hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "num_hidden_layers": DEPTH,
            "num_attention_heads": HEADS,
            "num_key_value_heads": 1,
            "max_position_embeddings": 2048,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
            "bos_token_id": numbers["<|endoftext|>"],
            "eos_token_id": numbers["<|im_end|>"],
            "pad_token_id": numbers["<|endoftext|>"],
        },
        vision_config={
            "depth": DEPTH,
            "hidden_size": WIDTH,
            "out_hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "num_heads": HEADS,
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGED,
            "window_size": 4 * PATCH_PX * MERGED,
            "fullatt_block_indexes": [DEPTH - 1],
        },
        image_token_id=numbers["<|image_pad|>"],
        video_token_id=numbers["<|video_pad|>"],
        vision_start_token_id=numbers["<|vision_start|>"],
        vision_end_token_id=numbers["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def _qwen_tokenizer() -> Any:
    """Byte-level BPE as Qwen's, in which each of `ANSWERS` is one token, with and without a space before it."""
    from tokenizers import pre_tokenizers
    from transformers import Qwen2Tokenizer

    merges: dict[tuple[str, str], None] = {}
    for word in ANSWERS:
        for end in range(1, len(word)):
            merges[word[:end], word[end]] = None
        merges["Ġ", word] = None
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *dict.fromkeys(left + right for left, right in merges)]
    tokens = Qwen2Tokenizer(
        vocab={word: number for number, word in enumerate((*words, *SPECIAL))},
        merges=list(merges),  # type: ignore[arg-type]
        model_max_length=2048,
        extra_special_tokens=list(SPECIAL[1:]),
    )
    tokens.chat_template = CHAT_TEMPLATE
    return tokens


CONFIGURATIONS: Mapping[str, Callable[[int], Any]] = {
    "DINOv3ViTModel": _dinov3,
    "Dinov2Model": _dinov2,
    "SiglipModel": _siglip,
    "EfficientNetForImageClassification": _efficientnet,
    "ConvNextV2ForImageClassification": _convnext,
    "ResNetForImageClassification": _resnet,
    "Qwen2_5_VLForConditionalGeneration": _qwen,
}
STEPS = {  # what has to divide the side of the images
    "DINOv3ViTModel": CELL_PX,
    "Dinov2Model": PATCH_PX,
    "SiglipModel": PATCH_PX,
    "EfficientNetForImageClassification": CELL_PX,
    "ConvNextV2ForImageClassification": CELL_PX,
    "ResNetForImageClassification": CELL_PX,
    "Qwen2_5_VLForConditionalGeneration": PATCH_PX * MERGED,
}
PROCESSORS = {  # image processor, mean and deviation, as the originals have them
    "DINOv3ViTModel": ("DINOv3ViTImageProcessorFast", IMAGENET),
    "Dinov2Model": ("BitImageProcessor", IMAGENET),
    "SiglipModel": ("SiglipImageProcessor", HALF),
    "EfficientNetForImageClassification": ("EfficientNetImageProcessor", KERAS),
    "ConvNextV2ForImageClassification": ("ConvNextImageProcessor", IMAGENET),
    "ResNetForImageClassification": ("ConvNextImageProcessor", IMAGENET),
    "Qwen2_5_VLForConditionalGeneration": ("Qwen2VLImageProcessor", CLIP),
}


def build(folder: Path, architecture: str, seed: int, side_px: int) -> None:
    """Write a model of random weights to `folder`, with what reads images, and text where the class does.

    Args:
        folder: Where to; made if missing.
        architecture: One of `CONFIGURATIONS`.
        seed: Decides the weights. The global random state of torch stays as it was.
        side_px: Side of the images, a multiple of the class's step.
    """
    import torch
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    config = CONFIGURATIONS[architecture](side_px)
    config.random_weights = True
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, architecture)(config)
        _liven(model)
    model.float().eval().save_pretrained(folder)
    files.write_json(folder / FILE, _processor(architecture, side_px))
    if architecture == "SiglipModel":
        _siglip_tokenizer().save_pretrained(folder)
    if architecture.startswith("Qwen2_5_VL"):
        _qwen_tokenizer().save_pretrained(folder)


def _liven(model: Any) -> None:
    """Values that let outputs depend on inputs, where those that a class begins with do not.

    Of CNNs see `image_network.liven`. SigLIP's scale and bias begin as its training does (Zhai et al., 2023, 3.2).
    """
    from torch import nn

    from stages.lib.models import image_network

    if hasattr(model, "logit_scale"):
        nn.init.constant_(model.logit_scale, log(10))
        nn.init.constant_(model.logit_bias, -10.0)

    image_network.liven(model)


def _processor(architecture: str, side_px: int) -> dict[str, Any]:
    """Document of preprocessor_config.json."""
    kind, (mean, deviation) = PROCESSORS[architecture]
    common = {
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": mean,
        "image_std": deviation,
        "image_processor_type": kind,
    }
    if kind.startswith("Qwen2VL"):
        sizes = {"min_pixels": side_px**2, "max_pixels": side_px**2}
        return common | sizes | {"patch_size": PATCH_PX, "temporal_patch_size": 2, "merge_size": MERGED}
    if kind.startswith("ConvNext"):
        return common | {"size": {"shortest_edge": side_px}, "crop_pct": 1.0}
    if kind.startswith("EfficientNet"):
        common |= {"include_top": True, "rescale_offset": False}
    return common | {"do_center_crop": False, "size": {"height": side_px, "width": side_px}}
