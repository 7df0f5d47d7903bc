"""A trained adapter: PEFT's two files, and noduleflow.json with its preprocessing hash, base model and prompt."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stages.lib.core import files
from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.models import gemma3
from stages.lib.models.prompts import PromptParams

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
CARD = "noduleflow.json"


def card(preprocessing_hash: str, base: gemma3.Base, prompt: PromptParams, **more: Any) -> dict[str, Any]:
    """Return what an adapter is bound to: the preprocessing hash, the base model, the prompt; and `more`."""
    return {"preprocessing_hash": preprocessing_hash, "base": base.identity, "prompt": asdict(prompt), **more}


def write(folder: Path, checkpoint: Path, document: dict[str, Any]) -> None:
    """Write the adapter of a checkpoint to `folder`, whole or not at all.

    Args:
        folder: The adapter's folder; replaced if it is there.
        checkpoint: Folder with the files that PEFT wrote.
        document: See `card`.
    """
    config = json.loads((checkpoint / CONFIG).read_text())
    config["base_model_name_or_path"] = document["base"]["base"]
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # PEFT keeps a set, in an order that changes from run to run
    with files.replacing_folder(folder) as beside:
        shutil.copyfile(checkpoint / WEIGHTS, beside / WEIGHTS)
        files.write_json(beside / CONFIG, config)
        files.write_json(beside / CARD, document)


def check(folder: Path, preprocessing_hash: str, base: gemma3.Base, prompt: PromptParams) -> dict[str, Any]:
    """Return an adapter's noduleflow.json, if the adapter fits the given pixels, base and prompt.

    Args:
        folder: The adapter's folder.
        preprocessing_hash: Of the images that it is to classify.
        base: Base model that it is to be loaded on.
        prompt: Its question and answers.

    Raises:
        ModelError: If the folder is not an adapter of this project.
        MismatchError: If it was trained on other pixels, another base or another prompt; all differences are shown.
    """
    try:
        found = json.loads((folder / CARD).read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: not an adapter of this project ({error}); train it, or name its folder") from error
    missing = [name for name in (WEIGHTS, CONFIG) if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"{folder}: the adapter lacks {' and '.join(missing)}; train it again")
    wanted = card(preprocessing_hash, base, prompt)
    theirs, ours = _bound(found), _bound(wanted)
    odd = [f"{name} {theirs.get(name)!r}, now {value!r}" for name, value in ours.items() if theirs.get(name) != value]
    if odd:
        raise MismatchError(
            f"{folder}: the adapter was trained with {'; '.join(odd)}. Use the base, the pixels and the prompt that it "
            "was trained with, or train another"
        )
    return found


def _bound(document: dict[str, Any]) -> dict[str, Any]:
    """Return what has to agree, by name."""
    prompt = {f"prompt.{key}": value for key, value in document.get("prompt", {}).items()}
    return {
        "preprocessing hash": document.get("preprocessing_hash"),
        "base sha256": document.get("base", {}).get("sha256"),
        **prompt,
    }
