"""A stand-in for CheXagent-2 on disk: code of its own, weights, tokenizer, and a second folder for the encoder.

It goes the ways that the real model goes (tests/fakes/standin_model/). It proves nothing of the real weights and code.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

CODE = Path(__file__).parent / "standin_model"
SIDE_PX, PATCH_PX, HIDDEN = 64, 4, 4
MARKS = ("<|im_start|>", "<|im_end|>", "<|pad|>", "<|img|>", "<|/img|>", "<|imgpad|>")
SPECIALS = {mark: 256 + number for number, mark in enumerate((*MARKS, "<|ref|>", "<|/ref|>", "<|box|>", "<|/box|>"))}
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['from'] }}\n{{ message['value'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build(folder: Path, fault: Any = None, seconds: float = 0.0, *, whole: bool = True) -> tuple[Path, Path]:
    """Write model and encoder below `folder`, and return the two folders.

    Args:
        folder: Where.
        fault: What is wrong with it (see tests/fakes/standin_model/modeling_standin.py).
        seconds: How long an answer takes.
        whole: Whether the model's weights hold those of the encoder, as they have to.
    """
    encoder, model = folder / "encoder", folder / "model.v2"  # a dot in a name: relative imports stumble over it
    encoder.mkdir(parents=True)
    shutil.copytree(CODE, model, ignore=shutil.ignore_patterns("__pycache__"))
    vision = {
        "model_type": "siglip_vision_model",
        "architectures": ["SiglipVisionModel"],
        "hidden_size": HIDDEN,
        "intermediate_size": HIDDEN,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": SIDE_PX,
        "patch_size": PATCH_PX,
    }
    (encoder / "config.json").write_text(json.dumps(vision))
    weights = encoder_weights()
    save_file(weights, encoder / "model.safetensors", metadata={"format": "pt"})
    own: dict[str, np.ndarray] = {"certainty": np.array(10.0, np.float32)}
    own |= {f"visual.{name}": value for name, value in weights.items()} if whole else {}
    save_file(own, model / "model.safetensors", metadata={"format": "pt"})
    config = {
        "model_type": "standin_chexagent",
        "architectures": ["StandInForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_standin.StandInConfig",
            "AutoModelForCausalLM": "modeling_standin.StandInForCausalLM",
        },
        "visual": {"vision_model_name_or_path": "nobody/no-encoder-of-this-name"},
        "specials": SPECIALS,
        "eos_token_id": SPECIALS["<|im_end|>"],
        "fault": fault,
        "seconds": seconds,
    }
    (model / "config.json").write_text(json.dumps(config))
    (model / "vocab.txt").write_text("")
    tokenizer = {
        "tokenizer_class": "StandInTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_standin.StandInTokenizer", None]},
        "chat_template": CHAT,
        "eos_token": "<|im_end|>",
        "pad_token": "<|pad|>",
        "added_tokens_decoder": {
            str(number): {"content": mark, "special": True, "normalized": False, "lstrip": False, "rstrip": False}
            for mark, number in SPECIALS.items()
        },
    }
    (model / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return model, encoder


def encoder_weights() -> dict[str, np.ndarray]:
    """Weights of a vision encoder whose patch embedding is the mean brightness of each patch."""
    patches = (SIDE_PX // PATCH_PX) ** 2
    square, line = (HIDDEN, HIDDEN), (HIDDEN,)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.patch_embedding.weight": (HIDDEN, 3, PATCH_PX, PATCH_PX),
        "embeddings.patch_embedding.bias": line,
        "embeddings.position_embedding.weight": (patches, HIDDEN),
        "post_layernorm.weight": line,
        "post_layernorm.bias": line,
        "head.probe": (1, 1, HIDDEN),
        "head.attention.in_proj_weight": (3 * HIDDEN, HIDDEN),
        "head.attention.in_proj_bias": (3 * HIDDEN,),
        "head.attention.out_proj.weight": square,
        "head.attention.out_proj.bias": line,
        "head.layernorm.weight": line,
        "head.layernorm.bias": line,
    }
    for place in ("head", "encoder.layers.0"):
        for layer in ("fc1", "fc2"):
            shapes |= {f"{place}.mlp.{layer}.weight": square, f"{place}.mlp.{layer}.bias": line}
    for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
        shapes |= {f"encoder.layers.0.self_attn.{name}.weight": square, f"encoder.layers.0.self_attn.{name}.bias": line}
    for name in ("layer_norm1", "layer_norm2"):
        shapes |= {f"encoder.layers.0.{name}.weight": line, f"encoder.layers.0.{name}.bias": line}
    weights = {f"vision_model.{name}": np.zeros(shape, np.float32) for name, shape in shapes.items()}
    weights["vision_model.embeddings.patch_embedding.weight"][0] = 1 / (3 * PATCH_PX**2)
    return weights


def image(u: float, v: float, *, side_px: int = 128, radius: float = 0.06, seed: int = 0) -> np.ndarray:
    """A dim image of noise with a bright disc at (u, v), in fractions of the side: uint8, (side_px, side_px)."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(20, 60, (side_px, side_px)).astype(np.uint8)
    places = (np.arange(side_px) + 0.5) / side_px
    pixels[np.hypot(places[None, :] - u, places[:, None] - v) < radius] = 230
    return pixels
