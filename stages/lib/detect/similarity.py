"""Where an image is like a sentence: cosines of its patches and the text, and the hills of that map as boxes.

Nothing is generated, and nothing was taught for it: LoFi's two towers are asked as they are.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.lib.images.extent import WHOLE, Extent, cells
from stages.lib.models.box_text import Box
from stages.lib.models.lofi.weights import Loaded

Method = Literal["head", "patches"]
AT_ONCE = 256  # patches that pass the head at once


@dataclass(frozen=True)
class Hill:
    """A part of a map that stands out.

    Attributes:
        box: Left, top, right, bottom, fractions of the padded square.
        top: Centre of its highest cell, column and row, likewise.
        value: There.
    """

    box: Box
    top: tuple[float, float]
    value: float


def patch_embeddings(loaded: Loaded, image: np.ndarray, method: Method) -> NDArray[np.float32]:
    """An embedding of length 1 for each patch.

    Args:
        loaded: LoFi's network.
        image: uint8 array of shape (side_px, side_px).
        method: "head": each patch alone through the head that makes embeddings of images; "patches": the tower's token
            of the patch as it is.

    Returns:
        Float32 array of shape (grid, grid, d), row by row.

    Raises:
        MismatchError: If the image has another side than the encoder takes.
    """
    import torch

    with torch.no_grad():
        patches = loaded.network.patches(loaded.pixels(torch.from_numpy(image[None])))[0]  # (patches, d)
        if method == "head":
            each = [loaded.network.image_embedding(part[:, None]) for part in patches.split(AT_ONCE)]
            found = torch.cat(each)
        else:
            found = torch.nn.functional.normalize(patches.float(), dim=-1)
    grid = int(len(found) ** 0.5)
    return np.asarray(found.float().cpu().numpy(), np.float32).reshape(grid, grid, -1)


def similarity_map(loaded: Loaded, image: np.ndarray, sentence: str, method: Method = "head") -> NDArray[np.float64]:
    """How much each patch of an image is like a sentence.

    Args:
        loaded: LoFi's network, as `lofi.weights.load` gives it.
        image: A normalized image, uint8 array of shape (side_px, side_px).
        sentence: The sentence.
        method: As of `patch_embeddings`.

    Returns:
        Cosines, float64 array of shape (grid, grid); cell (0, 0) is the upper left patch.

    Raises:
        MismatchError: If the image has another side than the encoder takes.
        ModelError: If the sentence is longer than the text tower reads.
    """
    return cosines(patch_embeddings(loaded, image, method), loaded.embed_texts([sentence])[0])


def cosines(patches: NDArray[np.float32], text: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of each patch's embedding, shape (grid, grid, d), with a text's, shape (d,); both have length 1."""
    return np.asarray(patches.astype(np.float64) @ text.astype(np.float64))


def hills(values: NDArray[np.float64], *, most: int, box_fraction: float, image: Extent = WHOLE) -> list[Hill]:
    """The highest hills of a map, the highest first; none of a flat one.

    A hill is a cell that none of its eight neighbours exceeds and that is above the median of the image's cells. Its
    box goes around the cells joined to it, by their sides, that reach `box_fraction` of its height above the median.
    A top within an earlier hill's box is part of that.

    Args:
        values: Map of shape (grid, grid).
        most: Hills at most.
        box_fraction: Of a hill's height above the median, from which a cell belongs to it, (0, 1].
        image: Where the image lies in the padded square: cells outside have no part.

    >>> grid = np.zeros((4, 4))
    >>> grid[1, 1:3] = 1.0, 0.75
    >>> hills(grid, most=2, box_fraction=0.5)
    [Hill(box=(0.25, 0.25, 0.75, 0.5), top=(0.375, 0.375), value=1.0)]
    """
    from scipy.ndimage import label, maximum_filter

    grid = len(values)
    inside = cells(grid, image)
    floor = float(np.median(values[inside]))
    seen = np.where(inside, values, -np.inf)
    tops = (seen == maximum_filter(seen, size=3, mode="constant", cval=-np.inf)) & (seen > floor)
    rows, columns = np.nonzero(tops)
    taken = np.zeros_like(inside)
    found: list[Hill] = []
    for place in np.argsort(-seen[rows, columns], kind="stable").tolist():
        row, column = int(rows[place]), int(columns[place])
        if len(found) == most:
            break
        if taken[row, column]:
            continue
        parts, _ = label(seen >= floor + box_fraction * (seen[row, column] - floor))
        own = parts == parts[row, column]
        down, across = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
        taken[down[0] : down[-1] + 1, across[0] : across[-1] + 1] = True
        left, top, right, bottom = across[0], down[0], across[-1] + 1, down[-1] + 1
        found.append(
            Hill(
                (float(left / grid), float(top / grid), float(right / grid), float(bottom / grid)),
                ((column + 0.5) / grid, (row + 0.5) / grid),
                float(seen[row, column]),
            )
        )
    return found


def confidence(loaded: Loaded, cosine: float) -> float:
    """Probability that an image and a text belong together, by the network's own scale and bias, [0, 1].

    It is what the sigmoid loss was taught for whole images; of a patch it ranks, and is no probability.
    """
    import math

    scale, bias = float(loaded.network.scale), float(loaded.network.bias)
    return 1 / (1 + math.exp(-(scale * cosine + bias)))


def overlay(image: np.ndarray, values: NDArray[np.float64], boxes: list[Box]) -> np.ndarray:
    """An image with a map over it, red where it is high, and boxes around.

    Args:
        image: uint8 array of shape (side, side).
        values: Map of shape (grid, grid).
        boxes: Left, top, right, bottom, fractions of the side.

    Returns:
        uint8 array of shape (side, side, 3), red first.
    """
    import cv2

    side = len(image)
    spread = float(np.ptp(values)) or 1.0
    heat = cv2.resize((values - values.min()) / spread, (side, side), interpolation=cv2.INTER_LINEAR)
    made = np.repeat(image[:, :, None], 3, axis=2).astype(np.float64)
    strength = 0.5 * np.clip(heat, 0.0, 1.0)[:, :, None]
    made = np.round(made * (1 - strength) + np.array([255.0, 0.0, 0.0]) * strength).astype(np.uint8)
    for box in boxes:
        x0, y0, x1, y1 = (round(edge * (side - 1)) for edge in box)
        cv2.rectangle(made, (x0, y0), (x1, y1), (255, 255, 0), 1)
    return made
