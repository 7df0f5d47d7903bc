"""What every retriever has: cases that are alike, never the same case, an image of it, or a nearly equal one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.lib.core import params
from stages.lib.core.errors import ParamsError

DIGITS = 6  # of a similarity; what lies beneath differs from one machine to the next


@params.section
class RetrieverParams:
    """How many cases are found."""

    k: params.Count  # most alike cases of the role train that are kept, for each case


@dataclass(frozen=True)
class Case:
    """A case that looks for others, or is found.

    Attributes:
        case_id: The case.
        history: What is told of the patient; None if nothing.
        images: Its images of its stratum's modality.
        group: Cases that share an image, or a nearly equal one, have the same.
    """

    case_id: str
    history: str | None
    images: tuple[Path, ...]
    group: int


@dataclass(frozen=True)
class Neighbour:
    """A case that is alike, and how much: cosine, [-1, 1]."""

    case_id: str
    similarity: float


Found = Mapping[str, Sequence[Neighbour]]  # by the case that looked
Retriever = Callable[[Sequence[Case], Sequence[Case]], dict[str, list[Neighbour]]]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a kind of retrievers may want beside the parameters of its row; None where it was not given.

    Attributes:
        fetched: Record of the model's files, by fetch_encoder.
        features: Folder for features of images, which a later run takes up.
        neighbours: What another retriever found.
    """

    fetched: Path | None = None
    features: Path | None = None
    neighbours: Found | None = None

    def record(self) -> Path:
        """Record of the model's files.

        Raises:
            ParamsError: If it was not given.
        """
        if self.fetched is None:
            raise ParamsError("--fetched:", ["found none, wanted the record of the encoder's files by fetch_encoder"])
        return self.fetched


def nearest(
    queries: Sequence[Case], index: Sequence[Case], query_vectors: np.ndarray, index_vectors: np.ndarray, k: int
) -> dict[str, list[Neighbour]]:
    """The k cases of the index that are most like each query, the most alike first; ties in the order of their ids.

    A case is never found for itself, nor for one of its group; nor is one whose vector is 0, which says nothing.

    Args:
        queries: Cases that look.
        index: Cases that may be found.
        query_vectors: Of the queries, shape (n, d).
        index_vectors: Of the index, shape (m, d).
        k: Most neighbours of a query.

    >>> a, b, c = (Case(name, None, (), number) for number, name in enumerate("abc"))
    >>> nearest([a], [a, b, c], np.eye(3)[:1], np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]]), 1)
    {'a': [Neighbour(case_id='b', similarity=0.707107)]}
    """
    left, right = _units(query_vectors), _units(index_vectors)
    known: np.ndarray = np.asarray(right.any(axis=1))
    found = {}
    for query, vector in zip(queries, left, strict=True):
        cosines = np.round(right @ vector, DIGITS)
        allowed = [
            place
            for place, one in enumerate(index)
            if known[place] and vector.any() and one.case_id != query.case_id and one.group != query.group
        ]
        order = sorted(allowed, key=lambda place: (-cosines[place], index[place].case_id))
        found[query.case_id] = [Neighbour(index[place].case_id, float(cosines[place])) for place in order[:k]]
    return found


def _units(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, or 0 where they are."""
    rows = np.asarray(vectors, np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))
