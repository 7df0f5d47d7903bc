"""Models of TorchXRayVision as they are released: where they are, and a folder made of one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.lib.models.own_process import RefusalError, sha256
from stages.lib.models.vision.worker.checkpoint import WEIGHTS, fill
from stages.lib.models.vision.worker.from_torchxrayvision import CLASSES, CONFIG
from stages.lib.models.vision.worker.installed import prepare


def convert(file: Path, folder: Path, release: str | None = None) -> None:
    """Write a released file of TorchXRayVision as config.json and model.safetensors.

    Args:
        file: A pickled DenseNet, or the pickled state of a ResNet or DenseNet.
        folder: Where to.
        release: Name of the model among those of TorchXRayVision, which knows its targets; None to know it by the name
            of the file, or by `targets` of the pickled model itself.
    """
    prepare("torchxrayvision")
    import torch
    from safetensors.torch import save_file
    from torchxrayvision.models import model_urls

    found = torch.load(file, map_location="cpu", weights_only=False)
    state, own = found, None
    if isinstance(found, torch.nn.Module):
        for part in found.modules():  # of a torch from before these were
            part.__dict__.setdefault("_non_persistent_buffers_set", set())
        state = found.state_dict()
        own = found.__dict__.get("pathologies") or found.__dict__.get("targets")
    if not isinstance(state, dict) or not all(isinstance(one, torch.Tensor) for one in state.values()):
        raise RefusalError(f"{file}: found {type(found).__name__}, wanted a model of TorchXRayVision or its weights")
    state = {name: value.float().contiguous() for name, value in state.items() if name != "op_threshs"}
    architecture, options = arguments(state, file)
    named = [one for one, told in model_urls.items() if Path(told["weights_url"]).name == file.name]
    if release is not None and release not in model_urls:
        raise RefusalError(f"found the release {release}, wanted one of {', '.join(model_urls)}")
    known = release or (named[-1] if named else None)
    targets = model_urls[known]["labels"] if known else own
    if not targets or len(targets) != options["num_classes"]:
        raise RefusalError(
            f"{file}: found targets {targets}, wanted {options['num_classes']} names: give the file the name that it "
            "was released under, or the model an attribute targets"
        )
    model = CLASSES[architecture][0](options)
    fill(model, state, architecture, file)
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{WEIGHTS}.part"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, beside, {"format": "pt"})
    beside.replace(folder / WEIGHTS)
    told = {
        "architecture": architecture,
        "arguments": options,
        "targets": list(targets),
        "converted_from": {"file": file.name, "sha256": sha256(file)},
        **({"random_weights": True} if getattr(found, "random_weights", False) else {}),
    }
    (folder / CONFIG).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def arguments(state: Mapping[str, Any], file: Path) -> tuple[str, dict[str, Any]]:
    """Class of a state and the arguments that make it, read from the shapes of its weights."""
    try:
        if "features.conv0.weight" in state:
            first = "features.denseblock1.denselayer1.conv"
            growth = int(state[f"{first}2.weight"].shape[0])
            return "DenseNet", {
                "growth_rate": growth,
                "block_config": members(state, "features.denseblock{}.denselayer{}.conv1.weight"),
                "num_init_features": int(state["features.conv0.weight"].shape[0]),
                "bn_size": int(state[f"{first}1.weight"].shape[0]) // growth,
                "num_classes": int(state["classifier.weight"].shape[0]),
                "in_channels": int(state["features.conv0.weight"].shape[1]),
            }
        return "ResNet", {
            "block": "Bottleneck" if "layer1.0.conv3.weight" in state else "BasicBlock",
            "layers": members(state, "layer{}.{}.conv1.weight", start=0),
            "num_classes": int(state["fc.weight"].shape[0]),
            "in_channels": int(state["conv1.weight"].shape[1]),
        }
    except KeyError as error:
        raise RefusalError(
            f"{file}: found no weight {error}, wanted those of TorchXRayVision's DenseNet or ResNet"
        ) from error


def members(names: Any, pattern: str, start: int = 1) -> list[int]:
    """How many layers each block has, by the names of weights.

    >>> members({"a1.b1": 0, "a1.b2": 0, "a2.b1": 0}, "a{}.b{}")
    [2, 1]
    """
    found: list[int] = []
    while pattern.format(len(found) + 1, start) in names:
        count = start
        while pattern.format(len(found) + 1, count) in names:
            count += 1
        found.append(count - start)
    return found


def release(name: str) -> str:
    """Address of a model that TorchXRayVision has released."""
    prepare("torchxrayvision")
    from torchxrayvision.models import model_urls

    if name not in model_urls:
        raise RefusalError(f"TorchXRayVision has released no {name}; wanted one of {', '.join(model_urls)}")
    return str(model_urls[name]["weights_url"])
