"""A vision model's own process: a program that runs in the vision environment, so it imports nothing of the project.

    python -I worker.py FD | --versions | --release NAME | --convert FILE FOLDER [NAME]

FD is a socket. A message is a JSON header, then its arrays, each as the bytes of a .npy file: nothing is unpickled on
either side. `--versions` imports the libraries and prints their versions. `--release` prints where a released model of
TorchXRayVision is on the web. `--convert` makes a folder of such a model: what is released is a pickle, which may run
any code, so that it is opened once, by a process without a network.
"""

import hashlib
import io
import json
import os
import shutil
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module, metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

REFUSED = 3  # exit code: cannot work as asked
PRIVATE = "noduleflow-vision-"  # how the name of a worker's private folder begins
MODULES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "torchxrayvision": "torchxrayvision",
    "open_clip_torch": "open_clip",
    "numpy": "numpy",
}
CONFIG, WEIGHTS, CLIP_CONFIG = "config.json", "model.safetensors", "open_clip_config.json"
CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", WEIGHTS)
CLIP_BESIDE = ("proj", "attn_pool", "attnpool.", "head.", "fc_norm.")  # weights of towers that tokens do not pass
COUNTED = "num_batches_tracked"  # of a norm: decides nothing in eval mode, and old checkpoints lack it
XRV = 1024.0  # TorchXRayVision's values go from -1024 to 1024
CELL_PX = 32  # stride of TorchXRayVision's classes and of open_clip's ModifiedResNet
PREAMBLE = 10  # bytes of a .npy file before its header: magic, version, length of the header
MOST_NAMES = 3  # of weights in a refusal
KEPT: list[Any] = []  # declarations of operators, gone when nothing holds them

Row = dict[str, Any]


class RefusalError(Exception):
    """The worker cannot do what it is asked."""


def main(socket: int) -> None:
    """Answer messages until the other side closes the socket."""
    connection = Connection(socket)
    model: Model | None = None
    while True:
        try:
            header, arrays = receive(connection)
        except (EOFError, ConnectionError):
            clear(Path.cwd())
            return
        try:
            if header["verb"] == "open":
                model = None
                model = Model(header)
                answer: tuple[Row, list[np.ndarray]] = (model.facts, [])
            elif model is None:
                raise RefusalError("no model is open")
            else:
                answer = {}, list(model.ask(header["verb"], arrays[0]))
        except RefusalError as refusal:
            answer = {"refused": str(refusal)}, []
        except Exception as error:  # a library may raise anything
            traceback.print_exc()
            answer = {"failed": describe(error)}, []
        try:
            send(connection, *answer)
        except ConnectionError:
            return


def send(connection: Connection, header: Row, arrays: Sequence[np.ndarray] = ()) -> None:
    """Send a message: header, then arrays."""
    connection.send_bytes(json.dumps({**header, "arrays": len(arrays)}).encode())
    for array in arrays:
        connection.send_bytes(packed(array))


def receive(connection: Connection) -> tuple[Row, list[np.ndarray]]:
    """Header and arrays of the next message.

    Raises:
        EOFError: If the other side has closed the socket.
    """
    header = json.loads(connection.recv_bytes())
    return header, [unpacked(connection.recv_bytes()) for _ in range(header.pop("arrays"))]


def packed(array: np.ndarray) -> bytes:
    """An array as the bytes of a .npy file.

    >>> packed(np.zeros(2, np.uint8))[-2:]
    b'\\x00\\x00'
    """
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array, order="C"), allow_pickle=False)
    return stream.getvalue()


def unpacked(content: bytes) -> np.ndarray:
    """The array of `packed`; one of objects is refused, which would be unpickled.

    >>> unpacked(packed(np.arange(3, dtype=np.uint8))).tolist()
    [0, 1, 2]
    """
    begin = PREAMBLE + int.from_bytes(content[PREAMBLE - 2 : PREAMBLE], "little")
    shape, dtype = described(content[:begin])
    return np.frombuffer(content, dtype, offset=begin).reshape(shape).copy()


