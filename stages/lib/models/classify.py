"""Interface of classifiers: the logits of two answers for a batch of images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.models.gemma3 import ModelParams
from stages.lib.models.prompts import PromptParams


@dataclass(frozen=True)
class Classifier:
    """A model that is ready to be queried.

    Attributes:
        logits: Takes n images as `load` returns them; returns a float array of shape (n, 3): logit of the negative
            answer, of the positive one, and the probability of the two together.
        load: Reads a normalized image from its path: uint8 array of shape (side, side), or its vision features.
    """

    logits: Callable[[list[Any]], np.ndarray]
    load: Callable[[Path], Any]


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
    """

    base: Path
    model: ModelParams
    prompt: PromptParams
    preprocessing_hash: str
    merged: bool
    features: Path | None
    images: Sequence[Path]
