"""What the vision environment has: versions of its packages, and their import."""

import sys
import warnings
from importlib import import_module
from typing import Any

from stages.lib.models.own_process import versions

MODULES = {  # of the packages that decide tokens
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "torchxrayvision": "torchxrayvision",
    "open_clip_torch": "open_clip",
    "numpy": "numpy",
}
KEPT: list[Any] = []  # declarations of operators, gone when nothing holds them


def prepare(*libraries: str) -> None:
    """Import torchvision, and libraries that want it.

    Beside a torch without torchvision's compiled operators, its import fails until the two that it describes are
    declared. No model that is opened here calls them.
    """
    import torch

    warnings.filterwarnings("ignore")
    try:
        import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        declared = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        KEPT.append(declared)
        import_module("torchvision")
    for name in libraries:
        import_module(name)


def imported() -> dict[str, str | None]:
    """Versions after the import of all that is installed, so that it is known to work."""
    found = versions(MODULES)
    prepare(*(module for name, module in MODULES.items() if found[name] is not None))
    return found
