"""Patches of a frozen tower on disk: what the pooling sees of each image, computed once.

A file is named after all that decides it, as `features` has it: here the bytes of the image, its preprocessing hash,
the weights of the vision tower with LoRA on it, whether patches are averaged, and the code and device that compute.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.models import features
from stages.lib.models.features import Store
from stages.lib.models.lofi.weights import Loaded

if TYPE_CHECKING:
    from torch import Tensor


def store(root: Path, loaded: Loaded, preprocessing_hash: str) -> Store:
    """Store of the patches that a network's vision tower makes of images of one preprocessing hash.

    Args:
        root: Folder for features of all towers.
        loaded: The network; its tower is not to be trained.
        preprocessing_hash: Of the images.
    """
    network = loaded.network
    # By PEFT's and torch's own order of modules; the head behind the patches has no part in them.
    tower = [
        (name, value)
        for name, value in sorted(network.encoder.vision_model.state_dict().items())
        if not name.startswith("head.")
    ]
    facts = (network.device, network.params.dtype, network.params.attention, network.params.average_patches)
    found = features.digest(facts, [("greys", loaded.greys), *tower])
    return Store(root / f"{found[:16]}-{preprocessing_hash[:16]}")


def fill(kept: Store, loaded: Loaded, pngs: Sequence[Path]) -> None:
    """Compute the patches of those images that have none yet.

    Args:
        kept: As `store` gives it.
        loaded: The same network.
        pngs: Normalized images, of the side that the network takes.
    """
    kept.fill_by(lambda image: condensed(loaded, image), pngs)


def condensed(loaded: Loaded, image: np.ndarray) -> "Tensor":
    """What the pooling sees of an image, uint8 array of shape (side_px, side_px): tensor of shape (patches, d)."""
    import torch

    with torch.no_grad():
        patches = loaded.network.patches(loaded.pixels(torch.from_numpy(image[None])))
        return loaded.network.condensed(patches)[0]
