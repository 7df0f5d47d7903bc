"""Models of TorchXRayVision."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.models.own_process import RefusalError
from stages.lib.models.vision.worker.checkpoint import WEIGHTS, fill, load_weights, weights_of
from stages.lib.models.vision.worker.opened import Opened
from stages.lib.models.vision.worker.small_files import check_side, document

CONFIG = "config.json"
XRV = 1024.0  # TorchXRayVision's values go from -1024 to 1024
CELL_PX = 32  # stride of its classes


def examine(folder: Path, architecture: str, side: int) -> tuple[dict[str, Any], np.ndarray]:
    """config.json of a model of TorchXRayVision, as `xrv_release.convert` wrote it, and its values of greys."""
    path = folder / CONFIG
    told = document(path)
    if told.get("architecture") != architecture or architecture not in CLASSES:
        raise RefusalError(
            f"{path}: found {told.get('architecture')}, wanted {architecture} as the row says, one of "
            f"{', '.join(CLASSES)}"
        )
    options, targets = told.get("arguments") or {}, told.get("targets")
    if not isinstance(targets, list) or len(targets) != options.get("num_classes"):
        raise RefusalError(
            f"{path}: found targets {targets!r}, wanted {options.get('num_classes')} names, one for each output"
        )
    check_side(side, CELL_PX, architecture)
    weights_of(folder, (WEIGHTS,))
    return told, np.repeat(grey_values()[None], options.get("in_channels", 1), axis=0)


def load(folder: Path, architecture: str, side: int) -> Opened:
    """A model of TorchXRayVision."""
    told, values = examine(folder, architecture, side)
    options = told["arguments"]
    make, tokens, head = CLASSES[architecture]
    try:
        model = make(options)
    except (TypeError, KeyError, AttributeError) as error:
        raise RefusalError(
            f"{folder / CONFIG}: found arguments {options}, wanted those of {architecture}: {error}"
        ) from error
    fill(model, load_weights(folder, (WEIGHTS,)), architecture, folder)
    return Opened(
        model=model,
        tokens=tokens,
        cell_px=CELL_PX,
        prefix=0,
        values=values,
        beside=(head,),
        targets=told["targets"],
        random_weights=told.get("random_weights") is True,
    )


def grey_values() -> np.ndarray:
    """TorchXRayVision's value of each grey value, float32 array of shape (256,).

    >>> grey_values()[[0, 255]].tolist()
    [-1024.0, 1024.0]
    """
    return ((np.arange(256, dtype=np.float64) / 255 * 2 - 1) * XRV).astype(np.float32)


def make_densenet(options: dict[str, Any]) -> Any:
    """DenseNet by its arguments; it gives logits, as it has no thresholds to bend them by."""
    from torchxrayvision.models import DenseNet

    return DenseNet(**options)


def densenet_tokens(model: Any, pixels: Any) -> Any:
    """Cells of the last map as a sequence (n, cells, features), before the ReLU in front of the pooling."""
    return model.features(pixels).flatten(2).transpose(1, 2)


def make_resnet(options: dict[str, Any]) -> Any:
    """What TorchXRayVision's ResNet holds: that of torchvision, whose first layer takes one channel."""
    import torch
    from torchvision.models import resnet

    block = getattr(resnet, options["block"])
    model = resnet.ResNet(block, options["layers"], num_classes=options["num_classes"])
    model.conv1 = torch.nn.Conv2d(options["in_channels"], 64, kernel_size=7, stride=2, padding=3, bias=False)
    return model


def resnet_tokens(model: Any, pixels: Any) -> Any:
    """Cells of the last map as a sequence (n, cells, features)."""
    seen = model.maxpool(model.relu(model.bn1(model.conv1(pixels))))
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        seen = layer(seen)
    return seen.flatten(2).transpose(1, 2)


# How to make a class of its arguments, its tokens, and how the names of its head's weights begin.
CLASSES: Mapping[str, tuple[Callable[[dict[str, Any]], Any], Callable[[Any, Any], Any], str]] = {
    "DenseNet": (make_densenet, densenet_tokens, "classifier."),
    "ResNet": (make_resnet, resnet_tokens, "fc."),
}
