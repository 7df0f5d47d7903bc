"""Interface of classifiers: the logits of two answers for a batch of images, and their mean over sub-token shifts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.lib.core import params
from stages.lib.images import shifts
from stages.lib.models.gemma3 import ModelParams
from stages.lib.models.prompts import PromptParams


@params.section
class InferParams:
    """How the images are put to the model."""

    batch_size: params.Count  # images in one forward pass
    shifts: params.Count  # places along a side of an image token; logits are the mean over shifts x shifts passes
    readers: params.NonNegativeInt  # threads that read images ahead; 0 reads them between the passes
    weights: Literal[
        "unmerged", "merged"
    ]  # adapter on the base as model.quantization holds it; or merged into model.dtype
    splits: tuple[
        Literal["train", "val", "test"], ...
    ]  # images of a study that are asked; a bare folder is asked whole


@dataclass(frozen=True)
class Classifier:
    """A model that is ready to be queried.

    Attributes:
        logits: Takes n images as `load` returns them; returns a float array of shape (n, 3): logit of the negative
            answer, of the positive one, and the probability of the two together.
        load: Reads a normalized image, moved or not: uint8 array of shape (side, side), or its vision features.
        token_px: Side of the square that the model sees as one, in pixels of the normalized image: an image token, or
            an encoder's patch. Shifts are parts of it.
        reworded: As `logits`, of another prompt than the setting's; None where there is no prompt.
    """

    logits: Callable[[list[Any]], np.ndarray]
    load: shifts.Load
    token_px: int
    reworded: Callable[[list[Any], PromptParams], np.ndarray] | None = None


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Inputs of a kind of classifier beside the parameters of its row.

    Attributes:
        base: Record of the base model, by `fetch`.
        model: How it is held.
        prompt: The question and its two answers.
        preprocessing_hash: Of the images; empty if there is none.
        merged: Whether an adapter is merged into the base's weights.
        features: Folder for vision features; None if none are to be kept.
        images: Paths of the images, so that their features can be computed first.
        shifts: Places along a side of a token that each is moved to, `infer.shifts`.
    """

    base: Path
    model: ModelParams
    prompt: PromptParams
    preprocessing_hash: str
    merged: bool
    features: Path | None
    images: Sequence[Path]
    shifts: int


def averaged(
    classifier: Classifier, count: int
) -> tuple[Callable[[Path], list[Any]], Callable[[list[Any]], np.ndarray]]:
    """Reader of an image at all its places, and the logits of images read so: the mean over the places.

    The two answers' logits are averaged, and so are the probabilities of the two together. This is the one place where
    it is done, for every kind of classifier.

    Args:
        classifier: Asked once for each place, about a batch at a time.
        count: Places along a side of a token; 1 leaves each image where it is.

    Raises:
        ModelError: If the places do not divide a token.
    """
    places = shifts.places(count, classifier.token_px, "nodules.infer.shifts")

    def load(path: Path) -> list[Any]:
        return [classifier.load(path, place) for place in places]

    def logits(images: list[Any]) -> np.ndarray:
        found = [classifier.logits([image[number] for image in images]) for number in range(len(places))]
        return np.mean(np.asarray(found, np.float64), axis=0)  # (places, n, 3) -> (n, 3)

    return load, logits
