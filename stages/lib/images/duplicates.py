"""Near-duplicates: two files of one radiograph, scaled, compressed again, or in another window.

All chest radiographs look alike, so the images' common part is taken out before they are compared. A thumbnail holds
what is left of an image after its grey values became ranks (which no window and no gamma changes) and its coarse shades
went. Of thumbnails, the mean thumbnail of all images is regressed out, and Pearson's correlation of the residuals says
how alike two images are. Signs of the residual's cosine coefficients are a perceptual hash; only pairs of images whose
hashes are near each other are correlated.

Below `LEAST_IMAGES` images there is no mean that an image does not itself make. Nothing is regressed out then;
the plain correlation is measured from `COMMON` instead, which is 0, to 1. So a copy must be closer there.

Source: Zauner (2010) for hashes of signs of cosine coefficients. Ranks, residuals and limits are ours.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

SIDE_PX = 32  # of a thumbnail
VIEW_PX = 128  # of the image that it is made of
SHADES_PX = 6.0  # standard deviation of the Gaussian that is the coarse shades, on the image of VIEW_PX
LEVELS = 1 << 16  # grey values that ranks tell apart
UNIT = 32  # grey values of a thumbnail per standard deviation
LEAST_IMAGES = 10
COMMON = 0.95
BANDS = ((0, 8), (6, 14))  # cosine coefficients, of rows and of columns, whose signs are one word of the hash
MOST_OF_WORD, MOST_OF_HASH = (
    16,
    30,
)  # differing bits of the first word of 64, and of all 128, up to which a pair is correlated
LEAST_LEFT = 1e-3  # length of what is left of an image of length 1 below which it is taken whole
MOST_NEAR, MOST_LISTED = (
    500,
    20,
)  # pairs of one image with those after it: correlated, those of the nearest hashes; listed
BLOCK, HASH_BLOCK = 1 << 22, 1 << 16  # numbers of thumbnails, and of hashes, that are held at once


@dataclass(frozen=True)
class Pair:
    """Two images that are alike, by their places among the thumbnails.

    Attributes:
        first: The lower place.
        second: The higher place.
        correlation: Of what is left of them without the images' common part, [-1, 1].
        hash_distance: Differing bits of 128.
    """

    first: int
    second: int
    correlation: float
    hash_distance: int


def view(pixels: np.ndarray) -> np.ndarray:
    """An image as a small square, whatever its sides: float32 (VIEW_PX, VIEW_PX), in grey values of the original.

    Args:
        pixels: Grey values, uint8 or uint16, shape (height, width).
    """
    import cv2

    rule = cv2.INTER_AREA if min(pixels.shape) >= VIEW_PX else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (VIEW_PX, VIEW_PX), interpolation=rule), np.float32)


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Thumbnail of an image: uint8 (SIDE_PX, SIDE_PX), 128 where it is as bright as its surroundings.

    It does not change with a monotone map of the grey values, but for rounding. That of a flat image is flat.

    Args:
        pixels: Grey values, uint8 or uint16, shape (height, width).

    >>> image = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    >>> int(np.abs(thumbnail(image).astype(int) - thumbnail(image * 3 + 7)).max()) <= 1
    True
    """
    return of_view(view(pixels))


def of_view(small: np.ndarray) -> np.ndarray:
    """Thumbnail of an image whose `view` is known."""
    import cv2

    low, high = float(small.min()), float(small.max())
    steps = ((small - low) * ((LEVELS - 1) / max(high - low, 1e-6))).astype(np.int64)
    counts = np.bincount(steps.ravel(), minlength=LEVELS)
    ranks = ((np.cumsum(counts) - counts / 2) / small.size).astype(np.float32)[steps]
    fine = cv2.resize(
        ranks - cv2.GaussianBlur(ranks, (0, 0), SHADES_PX), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA
    )
    fine = fine - fine.mean()
    spread = float(fine.std())
    scaled = fine * (UNIT / spread) if spread > 1e-4 else np.zeros_like(fine)
    return np.clip(np.rint(scaled) + 128, 0, 255).astype(np.uint8)


def pairs(thumbnails: np.ndarray, least: float) -> list[Pair]:
    """Pairs of images whose correlation is at least `least`, by their places.

    A pair whose hashes differ in more than `MOST_OF_HASH` bits is not found. Of the pairs of one image
    with those after it, the `MOST_LISTED` most alike are given.

    Args:
        thumbnails: uint8 (n, SIDE_PX, SIDE_PX).
        least: Correlation from which a pair is listed, above 0.
    """
    if len(thumbnails) < 2:
        return []
    compared = _Compared(thumbnails)
    found: list[Pair] = []
    for first, second, distance in compared.near():
        correlation = np.round(compared.correlation(first, second), 4)
        kept = np.flatnonzero(correlation >= least)
        kept = kept[_foremost(first[kept], -correlation[kept], MOST_LISTED)]
        found += map(
            Pair, first[kept].tolist(), second[kept].tolist(), correlation[kept].tolist(), distance[kept].tolist()
        )
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def groups(ties: Iterable[tuple[int, int]], n: int) -> list[int | None]:
    """For each of n places the lowest place that it is tied to, directly or through others; None where there is none.

    >>> groups([(1, 2), (2, 4)], 5)
    [None, 1, 1, None, 1]
    """
    parent = list(range(n))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    tied: set[int] = set()
    for one, other in ties:
        tied |= {one, other}
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return [root(place) if place in tied else None for place in range(n)]


