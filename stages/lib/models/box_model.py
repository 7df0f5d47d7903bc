"""Detectors of transformers: a model that gives boxes of one kind, nodules, each with a score."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import ModelError
from stages.lib.models import gemma3, model_class, preprocessor

ARCHITECTURES = ("RTDetrV2ForObjectDetection",)
HEADS = ("class_embed", "enc_score_head", "denoising_class_embed")  # parts of names of weights that count classes


@dataclass(frozen=True)
class Loaded:
    """A detector in memory.

    Attributes:
        model: The model, with one class.
        greys: Value of each grey value, tensor of shape (3, 256).
        side_px: Side of its images.
        row: Name of its row, for errors.
        random_weights: Whether it starts from random weights throughout.
    """

    model: Any
    greys: Any
    side_px: int
    row: str
    random_weights: bool


def load(folder: Path, architecture: str, side_px: int, seed: int, row: str) -> Loaded:
    """A pretrained detector with new heads of one class, the same each time.

    Args:
        folder: The model's files.
        architecture: Its class, one of `ARCHITECTURES`.
        side_px: Side of its images.
        seed: Of the heads, where the checkpoint has some of other classes.
        row: Name of the row, for errors.

    Raises:
        ModelError: If it is of another class, cannot be loaded, or lacks weights beside those heads.
    """
    if architecture not in ARCHITECTURES:
        raise ModelError(f"{row}: found the architecture {architecture}, wanted one of {', '.join(ARCHITECTURES)}")
    document = model_class.check(folder, (architecture,), row)
    gemma3.quiet()
    import torch
    import transformers
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.manual_seed(seed)
    with model_class.reading(folder, architecture, row):
        model, told = getattr(transformers, architecture).from_pretrained(
            folder,
            num_labels=1,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,  # nothing is unpickled here
            ignore_mismatched_sizes=True,  # the heads of other classes; all else is refused below
            output_loading_info=True,
        )
    names = [*told["missing_keys"], *told["unexpected_keys"], *(one[0] for one in told["mismatched_keys"])]
    odd = sorted(str(name) for name in names if not any(part in str(name) for part in HEADS))
    if odd:
        raise ModelError(
            f"{row}: {folder}: the checkpoint does not fit {architecture} in {', '.join(odd[:3])} ({len(odd)} such), "
            "wanted all weights but those of the classes: layers without weights would be random"
        )
    greys = torch.from_numpy(preprocessor.greys(folder, row))
    return Loaded(model.eval(), greys, side_px, row, model_class.has_random_weights(document))


def predict(loaded: Loaded, images: Sequence[np.ndarray]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes on images, the surest first.

    Args:
        loaded: The detector; its normalizations are those of its training, whatever else is in the batch.
        images: n images, uint8 arrays of shape (side_px, side_px).

    Returns:
        Middle and size of each box (u, v, width, height), in fractions of the padded square, shape (n, queries, 4); and
        its score, [0, 1], shape (n, queries).
    """
    import torch

    device = next(loaded.model.parameters()).device
    values = preprocessor.pixels(loaded.greys.to(device), images, loaded.side_px, loaded.row)
    loaded.model.eval()
    with torch.no_grad():
        found = loaded.model(pixel_values=values)
    scores = found.logits[..., 0].sigmoid().double().cpu().numpy()
    order = np.argsort(-scores, axis=1, kind="stable")
    boxes = found.pred_boxes.double().cpu().numpy()
    return np.take_along_axis(boxes, order[..., None], axis=1), np.take_along_axis(scores, order, axis=1)
