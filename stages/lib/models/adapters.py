"""A trained adapter: PEFT's two files, and noduleflow.json with its preprocessing hash, base model and prompt."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from stages.lib.core import documents, files, params
from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.models.prompts import PromptParams
from stages.lib.models.snapshot import Identity

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
CARD = "noduleflow.json"


Value = str | bool | int | float


@params.section
class Card:
    """noduleflow.json: what an adapter is bound to, and how it was trained.

    The parameters are kept by name and not as their class, so that an adapter outlives a parameter that is renamed.
    """

    written_by: ClassVar[str] = "train"

    preprocessing_hash: params.Text  # of the images that it was trained on
    base: Identity
    prompt: Mapping[str, Value]
    model: Mapping[str, Value]
    train: Mapping[str, Value]
    step: params.Count  # of the optimizer, after which the checkpoint was written
    training_odds: params.NonNegativeFloat | None  # null for an adapter that writes texts
    positive_weight: params.PositiveFloat | None


def write(folder: Path, checkpoint: Path, card: Card) -> None:
    """Write the adapter of a checkpoint to `folder`, whole or not at all.

    Args:
        folder: The adapter's folder; replaced if it is there.
        checkpoint: Folder with the files that PEFT wrote.
        card: What it is bound to.
    """
    config = json.loads((checkpoint / CONFIG).read_text())
    config["base_model_name_or_path"] = card.base.base
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # PEFT keeps a set, in an order that changes from run to run
    with files.replacing_folder(folder) as beside:
        shutil.copyfile(checkpoint / WEIGHTS, beside / WEIGHTS)
        files.write_json(beside / CONFIG, config)
        documents.write(beside / CARD, card)


def check(folder: Path, preprocessing_hash: str, base: Identity, prompt: PromptParams | None) -> Card:
    """An adapter's noduleflow.json, if the adapter fits the given pixels, base and prompt.

    Args:
        folder: The adapter's folder.
        preprocessing_hash: Of the images that it is to classify.
        base: Base model that it is to be loaded on.
        prompt: Its question and answers; None if the model is meant to be asked other ones too.

    Raises:
        DocumentError: If the folder is not an adapter of this project.
        ModelError: If it lacks a file.
        MismatchError: If it was trained on other pixels, another base or another prompt; all differences are shown.
    """
    found = documents.read(folder / CARD, Card, "train it, or name the folder of an adapter of this project")
    missing = [name for name in (WEIGHTS, CONFIG) if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"{folder}: the adapter lacks {' and '.join(missing)}; train it again")
    theirs = _bound(found.preprocessing_hash, found.base, found.prompt)
    ours = _bound(preprocessing_hash, base, asdict(prompt) if prompt else {})
    odd = [f"{name} {theirs.get(name)!r}, now {value!r}" for name, value in ours.items() if theirs.get(name) != value]
    if odd:
        raise MismatchError(
            f"{folder}: the adapter was trained with {'; '.join(odd)}. Use the base, the pixels and the prompt that it "
            "was trained with, or train another"
        )
    return found


def _bound(preprocessing_hash: str, base: Identity, prompt: Mapping[str, Value]) -> dict[str, Value]:
    """What has to agree, by name."""
    named = {f"prompt.{key}": value for key, value in prompt.items()}
    return {"preprocessing hash": preprocessing_hash, "base sha256": base.sha256, **named}