class _Compared:
    """Thumbnails, their mean, and what is needed to correlate two of them without it."""

    def __init__(self, thumbnails: np.ndarray) -> None:
        self.flat = thumbnails.reshape(len(thumbnails), -1)
        self.regressed = len(thumbnails) >= LEAST_IMAGES
        total = sum((unit.sum(0, dtype=np.float64) for _, unit in self._units()), np.zeros(self.flat.shape[1]))
        length = float(np.linalg.norm(total)) if self.regressed else 0.0
        self.mean = (total / length if length else total * 0).astype(np.float32)
        self.hashes = np.zeros((len(self.flat), len(BANDS)), np.uint64)
        self.hashed = np.zeros(len(self.flat), bool)
        # Of each image: mean, length without it, cosine with the mean image, and length of what is left of 1.
        self.facts = np.zeros((4, len(self.flat)), np.float64)
        basis = _cosines(round(self.flat.shape[1] ** 0.5))
        for place, unit in self._units():
            along = unit @ self.mean
            left = unit - along[:, None] * self.mean
            rest = np.linalg.norm(left, axis=1)
            whole = rest < LEAST_LEFT
            left[whole], along[whole], rest[whole] = unit[whole], 0, 1
            rows = self.flat[place].astype(np.float32)
            mean = rows.mean(1)
            self.facts[:, place] = mean, np.linalg.norm(rows - mean[:, None], axis=1), along, rest
            bits = (left @ basis > 0).reshape(len(left), len(BANDS), -1)
            packed = np.packbits(bits, axis=-1)
            self.hashes[place] = packed.view(np.uint64)[..., 0]
            self.hashed[place] = unit.any(1)

    def _units(self) -> Iterator[tuple[slice, np.ndarray]]:
        step = max(1, BLOCK // max(self.flat.shape[1], 1))
        for start in range(0, len(self.flat), step):
            place = slice(start, start + step)
            yield place, _unit(self.flat[place])

    def near(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Places of pairs with near hashes, and the differing bits, a block at a time."""
        places = np.flatnonzero(self.hashed)
        words = np.ascontiguousarray(self.hashes[places].T)
        step = max(1, HASH_BLOCK // max(len(places), 1))
        for start in range(0, len(places), step):
            rows = words[0, start : start + step, None] ^ words[0, None, start:]
            one, other = np.nonzero(np.bitwise_count(rows) <= MOST_OF_WORD)
            keep = one < other
            one, other = one[keep] + start, other[keep] + start
            distance = np.bitwise_count(words[:, one] ^ words[:, other]).sum(0, dtype=np.int64)
            keep = distance <= MOST_OF_HASH
            one, other, distance = one[keep], other[keep], distance[keep]
            keep = _foremost(one, distance, MOST_NEAR)
            yield places[one[keep]], places[other[keep]], distance[keep]

    def correlation(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Pearson's correlation of each two residuals."""
        found = np.zeros(len(first))
        pixels = self.flat.shape[1]
        step = max(1, BLOCK // pixels)
        for start in range(0, len(first), step):
            part = slice(start, start + step)
            one, other = (self.flat[places[part]].astype(np.float32) for places in (first, second))
            found[part] = np.einsum("ij,ij->i", one, other)
        (mean, length, along, rest), (mean_2, length_2, along_2, rest_2) = self.facts[:, first], self.facts[:, second]
        found = (found - pixels * mean * mean_2) / (length * length_2)
        found = (found - along * along_2) / (rest * rest_2)
        return found if self.regressed else np.maximum((found - COMMON) / (1 - COMMON), -1)


def _foremost(group: np.ndarray, value: np.ndarray, most: int) -> np.ndarray:
    """Places of the `most` lowest values of each group, sorted by group and value.

    >>> _foremost(np.array([7, 7, 7, 8]), np.array([3, 1, 2, 9]), 2).tolist()
    [1, 2, 3]
    """
    order = np.lexsort((value, group))
    starts = np.searchsorted(group[order], group[order], "left")
    return order[np.arange(len(order)) - starts < most]


def _unit(flat: np.ndarray) -> np.ndarray:
    """Rows without their means, of length 1; a flat row of length 0."""
    rows = flat.astype(np.float32)
    rows -= rows.mean(1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-3), np.float32)


def _cosines(side: int) -> np.ndarray:
    """Cosine functions of two dimensions whose signs make the hash, as columns: (side * side, 64 per word)."""
    at = np.arange(side) + 0.5
    waves = np.cos(np.pi * np.arange(max(high for _, high in BANDS))[:, None] * at / side)
    words = [np.einsum("ay,bx->yxab", waves[low:high], waves[low:high]).reshape(side * side, -1) for low, high in BANDS]
    return np.concatenate(words, 1).astype(np.float32)
