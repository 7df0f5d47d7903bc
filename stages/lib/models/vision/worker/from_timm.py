"""Models of timm."""

from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.models.own_process import RefusalError, describe
from stages.lib.models.vision.worker.checkpoint import WEIGHTS, fill, load_weights, weights_of
from stages.lib.models.vision.worker.opened import Opened
from stages.lib.models.vision.worker.small_files import check_side, document, normalized

CONFIG = "config.json"


def examine(folder: Path, architecture: str, side: int) -> tuple[dict[str, Any], np.ndarray]:
    """config.json of a model of timm, as its repository on the hub has it, and its values of greys."""
    path = folder / CONFIG
    told = document(path)
    cfg = told.get("pretrained_cfg") or told
    classes = told.get("num_classes", cfg.get("num_classes"))
    if told.get("architecture") != architecture:
        raise RefusalError(f"{path}: found {told.get('architecture')}, wanted {architecture}, as the row says")
    if not isinstance(classes, int):
        raise RefusalError(f"{path}: found num_classes {classes!r}, wanted the number of outputs of the checkpoint")
    shape = list(cfg.get("input_size") or (3,))
    weights_of(folder, (WEIGHTS,))
    return {**told, "cfg": cfg, "classes": classes, "shape": shape}, normalized(cfg, shape[0], path)


def load(folder: Path, architecture: str, side: int) -> Opened:
    """A model of timm."""
    import timm

    told, values = examine(folder, architecture, side)
    if not timm.is_model(architecture):
        raise RefusalError(f"architecture: found {architecture}, wanted a model that timm {timm.__version__} has")
    options = dict(told.get("model_args") or {})
    channels, *size = told["shape"]
    if channels != 3:
        options.setdefault("in_chans", channels)
    if size and told["cfg"].get("fixed_input_size"):
        options.setdefault("img_size", tuple(size))
    model = timm.create_model(architecture, pretrained=False, num_classes=told["classes"], **options)
    fill(model, load_weights(folder, (WEIGHTS,)), architecture, folder)
    cell_px, prefix = fit(model, architecture, side)
    return Opened(
        model=model,
        tokens=tokens,
        cell_px=cell_px,
        prefix=prefix,
        values=values,
        beside=("head.", "fc_norm."),
        random_weights=told.get("random_weights") is True,
    )


def fit(model: Any, architecture: str, side: int) -> tuple[int, int]:
    """Drop a model's head and set its side; return the side of a cell and the number of prefix tokens."""
    cell_px = int(model.feature_info[-1]["reduction"])
    check_side(side, cell_px, architecture)
    model.reset_classifier(0, "")
    if hasattr(model, "set_input_size"):
        try:
            model.set_input_size(img_size=(side, side))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise RefusalError(f"{architecture} does not take images of {side} px: {describe(error)}") from error
    return cell_px, int(getattr(model, "num_prefix_tokens", 0))


def tokens(model: Any, pixels: Any) -> Any:
    """Sequence of tokens (n, tokens, features)."""
    seen = model.forward_features(pixels)
    if seen.ndim == 3:
        return seen
    return seen.flatten(1, 2) if getattr(model, "output_fmt", "NCHW") == "NHWC" else seen.flatten(2).transpose(1, 2)
