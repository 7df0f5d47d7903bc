"""Vision features on disk: the output of the vision tower, computed once for training and inference.

An image's features are in a file named after all that decides them: the bytes of the normalized image, how far it is
moved, its preprocessing hash, the weights of the tower and the projector as they are in memory, and the code and device
that compute them. So a stale file is never found, and the folder can be deleted at any time. Each image passes the
tower alone, so its features do not depend on the batch.

Features are of use where the tower is not tuned; an adapter on the tower has none.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.core import files, progress
from stages.lib.core.errors import ModelError
from stages.lib.images import normalized
from stages.lib.images.prefetch import Reader
from stages.lib.images.shifts import UNMOVED, Shift
from stages.lib.models import gemma3

READERS = 2


@dataclass(frozen=True)
class Store:
    """The features that one tower makes of images of one preprocessing hash.

    Attributes:
        folder: Where they are.
    """

    folder: Path

    def path(self, png: Path, shift: Shift = UNMOVED) -> Path:
        """Where the features of a normalized image are, or would be."""
        digest = files.sha256_file(png)
        moved = "" if shift == UNMOVED else f"_{shift.down_px}_{shift.right_px}"
        return self.folder / digest[:2] / f"{digest}{moved}.safetensors"

    def load(self, png: Path, shift: Shift = UNMOVED, /) -> Any:
        """Features of an image that `fill` was given, tensor of shape (image tokens, hidden).

        Raises:
            ModelError: If they are not there, or are not the bytes that were written; such a file is deleted.
        """
        from safetensors import SafetensorError, safe_open

        path = self.path(png, shift)
        try:
            with safe_open(path, framework="pt") as file:
                found, digest = file.get_tensor("features").clone(), file.metadata()["sha256"]
        except FileNotFoundError as error:
            raise ModelError(f"{png}: its vision features are not in {self.folder}; run the stage again") from error
        except (SafetensorError, OSError) as error:
            found, digest, reason = None, "", str(error)
        else:
            reason = "its bytes have changed"
        if found is None or sha256(_bytes(found)).hexdigest() != digest:
            path.unlink(missing_ok=True)
            raise ModelError(f"{path}: damaged ({reason}), and deleted now; run the stage again")
        return found

    def fill(
        self, loaded: gemma3.Loaded, pngs: Sequence[Path], shift: Shift = UNMOVED, *, resized: bool = False
    ) -> None:
        """Compute the features of those images that have none yet, and write each whole or not at all.

        Args:
            loaded: The model that the store is of.
            pngs: Normalized images.
            shift: How far they are moved.
            resized: Whether images of another side than the model's are resized; else they are refused.
        """

        def compute(image: np.ndarray) -> Any:
            return gemma3.features(loaded, [normalized.resized(image, loaded.side_px) if resized else image])[0]

        self.fill_by(compute, pngs, shift)

    def fill_by(self, compute: Callable[[np.ndarray], Any], pngs: Sequence[Path], shift: Shift = UNMOVED) -> None:
        """The same by any function that makes a tensor of an image, uint8 array of shape (side, side)."""
        missing = [(png, path) for png in dict.fromkeys(pngs) if not (path := self.path(png, shift)).exists()]
        images = Reader([[png] for png, _ in missing], lambda png: normalized.load(png, shift), READERS)
        work = zip(images, missing, strict=True)
        for [image], (_, path) in progress.track(work, total=len(missing), what="vision features"):
            _write(path, compute(image))

    def put(self, png: Path, shift: Shift, found: Any) -> None:
        """Write the features of an image that a pass made anyway, whole or not at all, unless they are there.

        Args:
            png: The normalized image.
            shift: How far it was moved.
            found: Its features, tensor of shape (image tokens, hidden), of a pass of the image alone.
        """
        path = self.path(png, shift)
        if not path.exists():
            _write(path, found)


def _write(path: Path, found: Any) -> None:
    """Write features; not forced to the disk, a thousand times an hour: what a power cut tears, the checksum finds."""
    from safetensors.torch import save_file

    tensor, beside = found.cpu().contiguous(), files.beside(path)
    try:
        save_file({"features": tensor}, beside, {"sha256": sha256(_bytes(tensor)).hexdigest()})
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def store(root: Path | None, loaded: gemma3.Loaded, preprocessing_hash: str) -> Store | None:
    """Store of the features that `loaded` makes of images of one preprocessing hash; None if there is none.

    Args:
        root: Folder for features of all towers; None if none are to be kept.
        loaded: The model. With an adapter on its tower it has no features: they change with every step.
        preprocessing_hash: Of the images.
    """
    if root is None or _tuned(loaded):
        return None
    return Store(root / f"{identity(loaded)[:16]}-{preprocessing_hash[:16]}")


def _tower(loaded: gemma3.Loaded) -> list[tuple[str, Any]]:
    """Names and values of all weights that an image passes on its way to its features."""
    core = loaded.model.base_model.model if hasattr(loaded.model, "peft_config") else loaded.model
    modules = {"tower": core.model.vision_tower, "projector": core.model.multi_modal_projector}
    return [
        (f"{part}.{name}", value)
        for part, module in modules.items()
        for name, value in sorted(module.state_dict().items())
    ]


def _tuned(loaded: gemma3.Loaded) -> bool:
    return any("lora_" in name for name, _ in _tower(loaded))


def identity(loaded: gemma3.Loaded) -> str:
    """Hash of the tower's weights, of its grey values, and of the code and device that compute."""
    attention = loaded.model.config.vision_config._attn_implementation
    return digest((loaded.device, attention), [("greys", loaded.greys), *_tower(loaded)])


def digest(facts: Iterable[object], tensors: Iterable[tuple[str, Any]]) -> str:
    """Hash of what decides features: libraries, facts, and tensors by name, bit by bit.

    Args:
        facts: What else decides them, such as the device.
        tensors: Name and values of each weight on the way.
    """
    import torch
    import transformers

    found = sha256()
    for fact in (torch.__version__, transformers.__version__, *facts):
        found.update(f"{fact}\0".encode())
    for name, value in tensors:
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\0".encode())
        found.update(_bytes(value))
    return found.hexdigest()


def _bytes(tensor: Any) -> memoryview:
    import torch

    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
