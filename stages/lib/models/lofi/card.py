"""noduleflow.json of a LoFi adapter: what it is bound to, and how it was trained."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from stages.lib.core import documents, files, params
from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.models.adapters import CARD, Value
from stages.lib.models.lofi import weights
from stages.lib.models.lofi.params import SHAPE, ModelParams
from stages.lib.models.snapshot import Identity


@params.section
class Card:
    """What an adapter is bound to; the parameters are kept by name, so that it outlives one that is renamed."""

    written_by: ClassVar[str] = "train"

    preprocessing_hash: params.Text  # of the images that it was trained on
    encoder: Identity
    decoder: Identity | None  # null if nothing was taught to write
    model: Mapping[str, Value]
    train: Mapping[str, Value | tuple[Value, ...]]
    step: params.Count  # of the optimizer, after which the checkpoint was written


def write(folder: Path, checkpoint: Path, card: Card) -> None:
    """Write the adapter of a checkpoint to `folder`, whole or not at all.

    Args:
        folder: The adapter's folder; replaced if it is there.
        checkpoint: Folder that `weights.save` wrote to.
        card: What it is bound to.
    """
    with files.replacing_folder(folder) as beside:
        for name in (weights.LORA, weights.CONFIG, weights.WHOLE):
            shutil.copyfile(checkpoint / name, beside / name)
        documents.write(beside / CARD, card)


def check(
    folder: Path,
    preprocessing_hash: str,
    encoder: Identity,
    decoder: Identity | None,
    params: ModelParams,
) -> Card:
    """An adapter's card, if the adapter fits.

    Args:
        folder: The adapter's folder.
        preprocessing_hash: Of the images that it is to see.
        encoder: Base of the towers.
        decoder: Base of the decoder; None if nothing is to be written. An adapter that was taught nothing to write fits
            any.
        params: How the network is joined.

    Raises:
        DocumentError: If the folder is not a LoFi adapter of this project.
        ModelError: If it lacks a file.
        MismatchError: If it was trained on other pixels, another base or another pooling; all differences are shown.
    """
    found = documents.read(folder / CARD, Card, "train it, or name the folder of a LoFi adapter of this project")
    missing = [name for name in (weights.LORA, weights.CONFIG, weights.WHOLE) if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"{folder}: the adapter lacks {' and '.join(missing)}; train it again")
    shape = asdict(params)
    pairs: dict[str, tuple[object, object]] = {
        "preprocessing hash": (found.preprocessing_hash, preprocessing_hash),
        "encoder sha256": (found.encoder.sha256, encoder.sha256),
        **{name: (found.model.get(name), shape[name]) for name in SHAPE},
    }
    if found.decoder and decoder:
        pairs["decoder sha256"] = (found.decoder.sha256, decoder.sha256)
    odd = [f"{name} {theirs!r}, now {ours!r}" for name, (theirs, ours) in pairs.items() if theirs != ours]
    if odd:
        raise MismatchError(
            f"{folder}: the adapter was trained with {'; '.join(odd)}. Use what it was trained with, or train another"
        )
    return found
