"""A stand-in for the first CheXagent on disk: code of its own, random weights, a processor and a tokenizer.

Its parts are of the classes of transformers that the model's own are variants of: the tower and the queries of BLIP-2,
and Mistral (tests/fakes/first_model/). It proves nothing of the real weights and code.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

CODE = Path(__file__).parent / "first_model"
SIDE_PX, PATCH_PX, QUERIES = 56, 14, 4
SPECIALS = ("<unk>", "<s>", "</s>")
WORDS = ("Yes", "No", "USER", "ASSISTANT", "Is", "there", "a", "nodule", "the", "image", "clear", ":", "?")
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": SIDE_PX,
    "patch_size": PATCH_PX,
}
QFORMER = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "encoder_hidden_size": VISION["hidden_size"],
    "cross_attention_frequency": 2,
}
TEXT = {
    "model_type": "mistral",
    "vocab_size": len(SPECIALS) + len(WORDS),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
CONFIG: dict[str, Any] = {
    "model_type": "first_standin",
    "architectures": ["FirstForConditionalGeneration"],
    "auto_map": {
        "AutoConfig": "configuration_first.FirstConfig",
        "AutoModelForCausalLM": "modeling_first.FirstForConditionalGeneration",
    },
    "num_query_tokens": QUERIES,
    "vision_config": VISION,
    "qformer_config": QFORMER,
    "text_config": TEXT,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def build(folder: Path, fault: str | None = None, seed: int = 0) -> Path:
    """Write the model, and return its folder.

    Args:
        folder: Where.
        fault: What is wrong with it (see tests/fakes/first_model/modeling_first.py).
        seed: Of its weights.
    """
    model = folder / "first.8b"  # a dot in a name: relative imports stumble over it
    shutil.copytree(CODE, model, ignore=shutil.ignore_patterns("__pycache__"))
    save_file(weights(seed), model / "model.safetensors", metadata={"format": "pt"})
    (model / "config.json").write_text(json.dumps(CONFIG | {"fault": fault}))
    preprocessor = {
        "auto_map": {"AutoProcessor": "processing_first.FirstProcessor"},
        "processor_class": "FirstProcessor",
        "image_processor_type": "BlipImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "size": {"height": SIDE_PX, "width": SIDE_PX},
        "image_mean": [0.48, 0.46, 0.41],
        "image_std": [0.27, 0.26, 0.28],
    }
    (model / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    (model / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (model / "tokenizer_config.json").write_text(json.dumps(told))
    return model


def _tokenizer() -> dict[str, Any]:
    """A word a token; a text begins with <s>, as the real tokenizer has it."""
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    begin = [{"SpecialToken": {"id": "<s>", "type_id": 0}}]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": word, **special} for number, word in enumerate(SPECIALS)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [*begin, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [*begin, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate((*SPECIALS, *WORDS))},
            "unk_token": "<unk>",
        },
    }


def weights(seed: int) -> dict[str, np.ndarray]:
    """Random weights of every part, norms aside."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in _shapes():
        spread = 0.0 if name.endswith("bias") else 1.0 / np.sqrt(shape[-1])
        found[name] = rng.normal(0.0, spread, shape).astype(np.float32)
        if "norm" in name.lower() and name.endswith("weight"):
            found[name] = np.ones(shape, np.float32)
    return found


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    vision, asked, text = VISION, QFORMER, TEXT
    patches = (SIDE_PX // PATCH_PX) ** 2
    v, q, t = vision["hidden_size"], asked["hidden_size"], text["hidden_size"]
    yield "query_tokens", (1, QUERIES, q)
    yield from _linear("language_projection", q, t)
    yield "vision_model.embeddings.class_embedding", (1, 1, v)
    yield "vision_model.embeddings.position_embedding", (1, patches + 1, v)
    yield "vision_model.embeddings.patch_embedding.weight", (v, 3, PATCH_PX, PATCH_PX)
    yield "vision_model.embeddings.patch_embedding.bias", (v,)
    yield from _norm("vision_model.post_layernorm", v)
    for number in range(vision["num_hidden_layers"]):
        layer = f"vision_model.encoder.layers.{number}"
        yield f"{layer}.self_attn.qkv.weight", (3 * v, v)
        yield f"{layer}.self_attn.qkv.bias", (3 * v,)
        yield from _linear(f"{layer}.self_attn.projection", v, v)
        yield from _linear(f"{layer}.mlp.fc1", v, vision["intermediate_size"])
        yield from _linear(f"{layer}.mlp.fc2", vision["intermediate_size"], v)
        yield from _norm(f"{layer}.layer_norm1", v)
        yield from _norm(f"{layer}.layer_norm2", v)
    yield from _norm("qformer.layernorm", q)
    for number in range(asked["num_hidden_layers"]):
        layer = f"qformer.encoder.layer.{number}"
        kinds = {"attention": q}
        if number % asked["cross_attention_frequency"] == 0:
            kinds["crossattention"] = v
        for kind, seen in kinds.items():
            yield from _linear(f"{layer}.{kind}.attention.query", q, q)
            yield from _linear(f"{layer}.{kind}.attention.key", seen, q)
            yield from _linear(f"{layer}.{kind}.attention.value", seen, q)
            yield from _linear(f"{layer}.{kind}.output.dense", q, q)
            yield from _norm(f"{layer}.{kind}.output.LayerNorm", q)
        yield from _linear(f"{layer}.intermediate_query.dense", q, asked["intermediate_size"])
        yield from _linear(f"{layer}.output_query.dense", asked["intermediate_size"], q)
        yield from _norm(f"{layer}.output_query.LayerNorm", q)
    key = t // text["num_attention_heads"] * text["num_key_value_heads"]
    yield "language_model.model.embed_tokens.weight", (text["vocab_size"], t)
    yield "language_model.lm_head.weight", (text["vocab_size"], t)
    yield "language_model.model.norm.weight", (t,)
    for number in range(text["num_hidden_layers"]):
        layer = f"language_model.model.layers.{number}"
        for name, out in (("q_proj", t), ("k_proj", key), ("v_proj", key), ("o_proj", t)):
            yield f"{layer}.self_attn.{name}.weight", (out, t)
        for name in ("gate_proj", "up_proj"):
            yield f"{layer}.mlp.{name}.weight", (text["intermediate_size"], t)
        yield f"{layer}.mlp.down_proj.weight", (t, text["intermediate_size"])
        yield f"{layer}.input_layernorm.weight", (t,)
        yield f"{layer}.post_attention_layernorm.weight", (t,)


def _linear(name: str, given: int, out: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (out, given)
    yield f"{name}.bias", (out,)


def _norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
