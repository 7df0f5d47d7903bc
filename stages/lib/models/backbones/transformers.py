"""Vision models of the locked transformers: SigLIP, DINOv2, DINOv3, EfficientNet, ConvNeXt, ResNet.

Which tokens are no patches differs from class to class, and so does what a side does that the patch does not divide:
most crop in silence. Both stand here, once for each class.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any

import numpy as np

from stages.lib.core import params as parameters
from stages.lib.core.errors import ModelError
from stages.lib.models import features, gemma3, model_class, operations, preprocessor
from stages.lib.models.backbone import Backbone, BackboneParams, BackboneSetting, Facts, Tokens, finite


@dataclass(frozen=True)
class Layout:
    """Where a class has its tokens.

    Attributes:
        loads: Class of the vision side, without head and text side: that which is loaded.
        within: Classes that config.json may name, and that hold this vision side.
        cell_px: Side of the square of pixels that a patch token stands for, from the configuration.
        prefix: Number of tokens before those of the patches, from the configuration.
        beside: How the names of those weights of a checkpoint begin that belong to a head or a text side alone.
    """

    loads: str
    within: tuple[str, ...]
    cell_px: Callable[[Any], Any]
    prefix: Callable[[Any], int] = lambda config: 0
    beside: tuple[str, ...] = ()


def _patch(config: Any) -> Any:
    return config.patch_size


def _with_classifier(name: str, cell_px: Callable[[Any], Any]) -> dict[str, Layout]:
    """Layouts of a CNN by the name of its bare class and of its classifier; neither loads the classifier's head."""
    bare, whole = f"{name}Model", f"{name}ForImageClassification"
    layout = Layout(bare, (bare, whole), cell_px, beside=("classifier.",))
    return {bare: layout, whole: replace(layout, within=(whole,))}


def _stages(config: Any) -> int:
    return 4 * 2 ** (len(config.depths) - 1)  # DINOv3's stem has no parameter of its own


SIGLIP = Layout(
    "SiglipVisionModel",
    ("SiglipVisionModel", "SiglipModel"),
    _patch,
    beside=("text_model.", "logit_scale", "logit_bias"),
)
LAYOUTS: Mapping[str, Layout] = {
    "SiglipVisionModel": SIGLIP,
    "SiglipModel": replace(SIGLIP, within=("SiglipModel",)),
    "Dinov2Model": Layout("Dinov2Model", ("Dinov2Model",), _patch, lambda config: 1),
    "Dinov2WithRegistersModel": Layout(
        "Dinov2WithRegistersModel",
        ("Dinov2WithRegistersModel",),
        _patch,
        lambda config: 1 + config.num_register_tokens,
    ),
    "DINOv3ViTModel": Layout(
        "DINOv3ViTModel", ("DINOv3ViTModel",), _patch, lambda config: 1 + config.num_register_tokens
    ),
    "DINOv3ConvNextModel": Layout("DINOv3ConvNextModel", ("DINOv3ConvNextModel",), _stages, lambda config: 1),
    **_with_classifier("EfficientNet", lambda config: 2 * prod(config.strides)),
    **_with_classifier("ConvNext", lambda config: config.patch_size * 2 ** (len(config.depths) - 1)),
    **_with_classifier("ConvNextV2", lambda config: config.patch_size * 2 ** (len(config.depths) - 1)),
    **_with_classifier(
        "ResNet", lambda config: 4 * 2 ** (len(config.depths) - (0 if config.downsample_in_first_stage else 1))
    ),
}


UNTOLD = ("_name_or_path", "architectures", "transformers_version", "dtype")  # of a configuration: decides no token


@dataclass(frozen=True)
class Examined:
    """What a model's small files say, before its weights are read.

    Attributes:
        layout: Of its class.
        config: Configuration of the vision side.
        patch_px: Side of a patch, which divides the side of the row.
        greys: Of `preprocessor.greys`.
        random_weights: Whether the weights were never trained.
    """

    layout: Layout
    config: Any
    patch_px: int
    greys: np.ndarray
    random_weights: bool


def examine(params: BackboneParams, setting: BackboneSetting) -> Examined:
    """Refuse from the small files what `load` would refuse, but for the weights themselves.

    Args:
        params: See `load`.
        setting: See `load`.

    Raises:
        ModelError: If the class is unknown or another, the side is not a multiple of its patch, or there is no
            preprocessor file.
    """
    gemma3.quiet()
    import transformers

    row, folder = setting.row, setting.found.folder
    layout = layout_of(params.architecture, row)
    document = model_class.check(folder, layout.within, row)
    kind = getattr(transformers, layout.loads).config_class
    with model_class.reading(folder, layout.loads, row):
        config = kind.from_pretrained(folder, local_files_only=True)
    return Examined(
        layout=layout,
        config=config,
        patch_px=_check_side(params, layout.cell_px(config), row),
        greys=preprocessor.greys(folder, row, config.num_channels),
        random_weights=model_class.has_random_weights(document),
    )


