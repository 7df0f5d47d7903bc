"""Tiny random SiglipModel and Gemma3ForCausalLM in folders, with tokenizers, as fetch finds the real ones."""

from pathlib import Path

from stages.lib.core import files
from stages.lib.models.lofi.params import ModelParams
from stages.lib.models.snapshot import Snapshot

SIDE_PX, PATCH_PX, LENGTH = 32, 8, 64
WIDTH, HIDDEN = 32, 48
MODEL = {
    "encoder": "tiny-siglip",
    "encoder_revision": "none",
    "decoder": "tiny-gemma",
    "decoder_revision": "none",
    "dtype": "float32",
    "attention": "sdpa",
    "pooling": "queries",
    "visual_tokens": 8,
    "average_patches": False,
    "lora_r": 4,
    "decoder_lora_r": 2,
    "train_head": True,
    "train_scale": False,
}


def params(**changes) -> ModelParams:
    return ModelParams(**{**MODEL, **changes})


def tokenizer(**changes):
    """Gemma's tokenizer with the words of the demo; keeps case, as that of SigLIP2 does by itself."""
    from transformers import GemmaTokenizer

    from stages.lib.demo import tiny

    tokens, merges = tiny.vocabulary()
    given = {"add_bos_token": True, "padding_side": "left", "model_max_length": 2048, **changes}
    marks = {"sot_token": "<start_of_turn>", "eot_token": "<end_of_turn>"}
    return GemmaTokenizer(vocab=tokens, merges=merges, extra_special_tokens=marks, **given)


def encoder(folder: Path, seed: int = 0, **changes) -> Snapshot:
    """A SiglipModel with its image processor and a tokenizer."""
    import torch
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipTextConfig, SiglipVisionConfig

    found = tokenizer(add_bos_token=False)
    towers = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = SiglipTextConfig(
        **towers,
        vocab_size=len(found),
        projection_size=WIDTH,
        max_position_embeddings=LENGTH,
        bos_token_id=2,
        eos_token_id=1,
        pad_token_id=0,
    )
    vision = SiglipVisionConfig(**towers, **{"image_size": SIDE_PX, "patch_size": PATCH_PX, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SiglipModel(SiglipConfig(text_config=text.to_dict(), vision_config=vision.to_dict()))
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
        model.logit_scale.data.fill_(2.3)
        model.logit_bias.data.fill_(-3.0)
    model.eval().save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": SIDE_PX, "width": SIDE_PX}).save_pretrained(folder)
    found.save_pretrained(folder)
    return _snapshot(folder, "tiny-siglip")


def decoder(folder: Path, seed: int = 0) -> Snapshot:
    """A Gemma3ForCausalLM with its tokenizer."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    found = tokenizer()
    config = Gemma3TextConfig(
        vocab_size=len(found),
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=24,
        query_pre_attn_scalar=24,
        max_position_embeddings=512,
        sliding_window=64,
        layer_types=["sliding_attention", "full_attention"],
        eos_token_id=[1, 6],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Gemma3ForCausalLM(config)
    model.eval().save_pretrained(folder)
    found.save_pretrained(folder)
    return _snapshot(folder, "tiny-gemma")


def both(folder: Path) -> tuple[Snapshot, Snapshot]:
    """Encoder and decoder."""
    return encoder(folder / "encoder"), decoder(folder / "decoder")


def _snapshot(folder: Path, name: str) -> Snapshot:
    digest = files.sha256_file(folder / "model.safetensors")
    return Snapshot(
        base=name,
        revision="none",
        commit=None,
        folder=folder,
        sha256=digest,
        files={"model.safetensors": digest},
    )
