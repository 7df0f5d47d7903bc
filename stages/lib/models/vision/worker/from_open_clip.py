"""Vision towers of open_clip."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.models.own_process import RefusalError
from stages.lib.models.vision.worker import from_timm
from stages.lib.models.vision.worker.checkpoint import WEIGHTS, fill, load_weights, weights_of
from stages.lib.models.vision.worker.log_lines import say
from stages.lib.models.vision.worker.opened import Opened
from stages.lib.models.vision.worker.small_files import check_side, document, normalized

CONFIG = "open_clip_config.json"
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", WEIGHTS)
BESIDE = ("proj", "attn_pool", "attnpool.", "head.", "fc_norm.")  # weights of towers that tokens do not pass
CELL_PX = 32  # stride of its ModifiedResNet


def examine(folder: Path, architecture: str, side: int) -> tuple[dict[str, Any], np.ndarray]:
    """open_clip_config.json of a model of open_clip, as its repository has it, and its values of greys."""
    path = folder / CONFIG
    told = document(path)
    model = told.get("model_cfg") or {}
    vision, width = model.get("vision_cfg"), model.get("embed_dim")
    if not isinstance(vision, dict) or not isinstance(width, int):
        raise RefusalError(f"{path}: found no model_cfg with vision_cfg and embed_dim, wanted a model of open_clip")
    if (named := architecture_of(vision)) != architecture:
        raise RefusalError(f"{path}: found {named}, wanted {architecture}, as the row says")
    cell_px = CELL_PX if named == "ModifiedResNet" else vision.get("patch_size", 16)
    if not vision.get("timm_model_name"):
        check_side(side, cell_px, architecture)
    weights_of(folder, FILES)
    vision = {**vision, "timm_model_pretrained": False, "patch_dropout": 0.0}
    more = {"vision": vision, "width": width, "quick": bool(model.get("quick_gelu")), "cell_px": cell_px}
    return {**told, **more}, normalized(told.get("preprocess_cfg") or {}, 3, path)


def load(folder: Path, architecture: str, side: int) -> Opened:
    """The vision tower of a model of open_clip. The text side is not built: it may want another repository's files."""
    from open_clip.model import CLIPVisionCfg, _build_vision_tower

    told, values = examine(folder, architecture, side)

    def build(**changed: int) -> Any:
        return _build_vision_tower(told["width"], CLIPVisionCfg(**{**told["vision"], **changed}), told["quick"])

    try:
        model = build()
    except TypeError as error:
        raise RefusalError(f"{folder / CONFIG}: found a vision_cfg that is none of open_clip's: {error}") from error
    whole, begin = load_weights(folder, FILES), "visual."
    left = sorted({name.partition(".")[0] for name in whole if not name.startswith(begin)})
    if left:
        say(f"weights that are not read, of the text side: {', '.join(left)}")
    state = {name.removeprefix(begin): value for name, value in whole.items() if name.startswith(begin)}
    fill(model, state, architecture, folder)
    cell_px, prefix, tokens = told["cell_px"], 1, vit_tokens
    if told["vision"].get("timm_model_name"):
        model, tokens = model.trunk, from_timm.tokens
        cell_px, prefix = from_timm.fit(model, architecture, side)
    elif architecture == "ModifiedResNet":
        prefix, tokens = 0, resnet_tokens
    else:
        model = resized(model, lambda: build(image_size=side))
    return Opened(
        model=model,
        tokens=tokens,
        cell_px=cell_px,
        prefix=prefix,
        values=values,
        beside=BESIDE,
        random_weights=told.get("random_weights") is True,
    )


def architecture_of(vision: Mapping[str, Any]) -> str:
    """Name of a vision tower as a row has it: a model of timm, or a class of open_clip.

    >>> architecture_of({"timm_model_name": "vit_base_patch16_224"}), architecture_of({"layers": 12})
    ('vit_base_patch16_224', 'VisionTransformer')
    """
    if vision.get("timm_model_name"):
        return str(vision["timm_model_name"])
    return "ModifiedResNet" if isinstance(vision.get("layers"), list) else "VisionTransformer"


def resized(model: Any, build: Callable[[], Any]) -> Any:
    """A VisionTransformer for images of another side, its embedding of positions resampled as open_clip does."""
    from types import SimpleNamespace

    from open_clip.model import resize_pos_embed

    other = build()
    if other.grid_size == model.grid_size:
        return model
    name = "visual.positional_embedding"
    state = model.state_dict()
    sized = {name: state["positional_embedding"]}
    resize_pos_embed(sized, SimpleNamespace(visual=other))
    other.load_state_dict({**state, "positional_embedding": sized[name]})
    return other


def vit_tokens(model: Any, pixels: Any) -> Any:
    """Tokens behind the last block (n, 1 + patches, width), normed by the last norm unless that is one of a pool."""
    seen = model.transformer(model._embeds(pixels))
    return seen if model.attn_pool is not None else model.ln_post(seen)


def resnet_tokens(model: Any, pixels: Any) -> Any:
    """Cells of the last map as a sequence (n, cells, features), before the pooling by attention."""
    seen = model.stem(pixels)
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        seen = layer(seen)
    return seen.flatten(2).transpose(1, 2)
