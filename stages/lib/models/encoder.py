"""What every frozen encoder has: its parameters, features of one image at a time, and images beside texts.

Retrievers of the findings take an `Encoder`, which knows images alone. The chapter lofi takes a `Pair`: images and
texts as vectors of one space.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np

from stages.lib.core import params
from stages.lib.core.errors import ModelError
from stages.lib.models.lofi.wording import Fitted
from stages.lib.models.snapshot import Snapshot


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


@dataclass(frozen=True)
class Reader:
    """The text side of an encoder.

    Attributes:
        fit: Takes sentences in their order; puts together those that there is room for, none cut.
        embed: Takes n texts that there is room for; returns vectors of length 1, float32 of shape (n, d).
    """

    fit: Callable[[Sequence[str]], Fitted]
    embed: Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Pair:
    """An encoder of images, and of texts if it reads, both as vectors of one space.

    Attributes:
        identity: What decides the vectors beside images and texts: kind, weights, type of numbers, libraries, device.
        embed: Takes n normalized images, uint8 of shape (side, side) each; returns vectors of length 1, float32 of
            shape (n, d). A batch's vectors may differ from those of other batches in the last digits.
        reader: None if it does not read.
    """

    identity: str
    embed: Callable[[Sequence[np.ndarray]], np.ndarray]
    reader: Reader | None

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of length 1 of n texts, float32 of shape (n, d).

        Raises:
            ModelError: If it does not read, or a text is too long.
        """
        if self.reader is None:
            raise ModelError("the encoder has no text side, and embeds images alone; name one of kind siglip or lofi")
        return self.reader.embed(texts)


@dataclass(frozen=True, kw_only=True)
class PairSetting:
    """What a kind of encoders wants beside the parameters of its row.

    Attributes:
        found: The model's files; of an adapter, those of its base.
        preprocessing_hash: Of the images that it is to see; empty if there is none.
        adapter: Folder of the adapter that a rule names, such as that of another seed; None for that of the row.
    """

    found: Snapshot
    preprocessing_hash: str
    adapter: Path | None = None


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors, shape (n, d), made of length 1, float32.

    Raises:
        ModelError: If one is 0 or not finite.
    """
    rows = np.asarray(vectors, np.float32)
    length = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(length) & (length > 0)).all():
        raise ModelError("the encoder's output is 0 or not finite, wanted a vector")
    return np.asarray(rows / length, np.float32)


def identity(kind: str, weights_sha256: str, dtype: str) -> str:
    """Text of what decides the features of an encoder, for `Encoder.identity`."""
    versions = " ".join(f"{name} {metadata.version(name)}" for name in ("torch", "transformers"))
    return f"{kind} {weights_sha256} {dtype} {versions}"
