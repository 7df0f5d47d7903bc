"""Tiny random models of timm, TorchXRayVision and open_clip as folders, and what they make of images, by hand.

    PYTHON -I vision_folders.py FOLDER

Runs in the vision environment. Each model is saved as its library's users find it, and its tokens are computed beside:
by the library's own calls, of pixels that numpy normalizes, without the worker that is tested. What that worker
makes of pickles and of names of releases is written too, as each of its processes takes seconds to start.
"""

import importlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

SIDE, OTHER = 64, 96  # pixels: that of the models, and another
TARGETS = [f"finding {number}" for number in range(17)] + ["Nodule"]
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
XRV = "nih-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"  # as that model was released
RESNET = "pc-nih-rsna-siim-vin-resnet50-test512-e400-state.pt"
# name of the folder: library, architecture, patch, prefix tokens
MODELS: dict[str, tuple[str, str, int, int]] = {
    "vit": ("timm", "test_vit", 16, 1),
    "efficientnet": ("timm", "test_efficientnet", 32, 0),
    "resnet": ("timm", "test_resnet", 32, 0),
    "convnext": ("timm", "test_convnext", 32, 0),
    "swin": ("timm", "swin_tiny_patch4_window7_224", 32, 0),
    "xrv_densenet": ("torchxrayvision", "DenseNet", 32, 0),
    "xrv_resnet": ("torchxrayvision", "ResNet", 32, 0),
    "clip_vit": ("open_clip", "VisionTransformer", 16, 1),
    "clip_trunk": ("open_clip", "test_vit", 16, 1),
    "clip_resnet": ("open_clip", "ModifiedResNet", 32, 0),
}


def images(side: int, count: int = 3) -> np.ndarray:
    """Images of noise, uint8 of shape (count, side, side)."""
    return np.random.default_rng(side).integers(0, 256, (count, side, side), dtype=np.uint8)


def prepared() -> None:
    """Make torchvision importable where it comes without its compiled operators, by the recipe of the reference."""
    import torch

    warnings.filterwarnings("ignore")
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        globals()["KEPT"] = library
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def liven(model: Any) -> None:
    """Make all that starts as zeros or ones random, so that each weight matters."""
    import torch

    with torch.no_grad():
        for name, one in sorted(model.state_dict().items()):
            if one.is_floating_point():
                if name.endswith("running_var"):
                    one.uniform_(0.5, 1.5)
                elif one.ndim < 2:
                    one.add_(torch.randn(one.shape) * 0.1)


def pixels(stack: np.ndarray, channels: int = 3) -> Any:
    """Values of images as their files say, or of TorchXRayVision."""
    import torch

    if channels == 1:
        from torchxrayvision.utils import normalize

        return torch.from_numpy(np.stack([normalize(one, 255) for one in stack]))[:, None]
    mean, deviation = (np.array(one)[None, :, None, None] for one in (MEAN, STD))
    return torch.from_numpy(((stack[:, None] / 255 - mean) / deviation).astype(np.float32))


def mapped(seen: Any) -> np.ndarray:
    """A map (n, features, rows, columns) as (n, rows, columns, features)."""
    return np.asarray(seen.permute(0, 2, 3, 1).numpy())


