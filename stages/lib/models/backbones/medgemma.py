"""The vision tower of the study's base: its patch tokens before the projector, and behind it what `train` keeps.

Tower and projector run once for an image at a place, and each image alone, so that what is kept is bit by bit what
`train` would have computed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.core.errors import ModelError
from stages.lib.models import features, first_use, gemma3, model_class, operations
from stages.lib.models.backbone import Backbone, BackboneParams, BackboneSetting, Facts, Tokens, finite


def load(params: BackboneParams, setting: BackboneSetting) -> Backbone:
    """The tower of a model of MedGemma's architecture, held as `nodules.model` says.

    Args:
        params: Its class, and the side of the images: the side that the tower takes.
        setting: Where the base is, and how it is held.

    Raises:
        ModelError: If the folder does not hold such a model, or the row's class or side is another.
    """
    row, folder = setting.row, setting.found.folder
    if setting.model is None:
        raise ModelError(f"{row}: found no nodules.model, wanted it: how the base is held in memory")
    if params.architecture != first_use.ARCHITECTURE:
        raise ModelError(f"{row}: architecture: found {params.architecture}, wanted {first_use.ARCHITECTURE}")
    document = model_class.check(folder, (params.architecture,), row)
    held = setting.model
    loaded = gemma3.load(folder, held)
    if params.side_px != loaded.side_px:
        raise ModelError(
            f"{row}: side_px {params.side_px}: wanted {loaded.side_px} px, which the tower of {folder} takes"
        )
    tower = loaded.model.model.vision_tower
    patch_px = int(tower.config.patch_size)
    rows = params.side_px // patch_px
    facts = Facts(
        architecture=params.architecture,
        identity=features.identity(loaded),
        parameters=sum(one.numel() for one in tower.parameters()),
        operations=operations_of(tower.config),
        features=int(tower.config.hidden_size),
        rows=rows,
        prefix=0,
        patch_px=patch_px,
        random_weights=model_class.has_random_weights(document),
    )

    def tokens(images: Sequence[np.ndarray]) -> Tokens:
        import torch

        seen = [gemma3.vision(loaded, [image]) for image in images]
        patches = torch.cat([one.patches for one in seen]).float().cpu().numpy()  # (n, rows * rows, features)
        found = Tokens(
            patches.reshape(len(images), rows, rows, -1),
            np.zeros((len(images), 0, patches.shape[-1]), np.float32),
            torch.cat([one.projected for one in seen]),
        )
        return finite(found, row)

    def cache(root: Path, preprocessing_hash: str) -> features.Store | None:
        return features.store(root, loaded, preprocessing_hash) if held.cache_features else None

    return Backbone(facts, tokens, cache=cache)


def operations_of(config: Any) -> float:
    """Floating-point operations of an image in a vision tower, without the projector.

    Args:
        config: SiglipVisionConfig of the tower.
    """
    import torch
    from transformers import SiglipVisionModel

    with torch.device("meta"):
        tower = SiglipVisionModel(config).eval()
        pixels = torch.zeros((1, config.num_channels, config.image_size, config.image_size))

    def work() -> None:
        with torch.no_grad():
            tower(pixel_values=pixels)

    return operations.count(work)
