"""Exact search: the items of a pool whose vectors are most like that of a query.

The pool is gone through in chunks by products of matrices in float32, which differ in the last digits from one chunk
size to the next. So more candidates are kept than are wanted, their cosines are computed anew in float64 and rounded,
and ties are broken by the order of the pool. Where more items than candidates could belong to the first ones, as for
an encoder that gives the same vector to everything, the whole pool is compared in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.lib.core.errors import PoolError
from stages.lib.metrics.retrieval import DIGITS

CHUNK = 20_000  # items of the pool whose cosines are held at once
QUERIES = 256  # queries that are looked for at once
SPARE = 64  # candidates kept beside the k wanted
ROUNDING = 2.0**-24  # unit of float32
CELLS = 1 << 24  # cosines in float64 held at once, where the whole pool is compared

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """The first items of the pool for each query, the most alike first.

    Attributes:
        places: Their places in the pool, shape (q, k).
        similarities: Their cosines, rounded to `DIGITS` digits, float64, shape (q, k).
    """

    places: Ints
    similarities: NDArray[np.float64]


def search(
    queries: ArrayLike, pool: ArrayLike, k: int, *, blocked: ArrayLike | None = None, chunk: int = CHUNK
) -> Found:
    """The k items of a pool that are most like each query, by the cosine of vectors of length 1.

    Ties are broken by the place in the pool: sort the pool by id, and they are broken by id. What is found depends
    neither on the chunks nor on the number of threads.

    Args:
        queries: float32, shape (q, d), each row of length 1.
        pool: float32, shape (p, d), each row of length 1.
        k: How many are wanted of each query.
        blocked: Pairs that may not be found, int, shape (b, 2): a query and an item of the pool; None for none.
        chunk: Items of the pool whose cosines are held at once.

    Raises:
        PoolError: If k is below 1 or more than the pool holds for a query, or vectors are not of one width and of
            length 1.

    >>> search(np.eye(2), [[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]], 2).places.tolist()
    [[1, 2], [0, 2]]
    """
    q, p = checked(queries, "queries"), checked(pool, "pool")
    pairs = np.zeros((0, 2), np.int64) if blocked is None else np.asarray(blocked, np.int64).reshape(-1, 2)
    _check(q, p, k, pairs)
    pairs = np.unique(pairs, axis=0)  # in the order of their queries
    places, similarities = np.zeros((len(q), k), np.int64), np.zeros((len(q), k))
    for first in range(0, len(q), QUERIES):
        block = slice(first, first + QUERIES)
        low, high = np.searchsorted(pairs[:, 0], [first, first + QUERIES])
        own = pairs[low:high] - np.array([first, 0], np.int64)
        places[block], similarities[block] = _block(q[block], p, k, own, chunk)
    return Found(places, similarities)


def checked(vectors: ArrayLike, what: str) -> Floats:
    """Vectors as float32, shape (n, d).

    Args:
        vectors: Shape (n, d).
        what: What they are of, for the message.

    Raises:
        PoolError: If they are not such an array, not finite, or not of length 1.
    """
    found = np.ascontiguousarray(vectors, np.float32)
    if found.ndim != 2:
        raise PoolError(f"{what}:", [f"found vectors of shape {found.shape}, wanted (n, d)"])
    length = np.sqrt(np.einsum("nd,nd->n", found, found))
    odd = np.flatnonzero(~(np.abs(length - 1) < 1e-3))  # a NaN is odd too
    if len(odd):
        first = int(odd[0])
        raise PoolError(
            f"{what}:",
            [f"found {len(odd)} vectors that are not of length 1, such as number {first}: {length[first]:g}"],
        )
    return found


def pairs_of_equal(queries: Sequence[object], pool: Sequence[object]) -> Ints:
    """Pairs of a query and an item of the pool that have the same value, shape (b, 2), for `search`'s `blocked`.

    Args:
        queries: A value of each query; None is equal to nothing.
        pool: A value of each item.

    >>> pairs_of_equal(["a", None, "b"], ["b", "a", "b"]).tolist()
    [[0, 1], [2, 0], [2, 2]]
    """
    places: dict[object, list[int]] = {}
    for place, value in enumerate(pool):
        places.setdefault(value, []).append(place)
    pairs = [
        (number, place) for number, value in enumerate(queries) if value is not None for place in places.get(value, ())
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _check(q: Floats, p: Floats, k: int, pairs: Ints) -> None:
    if len(p) and len(q) and q.shape[1] != p.shape[1]:
        raise PoolError("pool:", [f"found vectors of the widths {q.shape[1]} and {p.shape[1]}, wanted one encoder's"])
    if k < 1:
        raise PoolError("k:", [f"found {k}, wanted 1 or more"])
    if k > len(p):
        raise PoolError("k:", [f"found {k}, wanted at most {len(p)}: there are no more in the pool"])
    if not len(pairs):
        return
    if pairs.min() < 0 or pairs[:, 0].max() >= len(q) or pairs[:, 1].max() >= len(p):
        raise PoolError("blocked:", [f"found pairs beyond {len(q)} queries and {len(p)} items of the pool"])
    left = len(p) - np.bincount(np.unique(pairs, axis=0)[:, 0], minlength=len(q))
    if left.min() < k:
        fewest = int(left.argmin())
        raise PoolError(
            "k:",
            [f"found {k}, wanted at most {left[fewest]}: of {len(p)} in the pool query {fewest} may find no more"],
        )


def _block(q: Floats, p: Floats, k: int, pairs: Ints, chunk: int) -> tuple[Ints, NDArray[np.float64]]:
    """Places and cosines of some queries, shape (q, k) each."""
    places, rough = _candidates(q, p, min(k + SPARE, len(p)), pairs, chunk)
    exact = np.round(np.einsum("qd,qcd->qc", q, p[places], dtype=np.float64, optimize=False), DIGITS)
    exact[np.isneginf(rough)] = -np.inf
    order = np.lexsort((places, -exact))[:, :k]
    places, exact = np.take_along_axis(places, order, axis=1), np.take_along_axis(exact, order, axis=1)
    # What was left out has at most the last candidate's cosine, which may be wrong by what a sum of d products may be.
    reach = rough[:, -1] + q.shape[1] * ROUNDING + 10.0**-DIGITS
    unsure = np.flatnonzero((rough.shape[1] < len(p)) & (exact[:, -1] <= reach))
    for numbers in np.array_split(unsure, max(1, -(-len(unsure) * len(p) // CELLS))):
        places[numbers], exact[numbers] = _whole(q, p, k, pairs, numbers, chunk)
    return places, exact


def _candidates(q: Floats, p: Floats, count: int, pairs: Ints, chunk: int) -> tuple[Ints, Floats]:
    """Places of the first ones by float32, the most alike first, and their cosines, shape (q, count) each."""
    import torch

    best = torch.full((len(q), 0), 0.0)
    at = torch.zeros((len(q), 0), dtype=torch.int64)
    asked = torch.from_numpy(np.require(q, requirements="W"))
    for first in range(0, len(p), chunk):
        part = torch.from_numpy(np.require(p[first : first + chunk], requirements="W"))  # a table's numbers are not
        cosines = asked @ part.T  # (q, chunk)
        here = pairs[(pairs[:, 1] >= first) & (pairs[:, 1] < first + chunk)]
        cosines[here[:, 0], here[:, 1] - first] = -torch.inf
        values, order = cosines.topk(min(count, cosines.shape[1]), dim=1)
        best, at = torch.cat([best, values], dim=1), torch.cat([at, order + first], dim=1)
        if best.shape[1] > count:
            best, order = best.topk(count, dim=1)
            at = at.gather(1, order)
    best, order = best.sort(dim=1, descending=True)
    return at.gather(1, order).numpy(), best.numpy()


def _whole(q: Floats, p: Floats, k: int, pairs: Ints, numbers: Ints, chunk: int) -> tuple[Ints, NDArray[np.float64]]:
    """Places and cosines of some queries, by comparing the whole pool in float64."""
    cosines = np.empty((len(numbers), len(p)))
    asked = q[numbers].astype(np.float64)
    for first in range(0, len(p), chunk):
        cosines[:, first : first + chunk] = np.round(asked @ p[first : first + chunk].T.astype(np.float64), DIGITS)
    for row, number in enumerate(numbers.tolist()):
        cosines[row, pairs[pairs[:, 0] == number, 1]] = -np.inf
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1)
