"""What the files of CheXagent say of it before it runs: the side of an image token, and the number of its weights."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.lib.core.errors import ModelError
from stages.lib.models.chexagent.records import Parts

FIRST_PATCH_PX = 14  # of the first CheXagent, whose configuration leaves it to its code. Source: Chen et al. 2024


def token_px(parts: Parts, side_px: int, row: str) -> int:
    """Side of the square that one image token stands for, pixels of the image that the model is given.

    The model's own code brings an image to the side that its vision encoder takes: the `visual.image_size` of the
    model's configuration if it has one, else the encoder's `image_size`. The encoder cuts it into patches of its
    `patch_size`. The first CheXagent has its encoder, and what is said of it, in itself; 128 tokens look at all its
    patches, so that a patch stands for them here.

    Args:
        parts: The model's files.
        side_px: Side of the image that it is given.
        row: Name of the row, for errors.

    Raises:
        ModelError: If the configurations do not say, or a token is no whole number of pixels.
    """
    own = _config(parts.model.folder, row)
    holder = parts.encoder or parts.model
    encoder = _config(parts.encoder.folder, row) if parts.encoder else own
    vision = encoder.get("vision_config", encoder)
    size = own.get("visual", {}).get("image_size", vision.get("image_size"))
    patch = vision.get("patch_size", None if parts.encoder else FIRST_PATCH_PX)
    if not isinstance(size, int) or not isinstance(patch, int) or min(size, patch) < 1:
        raise ModelError(
            f"{row}: {holder.folder}/config.json: found image_size {size!r} and patch_size {patch!r}, wanted "
            "two numbers, of which the side of an image token is made; set shifts: 1 to do without"
        )
    if side_px * patch % size:
        step = size // math.gcd(size, patch)
        raise ModelError(
            f"{row}: found side_px {side_px}, of which an image token, {patch} of {size} pixels along the encoder's "
            f"image, is no whole number of pixels; wanted a multiple of {step}, or shifts: 1"
        )
    return side_px * patch // size


def parameters(parts: Parts) -> int | None:
    """Number of the model's weights, those of its encoder among them; None if its files are not safetensors.

    Read from the headers of the files alone.
    """
    from safetensors import safe_open

    paths = sorted(parts.model.folder.glob("*.safetensors"))
    total = 0
    for path in paths:
        with safe_open(path, "np") as handle:
            total += sum(math.prod(handle.get_slice(name).get_shape()) for name in handle.keys())  # noqa: SIM118
    return total if paths else None


def _config(folder: Path, row: str) -> Mapping[str, Any]:
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ModelError(f"{row}: {path} is not whole JSON; fetch or copy it again") from None
    return found if isinstance(found, dict) else {}