@lru_cache
def described(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type by the header of a .npy file, which is read once: that takes longer than its numbers."""
    stream = io.BytesIO(head)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("found an array of another version, wanted 1.0 of .npy files")
    shape, turned, dtype = np.lib.format.read_array_header_1_0(stream)
    if turned or dtype.hasobject:
        raise ValueError(f"found an array of {dtype}, wanted numbers in C order")
    return shape, dtype


@dataclass(frozen=True)
class Opened:
    """A model as its library opened it, on the CPU.

    Attributes:
        model: Module, whole.
        tokens: What makes of it and of pixels (n, channels, side, side) a sequence (n, prefix + cells, features).
        cell_px: Side of the square of pixels that a token stands for.
        prefix: Number of tokens before those of the cells.
        values: What each of 256 grey values becomes, float32 of shape (channels, 256).
        beside: How the names of those weights begin that tokens do not pass.
        targets: Names of its outputs; none where it has no use of its own.
        random_weights: Whether its files say that it was never trained.
    """

    model: Any
    tokens: Callable[[Any, Any], Any]
    cell_px: int
    prefix: int
    values: np.ndarray
    beside: tuple[str, ...]
    targets: Sequence[str] = ()
    random_weights: bool = False


class Model:
    """A vision model, ready for images.

    Attributes:
        facts: What it is, for the other side.
    """

    def __init__(self, asked: Row) -> None:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without which CUDA may add in another order
        library, architecture, side = asked["library"], asked["architecture"], int(asked["side_px"])
        if library not in LIBRARIES:
            raise RefusalError(f"library: found {library}, wanted one of {', '.join(LIBRARIES)}")
        prepare(library)
        import torch

        began = time.monotonic()
        opened = LIBRARIES[library](Path(asked["folder"]), architecture, side)
        opened.model.eval().requires_grad_(False)
        rows, wanted = side // opened.cell_px, opened.prefix + (side // opened.cell_px) ** 2
        operations = counted(opened, side)
        self.opened, self.side, self.rows = opened, side, rows
        self.device = torch.device("cuda", asked.get("gpu", 0)) if torch.cuda.is_available() else torch.device("cpu")
        opened.model.to(self.device)
        self.values = torch.from_numpy(opened.values).to(self.device)
        try:
            found = self.run(np.zeros((1, side, side), np.uint8), opened.tokens).shape
        except (RuntimeError, AssertionError, ValueError) as error:
            raise RefusalError(f"{architecture} does not take images of {side} px: {describe(error)}") from error
        if found[1] != wanted:
            raise RefusalError(f"found {found[1]} tokens of an image of {side} px, wanted {wanted}")
        self.facts = {
            "parameters": sum(
                one.numel() for name, one in opened.model.named_parameters() if not name.startswith(opened.beside)
            ),
            "operations": operations,
            "features": found[2],
            "rows": rows,
            "prefix": opened.prefix,
            "patch_px": opened.cell_px,
            "random_weights": opened.random_weights,
            "targets": list(opened.targets),
            "versions": versions(),
            "device": self.device.type,
        }
        say(f"{architecture} of {library} on {self.device} in {time.monotonic() - began:.1f} s")

    def ask(self, verb: str, images: np.ndarray) -> list[np.ndarray]:
        """What a verb gives of n images, uint8 array of shape (n, side, side).

        `tokens` gives patches (n, rows, columns, features) and prefix (n, p, features), `outputs` gives (n, targets),
        all float32.
        """
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (self.side, self.side):
            raise RefusalError(
                f"found images of {images.dtype} and shape {images.shape}, wanted uint8 (n, {self.side}, {self.side})"
            )
        if verb == "outputs":
            if not self.opened.targets:
                raise RefusalError("found a model without outputs of its own, wanted one of torchxrayvision")
            return [self.run(images, lambda model, pixels: model(pixels))]
        if verb != "tokens":
            raise RefusalError(f"found the verb {verb}, wanted open, tokens or outputs")
        seen = self.run(images, self.opened.tokens)
        prefix = self.opened.prefix
        return [seen[:, prefix:].reshape(len(images), self.rows, self.rows, -1), seen[:, :prefix]]

    def run(self, images: np.ndarray, work: Callable[[Any, Any], Any]) -> np.ndarray:
        """What `work` makes of the model and of the values of images, float32."""
        import torch

        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            greys = torch.from_numpy(images).to(self.device).flatten().int()
            values = self.values.index_select(1, greys).view(-1, *images.shape)  # (channels, n, side, side)
            pixels = values.transpose(0, 1).contiguous()
            return np.asarray(work(self.opened.model, pixels).float().cpu().numpy())


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


def examine_timm(folder: Path, architecture: str, side: int) -> tuple[Row, np.ndarray]:
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


def open_timm(folder: Path, architecture: str, side: int) -> Opened:
    """A model of timm."""
    import timm

    told, values = examine_timm(folder, architecture, side)
    if not timm.is_model(architecture):
        raise RefusalError(f"architecture: found {architecture}, wanted a model that timm {timm.__version__} has")
    options = dict(told.get("model_args") or {})
    channels, *size = told["shape"]
    if channels != 3:
        options.setdefault("in_chans", channels)
    if size and told["cfg"].get("fixed_input_size"):
        options.setdefault("img_size", tuple(size))
    model = timm.create_model(architecture, pretrained=False, num_classes=told["classes"], **options)
    fill(model, checkpoint(folder, (WEIGHTS,)), architecture, folder)
    cell_px, prefix = fit_timm(model, architecture, side)
    return Opened(
        model=model,
        tokens=timm_tokens,
        cell_px=cell_px,
        prefix=prefix,
        values=values,
        beside=("head.", "fc_norm."),
        random_weights=told.get("random_weights") is True,
    )


def fit_timm(model: Any, architecture: str, side: int) -> tuple[int, int]:
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


def timm_tokens(model: Any, pixels: Any) -> Any:
    """Sequence of tokens (n, tokens, features)."""
    seen = model.forward_features(pixels)
    if seen.ndim == 3:
        return seen
    return seen.flatten(1, 2) if getattr(model, "output_fmt", "NCHW") == "NHWC" else seen.flatten(2).transpose(1, 2)


def examine_torchxrayvision(folder: Path, architecture: str, side: int) -> tuple[Row, np.ndarray]:
    """config.json of a model of TorchXRayVision, as `convert` wrote it, and its values of greys."""
    path = folder / CONFIG
    told = document(path)
    if told.get("architecture") != architecture or architecture not in XRV_CLASSES:
        raise RefusalError(
            f"{path}: found {told.get('architecture')}, wanted {architecture} as the row says, one of "
            f"{', '.join(XRV_CLASSES)}"
        )
    options, targets = told.get("arguments") or {}, told.get("targets")
    if not isinstance(targets, list) or len(targets) != options.get("num_classes"):
        raise RefusalError(
            f"{path}: found targets {targets!r}, wanted {options.get('num_classes')} names, one for each output"
        )
    check_side(side, CELL_PX, architecture)
    weights_of(folder, (WEIGHTS,))
    return told, np.repeat(xrv_values()[None], options.get("in_channels", 1), axis=0)


def open_torchxrayvision(folder: Path, architecture: str, side: int) -> Opened:
    """A model of TorchXRayVision."""
    told, values = examine_torchxrayvision(folder, architecture, side)
    options = told["arguments"]
    make, tokens, head = XRV_CLASSES[architecture]
    try:
        model = make(options)
    except (TypeError, KeyError, AttributeError) as error:
        raise RefusalError(
            f"{folder / CONFIG}: found arguments {options}, wanted those of {architecture}: {error}"
        ) from error
    fill(model, checkpoint(folder, (WEIGHTS,)), architecture, folder)
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


def xrv_values() -> np.ndarray:
    """TorchXRayVision's value of each grey value, float32 array of shape (256,).

    >>> xrv_values()[[0, 255]].tolist()
    [-1024.0, 1024.0]
    """
    return ((np.arange(256, dtype=np.float64) / 255 * 2 - 1) * XRV).astype(np.float32)


def xrv_densenet(options: Row) -> Any:
    """DenseNet by its arguments; it gives logits, as it has no thresholds to bend them by."""
    from torchxrayvision.models import DenseNet

    return DenseNet(**options)


def xrv_densenet_tokens(model: Any, pixels: Any) -> Any:
    """Cells of the last map as a sequence (n, cells, features), before the ReLU in front of the pooling."""
    return model.features(pixels).flatten(2).transpose(1, 2)


def xrv_resnet(options: Row) -> Any:
    """What TorchXRayVision's ResNet holds: that of torchvision, whose first layer takes one channel."""
    import torch
    from torchvision.models import resnet

    block = getattr(resnet, options["block"])
    model = resnet.ResNet(block, options["layers"], num_classes=options["num_classes"])
    model.conv1 = torch.nn.Conv2d(options["in_channels"], 64, kernel_size=7, stride=2, padding=3, bias=False)
    return model


def xrv_resnet_tokens(model: Any, pixels: Any) -> Any:
    """Cells of the last map as a sequence (n, cells, features)."""
    seen = model.maxpool(model.relu(model.bn1(model.conv1(pixels))))
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        seen = layer(seen)
    return seen.flatten(2).transpose(1, 2)


def examine_open_clip(folder: Path, architecture: str, side: int) -> tuple[Row, np.ndarray]:
    """open_clip_config.json of a model of open_clip, as its repository has it, and its values of greys."""
    path = folder / CLIP_CONFIG
    told = document(path)
    model = told.get("model_cfg") or {}
    vision, width = model.get("vision_cfg"), model.get("embed_dim")
    if not isinstance(vision, dict) or not isinstance(width, int):
        raise RefusalError(f"{path}: found no model_cfg with vision_cfg and embed_dim, wanted a model of open_clip")
    if (named := clip_architecture(vision)) != architecture:
        raise RefusalError(f"{path}: found {named}, wanted {architecture}, as the row says")
    cell_px = CELL_PX if named == "ModifiedResNet" else vision.get("patch_size", 16)
    if not vision.get("timm_model_name"):
        check_side(side, cell_px, architecture)
    weights_of(folder, CLIP_WEIGHTS)
    vision = {**vision, "timm_model_pretrained": False, "patch_dropout": 0.0}
    more = {"vision": vision, "width": width, "quick": bool(model.get("quick_gelu")), "cell_px": cell_px}
    return {**told, **more}, normalized(told.get("preprocess_cfg") or {}, 3, path)


def open_open_clip(folder: Path, architecture: str, side: int) -> Opened:
    """The vision tower of a model of open_clip. The text side is not built: it may want another repository's files."""
    from open_clip.model import CLIPVisionCfg, _build_vision_tower

    told, values = examine_open_clip(folder, architecture, side)

    def build(**changed: int) -> Any:
        return _build_vision_tower(told["width"], CLIPVisionCfg(**{**told["vision"], **changed}), told["quick"])

    try:
        model = build()
    except TypeError as error:
        raise RefusalError(
            f"{folder / CLIP_CONFIG}: found a vision_cfg that is none of open_clip's: {error}"
        ) from error
    whole, begin = checkpoint(folder, CLIP_WEIGHTS), "visual."
    left = sorted({name.partition(".")[0] for name in whole if not name.startswith(begin)})
    if left:
        say(f"weights that are not read, of the text side: {', '.join(left)}")
    state = {name.removeprefix(begin): value for name, value in whole.items() if name.startswith(begin)}
    fill(model, state, architecture, folder)
    cell_px, prefix, tokens = told["cell_px"], 1, clip_vit_tokens
    if told["vision"].get("timm_model_name"):
        model, tokens = model.trunk, timm_tokens
        cell_px, prefix = fit_timm(model, architecture, side)
    elif architecture == "ModifiedResNet":
        prefix, tokens = 0, clip_resnet_tokens
    else:
        model = clip_sized(model, lambda: build(image_size=side))
    return Opened(
        model=model,
        tokens=tokens,
        cell_px=cell_px,
        prefix=prefix,
        values=values,
        beside=CLIP_BESIDE,
        random_weights=told.get("random_weights") is True,
    )


def clip_architecture(vision: Mapping[str, Any]) -> str:
    """Name of a vision tower as a row has it: a model of timm, or a class of open_clip.

    >>> clip_architecture({"timm_model_name": "vit_base_patch16_224"}), clip_architecture({"layers": 12})
    ('vit_base_patch16_224', 'VisionTransformer')
    """
    if vision.get("timm_model_name"):
        return str(vision["timm_model_name"])
    return "ModifiedResNet" if isinstance(vision.get("layers"), list) else "VisionTransformer"


def clip_sized(model: Any, build: Callable[[], Any]) -> Any:
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


def clip_vit_tokens(model: Any, pixels: Any) -> Any:
    """Tokens behind the last block (n, 1 + patches, width), normed by the last norm unless that is one of a pool."""
    seen = model.transformer(model._embeds(pixels))
    return seen if model.attn_pool is not None else model.ln_post(seen)


def clip_resnet_tokens(model: Any, pixels: Any) -> Any:
    """Cells of the last map as a sequence (n, cells, features), before the pooling by attention."""
    seen = model.stem(pixels)
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        seen = layer(seen)
    return seen.flatten(2).transpose(1, 2)


LIBRARIES: Mapping[str, Callable[[Path, str, int], Opened]] = {
    "timm": open_timm,
    "torchxrayvision": open_torchxrayvision,
    "open_clip": open_open_clip,
}
# What the small files alone say: the same refusals before a process is started.
EXAMINED: Mapping[str, Callable[[Path, str, int], tuple[Row, np.ndarray]]] = {
    "timm": examine_timm,
    "torchxrayvision": examine_torchxrayvision,
    "open_clip": examine_open_clip,
}
# How to make a class of its arguments, its tokens, and how the names of its head's weights begin.
XRV_CLASSES: Mapping[str, tuple[Callable[[Row], Any], Callable[[Any, Any], Any], str]] = {
    "DenseNet": (xrv_densenet, xrv_densenet_tokens, "classifier."),
    "ResNet": (xrv_resnet, xrv_resnet_tokens, "fc."),
}


def document(path: Path) -> Row:
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
    stages.lib.models.vision.worker.RefusalError: side_px 100: wanted a multiple of 16 px, the side of a patch of \
test_vit, such as 96 or 112
    """
    if side % cell_px:
        below = side // cell_px * cell_px
        near = " or ".join(str(one) for one in (below, below + cell_px) if one)
        raise RefusalError(
            f"side_px {side}: wanted a multiple of {cell_px} px, the side of a patch of {architecture}, such as {near}"
        )


def weights_of(folder: Path, names: Sequence[str]) -> Path:
    """The first of the files of weights that is there."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise RefusalError(f"{folder}: found no weights, wanted {' or '.join(names)}")


def checkpoint(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Weights of a folder by name."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = weights_of(folder, names)
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise RefusalError(f"{path} cannot be read: {error}; fetch or copy it again") from error


def fill(model: Any, state: Mapping[str, Any], architecture: str, folder: Path) -> None:
    """Load weights into a model; refuse any that is missing, superfluous, of another shape, or no finite number."""
    own = model.state_dict()
    shared = own.keys() & state.keys()
    problems = {
        "lacks": [name for name in own.keys() - state.keys() if not name.endswith(COUNTED)],
        "has, and the model has not,": state.keys() - own.keys(),
        "has in another shape": [
            f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
            for name in shared
            if state[name].shape != own[name].shape
        ],
        "has NaN or infinite numbers in": [name for name in shared if not bool(state[name].isfinite().all())],
    }
    odd = [
        f"{what} {', '.join(sorted(names)[:MOST_NAMES])} ({len(names)} such)"
        for what, names in problems.items()
        if names
    ]
    if odd:
        raise RefusalError(
            f"{folder}: the checkpoint {'; '.join(odd)}; wanted all weights of {architecture} and no others, all of "
            "them numbers: layers without weights would be random"
        )
    model.load_state_dict({**{name: own[name] for name in own.keys() - shared}, **state})
    model.float()


def counted(opened: Opened, side: int) -> float | None:
    """Floating-point operations of an image, two per multiply-add; None if a copy without values does not run."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model = opened.model
    held = {id(one): torch.nn.Parameter(one.to("meta"), requires_grad=False) for one in model.parameters()}
    held |= {id(one): one.to("meta") for one in model.buffers()}
    counter = FlopCounterMode(display=False)
    try:
        bare = deepcopy(model, held)
        with torch.no_grad(), counter:
            opened.tokens(bare, torch.zeros((1, opened.values.shape[0], side, side), device="meta"))
    except Exception as error:  # a library's code may raise anything where tensors have no values
        say(f"operations are not counted: {describe(error)}")
        return None
    return float(counter.get_total_flops())


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
    architecture, options = xrv_arguments(state, file)
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
    model = XRV_CLASSES[architecture][0](options)
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


def xrv_arguments(state: Mapping[str, Any], file: Path) -> tuple[str, Row]:
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


def die_with(parent: int, private: Path) -> None:
    """End this process when the one that started it has gone, and clear away its private folder."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        clear(private)
        os._exit(REFUSED)

    threading.Thread(target=watch, daemon=True).start()


def clear(private: Path) -> None:
    """Take away a worker's private folder."""
    if private.name.startswith(PRIVATE):
        shutil.rmtree(private, ignore_errors=True)


def imported() -> dict[str, str | None]:
    """`versions` after the import of all that is installed, so that it is known to work."""
    found = versions()
    prepare(*(module for name, module in MODULES.items() if found[name] is not None))
    return found


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that decide tokens; None where one is not installed."""
    found: dict[str, str | None] = {"python": sys.version.split()[0]}
    for name in MODULES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def describe(error: Exception) -> str:
    """An error as one line.

    >>> describe(ValueError("two\\nlines"))
    'ValueError: two lines'
    """
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def say(text: str) -> None:
    """Write a line to the log."""
    sys.stderr.write(f"vision: {text}\n")
    sys.stderr.flush()


def run(argv: Sequence[str]) -> NoReturn:
    """Do what the command line says; a refusal is a sentence and an exit code of its own."""
    printed, out = "", sys.stdout
    die_with(os.getppid(), Path.cwd())
    try:
        with redirect_stdout(sys.stderr):  # so that what a library prints is not taken for an answer
            match list(argv):
                case ["--versions"]:
                    printed = json.dumps(imported()) + "\n"
                case ["--release", name]:
                    printed = release(name) + "\n"
                case ["--convert", file, folder, *name] if len(name) < 2:
                    die_with(os.getppid(), Path.cwd())
                    convert(Path(file), Path(folder), *name)
                case [socket] if socket.isdigit():
                    main(int(socket))
                case _:
                    raise RefusalError(f"found the arguments {' '.join(argv)}, wanted those of the docstring")
    except RefusalError as refusal:
        say(f"refused: {refusal}")
        sys.exit(REFUSED)
    out.write(printed)
    sys.exit(0)


if __name__ == "__main__":
    run(sys.argv[1:])
