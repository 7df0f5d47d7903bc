"""What every frozen encoder of images has: its parameters, and features of one image at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stages.lib.core import params


@params.section
class EncoderParams:
    """Which weights, and how they are held in memory."""

    model: params.Text  # folder, or id of a model on huggingface.co
    revision: params.Text  # commit, tag or branch on the hub; none for a folder
    dtype: Literal["bfloat16", "float32"]


@dataclass(frozen=True)
class Encoder:
    """An encoder that is ready.

    Attributes:
        identity: What decides the features beside the image: weights, kind, type of numbers, libraries, device.
        features: Takes an image, uint8 of shape (height, width, 3), red first; returns its features, float32 of shape
            (width of the encoder,). Each image passes alone, so they do not depend on others.
    """

    identity: str
    features: Callable[[np.ndarray], np.ndarray]


def identity(kind: str, weights_sha256: str, dtype: str, device: object) -> str:
    """Text of what decides the features of an encoder, for `Encoder.identity`."""
    import torch
    import transformers

    return f"{kind} {weights_sha256} {dtype} {device} torch {torch.__version__} transformers {transformers.__version__}"
