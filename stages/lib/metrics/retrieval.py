"""Retrieval: the rank of the first right item of a pool for each query, and what is read of ranks.

A query may have several right items: an image whose report has several parts, or a text that others have too. Of items
as similar as the first right one the wrong ones are taken to come first (pessimistic), so that an encoder which gives
the same vector to everything finds nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.lib.core.errors import MetricInputError, UndefinedMetricError

DIGITS = 6  # of a cosine; what lies beneath differs with the order of a sum, and would decide ties by chance
CELLS = 1 << 23  # of a similarity matrix, held at once

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Right = Callable[[Ints], Bools]  # numbers of queries, (b,) -> which items of the pool are right, (b, p)


@dataclass(frozen=True)
class Ranks:
    """What each query found.

    Attributes:
        rank: Rank of its first right item, from 1, pessimistic, shape (q,).
        tied: Wrong items as similar as that one, shape (q,).
        n_right: Right items in the pool, shape (q,).
        n_pool: Size of the pool.
    """

    rank: Ints
    tied: Ints
    n_right: Ints
    n_pool: int

    @property
    def tied_fraction(self) -> float:
        """Fraction of pairs of a query and a wrong item that are as similar as the query's first right one, [0, 1].

        Raises:
            UndefinedMetricError: If there is no such pair.
        """
        wrong = int((self.n_pool - self.n_right).sum())
        if not wrong:
            raise UndefinedMetricError("no query has a wrong item in its pool")
        return float(self.tied.sum()) / wrong


def ranks(similarities: ArrayLike, right: ArrayLike) -> Ranks:
    """Pessimistic rank of each query's first right item.

    rank = 1 + number of wrong items whose similarity is at least the highest of a right one.

    Args:
        similarities: Of each query and each item of the pool, shape (q, p); more is more alike.
        right: Which items are right, the same shape.

    Raises:
        MetricInputError: If the shapes differ, a similarity is not a number, or a query has no right item.

    >>> found = ranks([[0.9, 0.1, 0.8], [0.5, 0.5, 0.2]], [[True, False, False], [True, False, False]])
    >>> found.rank.tolist(), found.tied.tolist()
    ([1, 2], [0, 1])
    """
    cosines, mask = np.asarray(similarities), np.asarray(right, bool)
    if cosines.ndim != 2 or cosines.shape != mask.shape:
        raise MetricInputError(
            f"found similarities of shape {cosines.shape} and right items of shape {mask.shape}, wanted (q, p) of both"
        )
    if np.isnan(cosines).any():
        raise MetricInputError(f"found {int(np.isnan(cosines).sum())} similarities that are not numbers")
    n_right = mask.sum(axis=1)
    if lacking := int((n_right == 0).sum()):
        first = int(np.flatnonzero(n_right == 0)[0])
        raise MetricInputError(f"found {lacking} queries without a right item, such as number {first}; leave them out")
    best = np.where(mask, cosines, -np.inf).max(axis=1, initial=-np.inf, keepdims=True)
    above, tied = (~mask & (cosines > best)).sum(axis=1), (~mask & (cosines == best)).sum(axis=1)
    return Ranks(1 + above + tied, tied, n_right, cosines.shape[1])


def ranks_of_vectors(queries: ArrayLike, pool: ArrayLike, right: Right) -> Ranks:
    """Ranks by the dot product of vectors, some queries at a time, so that the whole matrix is never held.

    Args:
        queries: Shape (q, d); of length 1 for cosines.
        pool: Shape (p, d).
        right: Takes numbers of queries, says which items of the pool are right for them, see `belonging`.

    Raises:
        MetricInputError: As `ranks`, or if the widths differ.
    """
    q, p = (np.asarray(vectors, np.float64) for vectors in (queries, pool))
    if q.ndim != 2 or p.ndim != 2 or q.shape[1] != p.shape[1]:
        raise MetricInputError(f"found vectors of the shapes {q.shape} and {p.shape}, wanted (q, d) and (p, d)")
    block = max(1, CELLS // max(len(p), 1))
    made = []
    for first in range(0, len(q), block):
        numbers = np.arange(first, min(first + block, len(q)))
        made.append(ranks(np.round(q[numbers] @ p.T, DIGITS), right(numbers)))
    rank, tied, n_right = (
        np.concatenate([getattr(one, name) for one in made] or [np.zeros(0, np.int64)])
        for name in ("rank", "tied", "n_right")
    )
    return Ranks(rank, tied, n_right, len(p))


@dataclass(frozen=True)
class Belonging:
    """Which text belongs to which image.

    Attributes:
        owner: Number of the image of each text, shape (t,).
        n_images: Number of images.
        text: Equal numbers for equal texts, shape (t,); None if only the own texts are right (strict).
        study: Equal numbers for images of one study, shape (n,); None likewise.
    """

    owner: Ints
    n_images: int
    text: Ints | None = None
    study: Ints | None = None

    def texts_of(self, images: Ints) -> Bools:
        """Texts that are right for some images, shape (b, t)."""
        found: Bools = images[:, None] == self.owner
        if self.text is not None:
            found = found | _stacked([np.isin(self.text, self.text[own]) for own in found], found.shape)
        if self.study is not None:
            found = found | (self.study[images][:, None] == self.study[self.owner])
        return found

    def images_of(self, texts: Ints) -> Bools:
        """Images that are right for some texts, shape (b, n)."""
        found: Bools = self.owner[texts][:, None] == np.arange(self.n_images)
        if self.text is not None:
            equal = [self.owner[self.text == code] for code in self.text[texts]]
            found = found | _stacked([np.isin(np.arange(self.n_images), images) for images in equal], found.shape)
        if self.study is not None:
            found = found | (self.study[self.owner[texts]][:, None] == self.study)
        return found


def _stacked(rows: list[Bools], shape: tuple[int, ...]) -> Bools:
    """Rows as one array, of no row too."""
    return np.array(rows, bool).reshape(shape)


def image_to_text(images: ArrayLike, texts: ArrayLike, belonging: Belonging) -> Ranks:
    """Ranks of images that look for their texts: a hit if any of an image's own texts ranks.

    Args:
        images: Vectors, shape (n, d).
        texts: Vectors, shape (t, d).
        belonging: Which belongs to which; each image has a text.

    Raises:
        MetricInputError: As `ranks_of_vectors`.

    >>> image_to_text(np.eye(2), np.eye(2), Belonging(np.array([0, 1]), 2)).rank.tolist()
    [1, 1]
    """
    return ranks_of_vectors(images, texts, belonging.texts_of)


def text_to_image(images: ArrayLike, texts: ArrayLike, belonging: Belonging) -> Ranks:
    """Ranks of texts that look for their image; arguments and errors as of `image_to_text`.

    >>> text_to_image(np.eye(2), np.ones((2, 2)), Belonging(np.array([0, 1]), 2)).rank.tolist()
    [2, 2]
    """
    return ranks_of_vectors(texts, images, belonging.images_of)


def recall_at_k(rank: ArrayLike, k: int) -> float:
    """Fraction of queries with a right item among their first k, R@K, [0, 1].

    Args:
        rank: Rank of each query's first right item, from 1, shape (q,).
        k: How many are looked at, from 1.

    Raises:
        UndefinedMetricError: If there is no query.
        MetricInputError: If k is below 1.

    >>> recall_at_k([1, 4, 2], 2) == 2 / 3
    True
    """
    if k < 1:
        raise MetricInputError(f"found k = {k}, wanted 1 or more")
    return float((_some(rank) <= k).mean())


def median_rank(rank: ArrayLike) -> float:
    """Median of the ranks of the first right items, from 1; arguments and errors as of `recall_at_k`.

    >>> median_rank([1, 4, 2, 9])
    3.0
    """
    return float(np.median(_some(rank)))


def mean_reciprocal_rank(rank: ArrayLike) -> float:
    """Mean of 1 / rank, MRR, (0, 1]; arguments and errors as of `recall_at_k`.

    >>> mean_reciprocal_rank([1, 4])
    0.625
    """
    return float((1 / _some(rank)).mean())


def chances_at_k(n_right: ArrayLike, n_pool: int, k: int) -> Floats:
    """Chance of each query to have a right item among the first k of a random order of the pool, [0, 1], shape (q,).

    1 - C(M - m, K) / C(M, K), for m right items in a pool of M; with m = 1 that is K / M.

    Args:
        n_right: Right items of each query, m, shape (q,), each at least 1.
        n_pool: Size of the pool, M.
        k: How many are looked at, K; all of the pool if it is smaller.

    Raises:
        MetricInputError: If k is below 1, or a query has no right item or more than the pool holds.

    >>> chances_at_k([1, 3], 4, 2).tolist()
    [0.5, 1.0]
    """
    if k < 1:
        raise MetricInputError(f"found k = {k}, wanted 1 or more")
    several, query = np.unique(np.asarray(n_right, np.int64), return_inverse=True)
    if len(several) and not 1 <= several[0] <= several[-1] <= n_pool:
        raise MetricInputError(f"found {several[0]} to {several[-1]} right items in a pool of {n_pool}")
    whole = comb(n_pool, min(k, n_pool))
    hit = [(whole - comb(n_pool - m, min(k, n_pool))) / whole for m in several.tolist()]
    return np.array(hit, np.float64)[query]


def chance_at_k(n_right: ArrayLike, n_pool: int, k: int) -> float:
    """R@K that is expected of a random order of the pool, [0, 1]: the mean of `chances_at_k`, with its arguments.

    Raises:
        UndefinedMetricError: If there is no query.
        MetricInputError: As `chances_at_k`.

    >>> chance_at_k([1], 400, 10), chance_at_k([2], 4, 1), chance_at_k([1, 3], 4, 2)
    (0.025, 0.5, 0.75)
    """
    return float(_some(chances_at_k(n_right, n_pool, k)).mean())


def _some(values: ArrayLike) -> Floats:
    """Values of queries, or the reason why nothing can be said of them."""
    found = np.asarray(values, np.float64)
    if not found.size:
        raise UndefinedMetricError("there is no query")
    return found


def resampled_medians(rank: Ints, weights: NDArray[np.float64]) -> Floats:
    """Median rank on resamples of queries, all at once, shape (b,); NaN for a resample without a query.

    Args:
        rank: Of each query, shape (q,).
        weights: How often each query stands in each resample, whole numbers, shape (b, q).

    >>> resampled_medians(np.array([1, 4]), np.array([[1.0, 1.0], [0.0, 2.0]])).tolist()
    [2.5, 4.0]
    """
    if not len(rank):
        return np.full(len(weights), np.nan)
    order = np.argsort(rank, kind="stable")
    upto = weights[:, order].cumsum(axis=1)  # (b, q)
    total = upto[:, -1]
    ends = [
        rank[order][np.minimum((upto <= place[:, None]).sum(axis=1), len(rank) - 1)]
        for place in ((total - 1) // 2, total // 2)
    ]
    return np.where(total > 0, (ends[0] + ends[1]) / 2, np.nan)