def timm_folder(folder: Path, name: str) -> dict[str, np.ndarray]:
    """A model of timm as on the hub."""
    import timm
    import torch
    from safetensors.torch import save_file

    _, architecture, patch, prefix = MODELS[name]
    options = {}
    if name == "vit":
        options = {"img_size": SIDE}
    if name == "swin":
        options = {
            "img_size": SIDE,
            "embed_dim": 8,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 1, 1, 1],
            "window_size": 2,
        }
    model = timm.create_model(architecture, num_classes=5, **options)
    liven(model)
    model.eval()
    save_file(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    cfg = {
        "mean": MEAN,
        "std": STD,
        "input_size": [3, SIDE, SIDE],
        "fixed_input_size": bool(options),
        "classifier": "x",
    }
    told = {"architecture": architecture, "num_classes": 5, "pretrained_cfg": cfg}
    if name == "swin":
        told["model_args"] = {key: value for key, value in options.items() if key != "img_size"}
    (folder / "config.json").write_text(json.dumps(told))
    with torch.no_grad():
        seen = model.forward_features(pixels(images(SIDE)))
    if name == "swin":
        return {"patches": seen.numpy()}
    if seen.ndim == 4:
        return {"patches": mapped(seen)}
    sized = timm.create_model(architecture, num_classes=5, img_size=OTHER)
    state = {key: value for key, value in model.state_dict().items() if key != "pos_embed"}
    grid = timm.layers.resample_abs_pos_embed(
        model.pos_embed.detach(), (OTHER // patch, OTHER // patch), num_prefix_tokens=1
    )
    sized.load_state_dict({**state, "pos_embed": grid})
    with torch.no_grad():
        other = sized.eval().forward_features(pixels(images(OTHER)))
    return {
        "patches": squared(seen, prefix),
        "prefix": seen[:, :prefix].numpy(),
        "other": squared(other, prefix),
        "parameters": np.array(size(model) - size(model.head)),
    }


def squared(seen: Any, prefix: int) -> np.ndarray:
    """Patch tokens of a sequence as (n, rows, columns, features)."""
    rows = int((seen.shape[1] - prefix) ** 0.5)
    return np.asarray(seen[:, prefix:].reshape(len(seen), rows, rows, -1).numpy())


def xrv_file(folder: Path, name: str) -> dict[str, np.ndarray]:
    """A model of TorchXRayVision as released: a pickled module, or a pickled state."""
    import torch
    import torchvision
    from torchxrayvision.models import DenseNet

    if name == "xrv_densenet":
        model = DenseNet(growth_rate=4, block_config=(2, 1, 1, 2), num_init_features=8, bn_size=2)
        liven(model)
        model.eval()
        model.op_threshs = torch.full((18,), 0.3)  # as released: bends scores so that each threshold is at .5
        torch.save(model, folder / XRV)
        model.op_threshs = None
        model.targets = TARGETS
        torch.save(model, folder / "own.pt")
        del model.targets
        torch.save(model, folder / "unknown.pt")
        features = model.features
    else:
        block = torchvision.models.resnet.Bottleneck
        model = torchvision.models.resnet.ResNet(block, [1, 1, 1, 1], num_classes=18)
        model.conv1 = torch.nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        liven(model)
        model.eval()
        torch.save(model.state_dict(), folder / RESNET)
        features = torch.nn.Sequential(*list(model.children())[:-2])
    with torch.no_grad():
        values = pixels(images(SIDE), 1)
        seen = {"patches": mapped(features(values)), "outputs": model(values).numpy()}
    head = list(model.children())[-1]
    return {**seen, "parameters": np.array(size(model) - size(head))}


def size(module: Any) -> int:
    """Number of parameters."""
    return sum(one.numel() for one in module.parameters())


def clip_folder(folder: Path, name: str) -> dict[str, np.ndarray]:
    """A model of open_clip as on the hub."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    vision: dict[str, Any] = {"image_size": SIDE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
    if name == "clip_trunk":
        vision = {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear"}
    if name == "clip_resnet":
        vision = {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8}
    text = {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 2, "layers": 1}
    given = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    model = open_clip.model.CLIP(**given)
    liven(model)
    model.eval()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors", {"format": "pt"})
    told = {"model_cfg": given, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(told))
    seen: dict[str, Any] = {}
    if name == "clip_resnet":
        model.visual.layer4.register_forward_hook(lambda module, taken, given: seen.update(map=given))
    elif name == "clip_trunk":
        model.visual.set_input_size(SIDE)
        model.visual.trunk.norm.register_forward_hook(lambda module, taken, given: seen.update(sequence=given))
    else:
        model.visual.ln_post.register_forward_hook(lambda module, taken, given: seen.update(sequence=given))
    with torch.no_grad():
        model.encode_image(pixels(images(SIDE)))
    if "map" in seen:
        return {"patches": mapped(seen["map"])}
    return {"patches": squared(seen["sequence"], 1), "prefix": seen["sequence"][:, :1].numpy()}


def main(root: Path) -> None:
    """Write all of them."""
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    from stages.lib.models.own_process import RefusalError
    from stages.lib.models.vision.worker.xrv_release import convert, release

    prepared()
    for module in ("torchvision", "timm", "torchxrayvision", "open_clip"):
        importlib.import_module(module)
    import torch

    for number, (name, (library, *_)) in enumerate(MODELS.items()):
        torch.manual_seed(number)
        folder = root / name
        folder.mkdir()
        make = {"timm": timm_folder, "torchxrayvision": xrv_file, "open_clip": clip_folder}[library]
        np.savez(root / f"{name}.npz", **make(folder, name))
    pickles = root / "xrv_densenet"
    torch.save([1, 2], root / "list.pt")
    torch.save({"weight": torch.zeros(2)}, root / "other.pt")
    work = {
        "own": (convert, pickles / "own.pt", root / "converted/own"),
        "named": (convert, pickles / "unknown.pt", root / "converted/named", "densenet121-res224-pc"),
        "unknown": (convert, pickles / "unknown.pt", root / "converted/unknown"),
        "no release": (convert, pickles / "unknown.pt", root / "converted/unknown", "such"),
        "list": (convert, root / "list.pt", root / "converted/unknown"),
        "other": (convert, root / "other.pt", root / "converted/unknown"),
        "resnet": (convert, root / "xrv_resnet" / RESNET, root / "converted/xrv_resnet"),
        "released": (release, "densenet121-res224-nih"),
        "not released": (release, "such"),
    }
    found = {}
    for name, (do, *given) in work.items():
        try:
            found[name] = do(*given)
        except RefusalError as refusal:
            found[name] = str(refusal)
    (root / "told.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
