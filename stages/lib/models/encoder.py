"""What every frozen encoder of images has: its parameters, and features of one image at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import Literal

import numpy as np

from stages.lib.core import params


@params.section
class EncoderParams:
    """Which weights, and how they are held in memory."""

    model: params.Text  # folder, or id of a model on huggingface.co
    revision: params.Text  # commit, tag or branch on the hub; none for a folder
    dtype: Literal["bfloat16", "float32"]


Features = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Encoder:
    """An encoder, loaded when the first image is given to it.

    Attributes:
        identity: What decides the features beside the image: kind, weights, type of numbers, libraries.
        load: Loads the model; returns a function that takes an image, uint8 of shape (height, width, 3), red first, and
            returns its features, float32 of shape (width of the encoder,). Each image passes alone, so its features do
            not depend on others.
    """

    identity: str
    load: Callable[[], Features]

    @cached_property
    def features(self) -> Features:
        """Features of an image.

        Raises:
            ModelError: If the model cannot be loaded.
        """
        return self.load()


def identity(kind: str, weights_sha256: str, dtype: str) -> str:
    """Text of what decides the features of an encoder, for `Encoder.identity`."""
    versions = " ".join(f"{name} {metadata.version(name)}" for name in ("torch", "transformers"))
    return f"{kind} {weights_sha256} {dtype} {versions}"
