"""A vision model, ready for images."""

import os
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.models.own_process import RefusalError, describe, versions
from stages.lib.models.vision.worker.installed import MODULES, prepare
from stages.lib.models.vision.worker.libraries import LIBRARIES
from stages.lib.models.vision.worker.log_lines import say
from stages.lib.models.vision.worker.opened import Opened


class Model:
    """A vision model, ready for images.

    Attributes:
        facts: What it is, for the other side.
    """

    def __init__(self, asked: dict[str, Any]) -> None:
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
            "versions": versions(MODULES),
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
