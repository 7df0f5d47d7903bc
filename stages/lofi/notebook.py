"""The chapter's encoders in a notebook: embed images, embed sentences, search. Arrays in, arrays out.

After `from stages.lofi import notebook as lofi`:

pixels = lofi.Preprocessing(low_percentile=1.0, high_percentile=99.0, side_px=512)  # lofi.normalize
encoder = lofi.encoder("results/weights/lofi/encoder.json", pixels, adapter="results/lofi/train/adapter")
images = lofi.embed_images(encoder, lofi.squares(paths, pixels))       # (n, d)
sentences = lofi.embed_sentences(encoder, ["Opacity in the left lung."])  # (m, d)
lofi.search(sentences, images, names=paths, k=5)[0]                    # [Hit(name=..., similarity=...), ...]
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from stages.lib.core import params, tables, vectors
from stages.lib.core.errors import DataError, ImageError, ModelError, PoolError
from stages.lib.core.sentence_tables import IMAGE_VECTORS
from stages.lib.detect import similarity
from stages.lib.images import preprocess, reading
from stages.lib.models import search as exact
from stages.lib.models import snapshot
from stages.lib.models.box_text import Box, Read, read
from stages.lib.models.encoder import Pair, PairSetting
from stages.lib.models.encoders import lofi, siglip
from stages.lib.models.lofi import card, weights
from stages.lib.models.lofi.weights import Loaded
from stages.lib.models.lofi.wording import ground_prompt

MAX_PIXELS = 100_000_000  # of one image, beyond which it is not decoded
BATCH = 16
T = TypeVar("T")


@params.section
class Preprocessing:
    """How the pixels of an image become a square; an adapter wants that of its training, `lofi.normalize`."""

    low_percentile: params.Percent  # grey value of each image that becomes 0
    high_percentile: params.Percent  # grey value of each image that becomes 255
    side_px: params.Count  # side of the square


class Hit(NamedTuple):
    """An item that was found, and its cosine to the query, [-1, 1]."""

    name: str
    similarity: float


def encoder(
    record: str | Path,
    pixels: Preprocessing,
    *,
    adapter: str | Path | None = None,
    dtype: Literal["bfloat16", "float32"] = "float32",
) -> Pair:
    """An encoder of images and sentences: a SigLIP model, or LoFi's adapter on it.

    Args:
        record: JSON that `weights.fetch` wrote of the SigLIP model.
        pixels: How the images that it is to see are made.
        adapter: Folder that `lofi.train` wrote; None for the model as it is.
        dtype: Type of the numbers of a model without adapter.

    Raises:
        DocumentError: If the record or the adapter is not there.
        MismatchError: If the adapter was trained on other pixels or another model.
        ModelError: If the model is not whole.
    """
    found = snapshot.read(record)
    setting = PairSetting(found=found, preprocessing_hash=preprocess.preprocessing_hash(**asdict(pixels)))
    if adapter is not None:
        return lofi.pair(lofi.Params(adapter=str(adapter)), setting)
    return siglip.pair(siglip.Params(model=found.base, revision=found.revision, dtype=dtype), setting)


def model(
    encoder: str | Path, pixels: Preprocessing, *, adapter: str | Path, decoder: str | Path | None = None
) -> Loaded:
    """LoFi's whole network, for maps, and with a decoder for boxes that it writes.

    Args:
        encoder: Record of the SigLIP model that the adapter was trained on, by `weights.fetch`.
        pixels: How the images that it is to see are made.
        adapter: Folder that `lofi.train` or `lofi.tune` wrote.
        decoder: Record of the decoder; None if nothing is to be written.

    Raises:
        DocumentError: If a record or the adapter is not there.
        MismatchError: If the adapter was trained on other pixels or other models.
        ModelError: If a model is not whole.
    """
    towers, writer = snapshot.read(encoder), snapshot.read(decoder) if decoder else None
    params = lofi.trained_as(Path(adapter))
    hash_ = preprocess.preprocessing_hash(**asdict(pixels))
    card.check(Path(adapter), hash_, towers.identity, writer.identity if writer else None, params)
    return weights.load(towers, writer, params, Path(adapter))


def sentence_map(model: Loaded, square: np.ndarray, sentence: str) -> np.ndarray:
    """Cosine of each patch of an image with a sentence, float64 of shape (grid, grid), the upper left patch first.

    Args:
        model: See `model`.
        square: uint8 of shape (side_px, side_px), as `squares` makes it.
        sentence: The sentence.

    Raises:
        MismatchError: If the image has another side than the encoder takes.
        ModelError: If the sentence is longer than the text tower reads.
    """
    return np.asarray(similarity.similarity_map(model, square, sentence))


def drawn(square: np.ndarray, values: np.ndarray, boxes: Sequence[Box] = ()) -> np.ndarray:
    """An image with a map over it and boxes around, uint8 of shape (side, side, 3), red first.

    Args:
        square: uint8 of shape (side, side).
        values: Map, shape (grid, grid).
        boxes: Left, top, right, bottom, fractions of the side.
    """
    return similarity.overlay(square, values, list(boxes))


def ground(model: Loaded, square: np.ndarray, sentence: str, max_new_tokens: int) -> Read:
    """Boxes that the decoder writes for a sentence: left, top, right, bottom, fractions of the square.

    Args:
        model: See `model`, with a decoder.
        square: uint8 of shape (side_px, side_px).
        sentence: The sentence.
        max_new_tokens: An answer is cut there, and is malformed then; a box is 20 tokens.

    Returns:
        What was read of the answer: its status is "ok", "empty" or "malformed", with the reason.

    Raises:
        MismatchError: If the image has another side than the encoder takes.
        ModelError: If there is no decoder.
    """
    if model.decoder is None:
        raise ModelError("found no decoder, wanted one that writes boxes; give `model` the record of the decoder")
    [made] = model.generate(model.prefixes([square]), [ground_prompt(sentence)], max_new_tokens)
    return read(made.text, "lofi", cut=made.cut)


def squares(paths: Sequence[str | Path], pixels: Preprocessing) -> np.ndarray:
    """Images as the encoder sees them, uint8 of shape (n, side_px, side_px), padded to squares and not cropped.

    Args:
        paths: n PNG, JPEG, TIFF or DICOM files.
        pixels: See `Preprocessing`.

    Raises:
        DataError: With every image that cannot be read.
    """
    made, problems = [], []
    for path in paths:
        try:
            decoded = reading.read_grey(path, max_pixels=MAX_PIXELS)
            made.append(preprocess.normalize_pixels(decoded.pixels, counts=decoded.histogram, **asdict(pixels))[0])
        except (ImageError, OSError) as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise DataError(f"{len(problems)} image(s) cannot be read:", problems)
    return np.stack(made) if made else np.zeros((0, pixels.side_px, pixels.side_px), np.uint8)


def embed_images(encoder: Pair, squares: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
    """Vectors of length 1, float32 of shape (n, d), of n squares, uint8 of shape (n, side, side)."""
    return _batches(encoder.embed, list(squares), batch_size)


def embed_sentences(encoder: Pair, sentences: Sequence[str], batch_size: int = BATCH) -> np.ndarray:
    """Vectors of length 1, float32 of shape (m, d), of m sentences or short texts.

    Raises:
        ModelError: If the encoder does not read, or a text is longer than it reads: nothing is cut.
    """
    return _batches(encoder.texts, list(sentences), batch_size)


def search(queries: np.ndarray, pool: np.ndarray, names: Sequence[str | Path], k: int) -> list[list[Hit]]:
    """The k items of a pool most like each query, the most alike first, ties in the order of their names.

    Args:
        queries: Vectors of length 1, shape (q, d): of images or sentences.
        pool: Vectors of length 1, shape (p, d): of images or sentences.
        names: Of the items of the pool, p.
        k: How many are wanted.

    Returns:
        q lists of k items.

    Raises:
        PoolError: If k is more than the pool holds, or the numbers of names and vectors differ.

    >>> search(np.eye(2), np.eye(2)[::-1], ["b", "a"], 1)
    [[Hit(name='a', similarity=1.0)], [Hit(name='b', similarity=1.0)]]
    """
    if len(names) != len(pool):
        raise PoolError("names:", [f"found {len(names)}, wanted one of each of the {len(pool)} vectors of the pool"])
    order = sorted(range(len(pool)), key=lambda place: str(names[place]))
    found = exact.search(queries, np.asarray(pool)[order], k)
    return [
        [Hit(str(names[order[place]]), similarity) for place, similarity in zip(places, similarities, strict=True)]
        for places, similarities in zip(found.places.tolist(), found.similarities.tolist(), strict=True)
    ]


def stored_images(path: str | Path) -> tuple[list[str], np.ndarray]:
    """Ids and vectors, float32 of shape (n, d), of the images that `lofi.embed` embedded, for `search`.

    Raises:
        TableError: If there is no such table.
    """
    table: pa.Table = tables.read(path, IMAGE_VECTORS)
    return table["image_id"].to_pylist(), vectors.matrix(table)


def _batches(embed: Callable[[list[T]], np.ndarray], items: list[T], batch_size: int) -> np.ndarray:
    found = [embed(items[first : first + batch_size]) for first in range(0, len(items), batch_size)]
    return np.concatenate(found) if found else np.zeros((0, 0), np.float32)
