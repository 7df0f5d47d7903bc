"""A tiny random detector of transformers in a folder, with the record that fetch writes of one."""

import json

from stages.lib.models.snapshot import Snapshot


def folder_of(path, classes):
    """A tiny random detector of so many classes, with the file of its preprocessor."""
    import torch
    from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrV2Config(
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[16, 16, 16],
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=2,
        decoder_attention_heads=2,
        num_queries=10,
        num_denoising=4,
        num_labels=classes,
        decoder_n_points=2,
        random_weights=True,
    )
    torch.manual_seed(0)
    RTDetrV2ForObjectDetection(config).save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False, "rescale_factor": 1 / 255}))
    return Snapshot(base="tiny", revision="none", commit=None, folder=path, sha256="0" * 64, files={})
