"""Weights of a model: found, read, and loaded if they fill it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.lib.models.own_process import RefusalError

WEIGHTS = "model.safetensors"
COUNTED = "num_batches_tracked"  # of a norm: decides nothing in eval mode, and old checkpoints lack it
MOST_NAMES = 3  # of weights in a refusal


def weights_of(folder: Path, names: Sequence[str]) -> Path:
    """The first of the files of weights that is there."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise RefusalError(f"{folder}: found no weights, wanted {' or '.join(names)}")


def load_weights(folder: Path, names: Sequence[str]) -> dict[str, Any]:
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
