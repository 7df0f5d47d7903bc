"""SigLIP: its vision side alone, which is the output of the attention-pooling head, or both sides.

Source: Zhai et al. (2023), Sigmoid loss for language image pre-training.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from stages.lib.core import params
from stages.lib.core.errors import ModelError
from stages.lib.models import gemma3
from stages.lib.models.encoder import (
    Encoder,
    EncoderParams,
    Features,
    Pair,
    PairSetting,
    Reader,
    identity,
    unit,
)
from stages.lib.models.lofi import weights, words
from stages.lib.models.snapshot import Snapshot

READS = True  # texts, too


@params.section
class Params(EncoderParams):
    """Which model."""


def encoder(params: Params, found: Snapshot) -> Encoder:
    """The vision side of a SigLIP model, with the model's own preprocessing.

    Args:
        params: See `Params`.
        found: The model's files: those of a whole SiglipModel, or of its vision side alone.
    """
    return Encoder(identity("siglip", found.sha256, params.dtype), partial(_load, params, found))


def _load(params: Params, found: Snapshot) -> Features:
    """The model.

    Raises:
        ModelError: If the files do not hold such a model, or lack a weight of it.
    """
    gemma3.quiet()
    import torch
    from transformers import AutoImageProcessor, SiglipVisionModel

    try:
        processor: Any = AutoImageProcessor.from_pretrained(found.folder, backend="pil", local_files_only=True)
        loaded: Any = SiglipVisionModel.from_pretrained(
            found.folder, dtype=getattr(torch, params.dtype), local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{found.folder}: cannot be loaded as the vision side of SigLIP: {error}") from error
    model, told = loaded
    lacking = sorted(map(str, told["missing_keys"]))
    if lacking:
        raise ModelError(f"{found.folder}: found no weights for {', '.join(lacking[:3])}, wanted a whole SigLIP model")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.eval().to(device)

    def features(image: np.ndarray) -> np.ndarray:
        pixels = processor(image, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            seen = model(pixel_values=pixels.to(device, model.dtype)).pooler_output  # (1, hidden)
        return np.asarray(seen[0].float().cpu().numpy(), np.float32)

    return features


def pair(params: Params, setting: PairSetting) -> Pair:
    """Both sides of a SigLIP model of a fixed size: images scaled to it, texts lower-cased and padded to full length.

    Raises:
        ModelError: If the files do not hold such a model, whole, with its tokenizer.
    """
    gemma3.quiet()
    import torch

    found = setting.found
    model = weights.pretrained(found.folder, "SiglipModel", params.dtype, "sdpa")
    processor = weights.image_processor(found.folder)
    tower = words.tower_words(found.folder, model.config.text_config.max_position_embeddings)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.eval().to(device)

    def embed(images: Sequence[np.ndarray]) -> np.ndarray:
        pixels = processor([np.dstack([grey] * 3) for grey in images], return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            seen = model.get_image_features(pixel_values=pixels.to(device, model.dtype)).pooler_output  # (n, d)
        return unit(seen.float().cpu().numpy())

    def read(texts: Sequence[str]) -> np.ndarray:
        ids = torch.from_numpy(tower.encode(texts)).to(device)  # (n, length), without a mask: it was trained so
        with torch.inference_mode():
            seen = model.get_text_features(input_ids=ids).pooler_output  # (n, d)
        return unit(seen.float().cpu().numpy())

    return Pair(f"{identity('siglip pair', found.sha256, params.dtype)} {device}", embed, Reader(tower.fit, read))
