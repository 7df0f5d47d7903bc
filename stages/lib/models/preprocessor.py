"""What a model's own preprocessor file makes of a grey value: mean, deviation, factor and order of channels.

The file is read by hand and its processor class never asked. Which class transformers takes depends on what else is
installed, some classes refuse without torchvision, and most would resize or crop an image that has the model's side.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.core.errors import MismatchError, ModelError

FILE, WITHIN = "preprocessor_config.json", "processor_config.json"
FACTOR = 1 / 255  # of files from before the factor was written


def greys(folder: Path, row: str, channels: int = 3) -> np.ndarray:
    """Value that each of 256 grey values becomes, float32 array of shape (channels, 256).

    Args:
        folder: The model's files.
        row: Name of the row, for errors.
        channels: Of the model's input.

    Raises:
        ModelError: If there is no such file, or it does not say mean and deviation of as many channels.
    """
    document, name = _read(folder, row)
    mean, deviation = (_channels(document.get(key), channels) for key in ("image_mean", "image_std"))
    normalized, rescaled = (document.get(key) is not False for key in ("do_normalize", "do_rescale"))
    factor = document.get("rescale_factor", FACTOR)
    problems = [
        f"{key} {document.get(key)!r}, wanted {channels} numbers{above}"
        for key, value, above in (("image_mean", mean, ""), ("image_std", deviation, " above 0"))
        if value is None or (above and value.min() <= 0)
    ]
    if not normalized:
        problems = []
    if rescaled and (not isinstance(factor, int | float) or isinstance(factor, bool) or not factor > 0):
        problems.append(f"rescale_factor {factor!r}, wanted a number above 0")
    if problems:
        raise ModelError(f"{row}: {folder / name}: found {'; '.join(problems)}")
    seen = np.tile(np.arange(256, dtype=np.float64), (channels, 1))  # (channels, 256)
    if rescaled:
        seen = seen * factor - (1.0 if document.get("rescale_offset") else 0.0)
    if normalized and mean is not None and deviation is not None:
        seen = (seen - mean[:, None]) / deviation[:, None]
        if _twice(document):
            seen = seen / deviation[:, None]
    if document.get("do_flip_channel_order"):  # blue first
        seen = seen[::-1]
    return np.ascontiguousarray(seen, dtype=np.float32)


def pixels(values: Any, images: Sequence[np.ndarray], side_px: int, row: str) -> Any:
    """Normalized images as a model takes them.

    Args:
        values: Of `greys`, a tensor on the device that computes, of shape (channels, 256).
        images: n images, uint8 arrays of shape (side_px, side_px).
        side_px: Side that the row says.
        row: Its name, for the error.

    Returns:
        Float tensor of shape (n, channels, side_px, side_px).

    Raises:
        MismatchError: If an image has another side.
    """
    import torch

    check_sides(images, side_px, row)
    stack = torch.from_numpy(np.stack(images)).to(values.device)
    return values[:, stack.long()].transpose(0, 1).contiguous()


def check_sides(images: Sequence[np.ndarray], side_px: int, row: str) -> None:
    """Refuse images that do not have the side of the row.

    Raises:
        MismatchError: If there are some.
    """
    odd = sorted({image.shape for image in images if image.shape != (side_px, side_px)})
    if odd:
        raise MismatchError(f"{row}: found images of shape {odd[0]}, wanted {(side_px, side_px)}, the side of the row")


def _read(folder: Path, row: str) -> tuple[Mapping[str, Any], str]:
    """Settings of the image processor, and the file that they are from."""
    for name in (FILE, WITHIN):
        if not (folder / name).is_file():
            continue
        try:
            document = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ModelError(f"{row}: {folder / name} is not whole JSON; fetch or copy it again") from None
        inside = document.get("image_processor") if name == WITHIN and isinstance(document, dict) else document
        if isinstance(inside, dict):
            return inside, name
    raise ModelError(
        f"{row}: {folder}: found no {FILE}, wanted one with image_mean and image_std: how the model is shown images; "
        "copy that of the model's own repository"
    )


def _channels(value: Any, channels: int) -> np.ndarray | None:
    """A number for each channel, float64 array of shape (channels,); None if it is not that."""
    values = [value] * channels if isinstance(value, int | float) else value
    numbers = isinstance(values, list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) and np.isfinite(one) for one in values
    )
    return np.array(values, np.float64) if numbers and len(values) == channels else None


def _twice(document: Mapping[str, Any]) -> bool:
    """Whether values are divided by the deviation once more, as EfficientNet's processor does for its classifiers."""
    kind = str(document.get("image_processor_type") or document.get("feature_extractor_type") or "")
    return bool(document.get("include_top", kind.startswith("EfficientNet")))
