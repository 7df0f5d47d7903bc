"""What the small files beside a model's weights say: its configuration, its mean and deviation."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.models.own_process import RefusalError


def document(path: Path) -> dict[str, Any]:
    """A JSON file of a model's folder."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RefusalError(f"{path.parent}: found no {path.name}, wanted the folder of a model") from None
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise RefusalError(f"{path} is not whole JSON of a model; fetch or copy it again")
    return found


def normalized(cfg: Mapping[str, Any], channels: int, path: Path) -> np.ndarray:
    """Value of each grey value by a file's mean and deviation, float32 array of shape (channels, 256).

    >>> normalized({"mean": [0.5], "std": [0.25]}, 1, Path("config.json"))[:, [0, 255]].tolist()
    [[-2.0, 2.0]]
    """
    mean, deviation = (numbers(cfg.get(name), channels) for name in ("mean", "std"))
    if mean is None or deviation is None or deviation.min() <= 0:
        raise RefusalError(
            f"{path}: found mean {cfg.get('mean')!r} and std {cfg.get('std')!r}, wanted {channels} numbers each, those "
            "of std above 0"
        )
    return ((np.arange(256, dtype=np.float64) / 255 - mean[:, None]) / deviation[:, None]).astype(np.float32)


def numbers(value: Any, channels: int) -> np.ndarray | None:
    """A number for each channel; None if it is not that."""
    fit = isinstance(value, list) and len(value) == channels
    if not fit or any(isinstance(one, bool) or not isinstance(one, int | float) for one in value):
        return None
    found = np.array(value, np.float64)
    return found if np.isfinite(found).all() else None


def check_side(side: int, cell_px: int, architecture: str) -> None:
    """Refuse a side that is not a multiple of a patch's, which some models crop in silence.

    >>> check_side(100, 16, "test_vit")
    Traceback (most recent call last):
    stages.lib.models.own_process.RefusalError: side_px 100: wanted a multiple of 16 px, the side of a patch of \
test_vit, such as 96 or 112
    """
    if side % cell_px:
        below = side // cell_px * cell_px
        near = " or ".join(str(one) for one in (below, below + cell_px) if one)
        raise RefusalError(
            f"side_px {side}: wanted a multiple of {cell_px} px, the side of a patch of {architecture}, such as {near}"
        )
