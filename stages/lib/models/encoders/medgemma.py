"""MedGemma's own vision tower and projector: the mean of the image tokens that its language model reads."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from stages.lib.core import params
from stages.lib.models import gemma3
from stages.lib.models.encoder import Encoder, EncoderParams, Features, Pair, PairSetting, identity, unit
from stages.lib.models.snapshot import Snapshot

READS = False  # images alone: its text side is a language model, of another space


@params.section
class Params(EncoderParams):
    """Which model."""


def encoder(params: Params, found: Snapshot) -> Encoder:
    """The tower and projector of a model of Gemma 3's classes, with the model's own preprocessing.

    Args:
        params: See `Params`.
        found: The model's files.
    """
    return Encoder(identity("medgemma", found.sha256, params.dtype), partial(_load, params, found))


def _load(params: Params, found: Snapshot) -> Features:
    held = gemma3.ModelParams(dtype=params.dtype, attention="sdpa", quantization="none", cache_features=False)
    loaded = gemma3.load(found.folder, held)

    def features(image: np.ndarray) -> np.ndarray:
        import torch

        pixels: Any = loaded.processor.image_processor(image, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            seen = loaded.model.get_image_features(
                pixels.to(loaded.device, loaded.model.dtype), return_dict=True
            ).pooler_output  # (1, image tokens, hidden)
        return np.asarray(seen.float().mean(dim=1)[0].cpu().numpy(), np.float32)

    return features


def pair(params: Params, setting: PairSetting) -> Pair:
    """The same features of normalized images, of length 1; it has no text side of this space."""
    one = encoder(params, setting.found)

    def embed(images: Sequence[np.ndarray]) -> np.ndarray:
        return unit(np.stack([one.features(np.dstack([grey] * 3)) for grey in images]))

    return Pair(one.identity, embed, None)
