"""Models of transformers by class: what config.json names, and a checkpoint that fills every layer of the class."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.lib.core.errors import ModelError
from stages.lib.core.log import LOG
from stages.lib.models import gemma3

FILE = "config.json"
# What a checkpoint may lack, as a frozen pass has no use for it: the token of masked patches in pretraining, and the
# count of batches that a norm has seen.
UNUSED = ("mask_token", "num_batches_tracked")


def check(folder: Path, wanted: Sequence[str], row: str) -> Mapping[str, Any]:
    """Configuration of the model in a folder, as config.json has it, whose class is one of those wanted.

    Args:
        folder: The model's files.
        wanted: Classes that are taken.
        row: Name of the row, for errors.

    Raises:
        ModelError: If there is no such file, or the model is of another class.
    """
    path = folder / FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{row}: {folder}: found no {FILE}, wanted the folder of a model") from None
    except (OSError, ValueError):
        raise ModelError(f"{row}: {path} is not whole JSON; fetch or copy it again") from None
    told = document.get("architectures") if isinstance(document, dict) else None
    named = [str(one) for one in told] if isinstance(told, list) else []
    if not set(named) & set(wanted):
        found = ", ".join(named) or "no class"
        raise ModelError(
            f"{row}: {path}: found {found}, wanted {' or '.join(wanted)}, as the row's architecture says: layers "
            "that the weights do not have would be random"
        )
    return document


def has_random_weights(document: Mapping[str, Any]) -> bool:
    """Whether a configuration says that its model was made for a demo and never trained."""
    return document.get("random_weights") is True


@contextmanager
def reading(folder: Path, what: str, row: str) -> Iterator[None]:
    """Turn what a library says of odd files of a model into a failure of the row.

    transformers refuses a configuration by errors of many classes, and one row's model must not end the run of all.

    Args:
        folder: The model's files.
        what: What they are read as.
        row: Name of the row.

    Raises:
        ModelError: If they cannot be read so.
    """
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    odd = (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RuntimeError,
        StrictDataclassError,
        SafetensorError,
    )
    try:
        yield
    except odd as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"{row}: {folder}: cannot be read as {what}: {said}; look at its {FILE} and its weights"
        ) from error


def load(folder: Path, architecture: str, row: str, *, beside: tuple[str, ...] = (), dtype: str = "float32") -> Any:
    """Model of a class of transformers, on the CPU, in eval mode, all of whose weights are in the checkpoint.

    Args:
        folder: The model's files.
        architecture: The class.
        row: Name of the row, for errors.
        beside: How the names of those weights of the checkpoint begin that the class rightly has not.
        dtype: Type of its numbers.

    Raises:
        ModelError: If it cannot be loaded, or a weight is missing, superfluous or of another shape.
    """
    gemma3.quiet()
    import torch
    import transformers
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    with reading(folder, architecture, row):
        model, told = getattr(transformers, architecture).from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            use_safetensors=True,  # nothing is unpickled here
            ignore_mismatched_sizes=True,  # they are told, and refused with all else
            output_loading_info=True,
        )
    missing, more = (sorted(map(str, told[kind])) for kind in ("missing_keys", "unexpected_keys"))
    problems = {
        "lacks": [name for name in missing if not name.endswith(UNUSED)],
        "has, and the class has not,": [name for name in more if not name.startswith(beside)],
        "has in another shape": sorted(str(one[0]) for one in told["mismatched_keys"]),
    }
    odd = [f"{what} {', '.join(names[:3])} ({len(names)} such)" for what, names in problems.items() if names]
    if odd:
        raise ModelError(
            f"{row}: {folder}: the checkpoint {'; '.join(odd)}; wanted all weights of {architecture} and no others: "
            "layers without weights would be random"
        )
    left_out = {part: sum(name.startswith(part) for name in more) for part in beside}
    if more:
        told_so = ", ".join(f"{part.rstrip('.')} ({n})" for part, n in left_out.items() if n)
        LOG.info("%s: weights that are not read, of a head or a text side alone: %s", row, told_so)
    return model.eval()
