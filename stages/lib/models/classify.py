"""Interface of classifiers: the logits of two answers for a batch of images, and their mean over sub-token shifts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.lib.core import params, progress
from stages.lib.core.log import LOG
from stages.lib.images import shifts
from stages.lib.images.prefetch import Reader
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
    classifier: Classifier, count: int, parameter: str = "nodules.infer.shifts"
) -> tuple[Callable[[Path], list[Any]], Callable[[list[Any]], np.ndarray]]:
    """Reader of an image at all its places, and the logits of images read so: the mean over the places.

    The two answers' logits are averaged, and so are the probabilities of the two together. This is the one place where
    it is done, for every kind of classifier.

    Args:
        classifier: Asked once for each place, about a batch at a time.
        count: Places along a side of a token; 1 leaves each image where it is.
        parameter: Name of the parameter that says so, for the error.

    Raises:
        ModelError: If the places do not divide a token.
    """
    places = shifts.places(count, classifier.token_px, parameter)

    def load(path: Path) -> list[Any]:
        return [classifier.load(path, place) for place in places]

    def logits(images: list[Any]) -> np.ndarray:
        found = [classifier.logits([image[number] for image in images]) for number in range(len(places))]
        return np.mean(np.asarray(found, np.float64), axis=0)  # (places, n, 3) -> (n, 3)

    return load, logits


def in_batches(
    paths: Sequence[Path],
    ask: Callable[[list[Any]], np.ndarray],
    load: Callable[[Path], Any],
    batch_size: int,
    readers: int,
) -> np.ndarray:
    """Answers about images, read ahead and put to a classifier batch after batch, in their order.

    Args:
        paths: Of the normalized images, n of them.
        ask: Takes some images as `load` made them; returns float array of shape (images, 3), as `Classifier.logits`.
        load: Reads an image, at one place or at all.
        batch_size: Images in one pass.
        readers: Threads that read ahead; 0 reads each batch when it is needed.

    Returns:
        Float array of shape (n, 3).
    """
    batches = [paths[start : start + batch_size] for start in range(0, len(paths), batch_size)]
    images = Reader(batches, load, readers)
    began = time.monotonic()
    found = [ask(read) for read in progress.track(images, total=len(paths), what="infer", size=batch_size)]
    fraction = images.waited / max(time.monotonic() - began, 1e-9)
    LOG.info("infer: the model waited for images %.1f %% of the time", 100 * fraction)
    return np.concatenate(found) if found else np.zeros((0, 3))
