"""A tiny SigLIP of random weights in a folder, with the record that fetch writes of one."""

from pathlib import Path

from stages.lib.core import files
from stages.lib.models.snapshot import Snapshot

SIDE_PX = 28


def build(folder: Path, *, vision_only: bool = False, seed: int = 0) -> Snapshot:
    """Write a SiglipModel, or its vision side alone, with its image processor."""
    import torch
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipTextConfig, SiglipVisionConfig

    text = SiglipTextConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=32,
        projection_size=32,
        max_position_embeddings=8,
        bos_token_id=1,
        eos_token_id=2,
    )
    vision = SiglipVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE_PX,
        patch_size=14,
    )
    torch.manual_seed(seed)
    model = SiglipModel(SiglipConfig(text_config=text.to_dict(), vision_config=vision.to_dict())).eval()
    kept = type(model.vision_model)(vision).eval() if vision_only else model
    if vision_only:
        kept.load_state_dict(model.vision_model.state_dict())
    kept.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": SIDE_PX, "width": SIDE_PX}).save_pretrained(folder)
    digest = files.sha256_file(folder / "model.safetensors")
    return Snapshot(
        base="tiny-siglip",
        revision="none",
        commit=None,
        folder=folder,
        sha256=digest,
        files={"model.safetensors": digest},
    )