def load(params: BackboneParams, setting: BackboneSetting) -> Backbone:
    """A vision model in float32, in eval mode, on the GPU if there is one.

    Args:
        params: Which class, and the side of the images.
        setting: Where its files are.

    Raises:
        ModelError: If the folder does not hold that class, whole, with its preprocessor file, or the side is not a
            multiple of its patch.
    """
    gemma3.quiet()
    import torch

    row, folder = setting.row, setting.found.folder
    found = examine(params, setting)
    layout, config, patch_px = found.layout, found.config, found.patch_px
    greys = torch.from_numpy(found.greys)
    told = json.dumps({name: one for name, one in config.to_dict().items() if name not in UNTOLD}, sort_keys=True)
    with model_class.reading(folder, layout.loads, row):
        shape, counted = _counted(layout.loads, told, params.side_px)
    model = model_class.load(folder, layout.loads, row, beside=layout.beside)
    prefix, rows = layout.prefix(config), params.side_px // patch_px
    wanted = (prefix + rows * rows, shape[1])
    if shape != wanted:
        raise ModelError(f"{row}: found {shape[0]} tokens of an image of {params.side_px} px, wanted {wanted[0]}")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else "cpu"
    weights = [("greys", greys), *sorted(model.state_dict().items())]
    facts = Facts(
        architecture=params.architecture,
        identity=features.digest((layout.loads, told, model.config._attn_implementation, device), weights),
        parameters=sum(one.numel() for one in model.parameters()),
        operations=counted,
        features=shape[1],
        rows=rows,
        prefix=prefix,
        patch_px=patch_px,
        random_weights=found.random_weights,
    )
    model, greys = model.to(device), greys.to(device)

    def tokens(images: Sequence[np.ndarray]) -> Tokens:
        pixels = preprocessor.pixels(greys, images, params.side_px, row)
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            seen = _sequence(model, pixels).float().cpu().numpy()  # (n, prefix + rows * columns, features)
        patches = seen[:, prefix:].reshape(len(images), rows, rows, -1)
        return finite(Tokens(patches, seen[:, :prefix]), row)

    return Backbone(facts, tokens)


def layout_of(architecture: str, row: str) -> Layout:
    """Layout of a class.

    Args:
        architecture: As the row has it.
        row: Its name, for the error.

    Raises:
        ModelError: If it is none of those that are known.
    """
    if architecture not in LAYOUTS:
        raise ModelError(f"{row}: architecture: {parameters.unknown(architecture, LAYOUTS)}")
    return LAYOUTS[architecture]


def _check_side(params: BackboneParams, cell_px: Any, row: str) -> int:
    """Side of a patch; a side of images that it does not divide is refused, which most classes crop in silence."""
    if not isinstance(cell_px, int):
        raise ModelError(f"{row}: found patches of {cell_px} px, wanted squares")
    if params.side_px % cell_px:
        below = params.side_px // cell_px * cell_px
        near = " or ".join(str(side) for side in (below, below + cell_px) if side)
        raise ModelError(
            f"{row}: side_px {params.side_px}: wanted a multiple of {cell_px} px, the side of a patch of "
            f"{params.architecture}, such as {near}"
        )
    return cell_px


def _sequence(model: Any, pixels: Any) -> Any:
    """Last output of a model, as a sequence of tokens of shape (n, tokens, features)."""
    options = {}
    if type(model).__name__ == SIGLIP.loads and pixels.shape[-1] != model.config.image_size:
        options["interpolate_pos_encoding"] = True  # the others do so by themselves
    last = model(pixel_values=pixels, **options).last_hidden_state
    return last if last.ndim == 3 else last.flatten(2).transpose(1, 2)  # of a map (n, features, rows, columns)


@cache
def _counted(name: str, config: str, side_px: int) -> tuple[tuple[int, int], float]:
    """Shape of an image's tokens, and operations of a pass, from the configuration alone."""
    import torch
    import transformers

    cls = getattr(transformers, name)
    seen = []
    with torch.device("meta"):
        made = cls(cls.config_class.from_dict(json.loads(config))).eval()
        pixels = torch.zeros((1, made.config.num_channels, side_px, side_px))

    def work() -> None:
        with torch.no_grad():
            seen.append(tuple(_sequence(made, pixels).shape[1:]))

    counted = operations.count(work)
    return seen[0], counted
