"""A pickled state of weights as safetensors; no code of the file is run."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.lib.models.own_process import RefusalError, describe
from stages.lib.models.vision.worker.checkpoint import MOST_NAMES, WEIGHTS
from stages.lib.models.vision.worker.log_lines import say

WRAPPERS = ("state_dict", "model", "module")  # keys that training programs keep the weights under
PREFIX = "module."  # of all names, where the model was trained on several GPUs
UNSAFE = r"(?i)unsupported (?:global:? (?:global )?|operand |class )[\w.]+"


def unpickle(file: Path, folder: Path) -> None:
    """Write the state of a file as model.safetensors.

    torch reads the file with `weights_only=True`, which takes tensors, numbers and texts and runs no code; what it
    refuses is refused here.

    Args:
        file: The pickle.
        folder: Where to.
    """
    from safetensors.torch import save_file

    state = weights(read(file), file)
    part = folder / f"{WEIGHTS}.part"
    save_file({name: alone(value) for name, value in state.items()}, part, {"format": "pt"})
    part.replace(folder / WEIGHTS)
    say(f"{len(state)} weights")


def read(file: Path) -> Any:
    """What a file holds, if it is tensors, numbers and texts in lists and tables alone."""
    import torch

    warnings.filterwarnings("ignore")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of a file that is no pickle, anything
        named = re.search(UNSAFE, str(error))
        told = named[0] if named else describe(error)[:300]
        raise RefusalError(
            f"{file}: torch does not read it with weights_only=True ({told}), wanted a state: weights by name. Nothing "
            "laxer is tried, as that would run whatever code is in the file. Is it whole? If it is, and you trust it, "
            "save the state of its model (torch.save(model.state_dict(), ...)) and name that file"
        ) from error


def weights(found: Any, file: Path) -> dict[str, Any]:
    """Tensors by name, out of what training programs wrap them in; refuse anything else.

    >>> weights({"epoch": 3}, Path("a.pt"))
    Traceback (most recent call last):
    stages.lib.models.own_process.RefusalError: a.pt: found int under epoch (1 such), wanted tensors by name, or a \
table of them under one of state_dict, model, module
    """
    import torch

    place = f"{file}"
    while isinstance(found, Mapping) and (inside := [key for key in WRAPPERS if isinstance(found.get(key), Mapping)]):
        if len(inside) > 1:
            raise RefusalError(f"{place}: found weights under {' and '.join(inside)}, wanted them under one name")
        left = ", ".join(sorted(str(key) for key in found if key != inside[0]))
        say(f"unwrapped {inside[0]}{f', beside which were {left}' if left else ''}")
        found, place = found[inside[0]], f"{place}, {inside[0]}"
    if not isinstance(found, Mapping):
        raise RefusalError(f"{place}: found {type(found).__name__}, wanted tensors by name")
    if not found:
        raise RefusalError(f"{place}: found no weights")
    odd = [f"{type(value).__name__} under {key}" for key, value in found.items() if not isinstance(value, torch.Tensor)]
    odd += [f"{value.layout} under {key}" for key, value in found.items() if dense(value) is False]
    odd += [f"the name {key!r}" for key in found if not isinstance(key, str)]
    if odd:
        raise RefusalError(
            f"{place}: found {', '.join(odd[:MOST_NAMES])} ({len(odd)} such), wanted tensors by name, or a table of "
            f"them under one of {', '.join(WRAPPERS)}"
        )
    if all(key.startswith(PREFIX) for key in found):
        say(f"took {PREFIX} off all names")
        found = {key.removeprefix(PREFIX): value for key, value in found.items()}
    return dict(found)


def dense(value: Any) -> bool | None:
    """Whether a tensor holds plain numbers; None for what is no tensor."""
    import torch

    if not isinstance(value, torch.Tensor):
        return None
    return value.layout is torch.strided and not value.is_quantized and not value.is_meta


def alone(value: Any) -> Any:
    """A tensor that shares its numbers with no other."""
    return value.detach().clone().contiguous()
