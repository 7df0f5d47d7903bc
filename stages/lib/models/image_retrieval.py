"""Retrieval by features of images from a frozen encoder.

A case's vector is the mean of its images' features, each of length 1. What all images have in common can be taken out
first (`centred`): without it, cosines of natural encoders crowd near 1, and a least similarity means little. The mean
that is taken out is that of the index alone.

Features of an image are kept in a folder under a name that decides them: image bytes as sent, weights, libraries.
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from stages.lib.core import params
from stages.lib.core.progress import track
from stages.lib.images import pictures
from stages.lib.models import kept
from stages.lib.models.encoder import Encoder
from stages.lib.models.retriever import Case, Neighbour, Retriever, RetrieverParams, nearest


@params.section
class ImageParams(RetrieverParams):
    """How images are shown to the encoder and compared."""

    pixels: params.Text  # what is done to an image before: file, or see stages/lib/images/pictures.py
    centred: bool  # whether the mean of the index is taken out of all vectors

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if wrong := pictures.problem(self.pixels):
            raise ValueError(f"pixels {wrong}")


def retriever(params: ImageParams, encoder: Encoder, folder: Path | None) -> Retriever:
    """Finds cases by their images.

    Args:
        params: See `ImageParams`.
        encoder: Of the images.
        folder: For features; None if none are kept.
    """

    def find(queries: Sequence[Case], index: Sequence[Case]) -> dict[str, list[Neighbour]]:
        paths = list(dict.fromkeys(path for case in (*queries, *index) for path in case.images))
        known = {
            path: features(path, params.pixels, encoder, folder)
            for path in track(paths, total=len(paths), what="features")
        }
        of_index, of_queries = (
            np.stack([_mean([known[path] for path in case.images]) for case in cases]) if cases else np.zeros((0, 1))
            for cases in (index, queries)
        )
        common = of_index.mean(axis=0) if params.centred and len(of_index) else 0.0
        return nearest(queries, index, of_queries - common, of_index - common, params.k)

    return find


def _mean(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of vectors, each of length 1 first."""
    rows = np.asarray(vectors, np.float64)
    return np.asarray((rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).mean(axis=0))


def features(path: Path, pixels: str, encoder: Encoder, folder: Path | None) -> np.ndarray:
    """Features of one image, float32 of shape (d,); from the folder if they are there and whole.

    Raises:
        ImageError: If the image cannot be read.
        OSError: If it cannot be opened.
    """
    content, _ = pictures.sent(path, pixels)
    if folder is None:
        return encoder.features(pictures.rgb(content))
    name = sha256(encoder.identity.encode() + b"\0" + sha256(content).digest()).hexdigest()
    at = kept.path(folder, name)
    found = kept.read(at)
    if found is None:
        found = encoder.features(pictures.rgb(content))
        kept.write(at, found)
    return found
