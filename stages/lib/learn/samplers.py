"""In which order images are shown in training: one stream of indices, a function of the labels and a seed alone.

An optimizer step takes the next images of the stream, however many processes, workers or micro-batches there are, and
a resumed run takes up the stream where it stopped: nothing of it has to be stored.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from stages.lib.core.errors import TrainingError

Sampler = Literal["balanced_rotation", "shuffled", "weighted"]


def stream(labels: np.ndarray, sampler: Sampler, seed: int, length: int) -> np.ndarray:
    """First `length` images to train on, as indices into `labels`.

    Args:
        labels: Labels of the training images, int array of shape (n,), 0 or 1.
        sampler: "balanced_rotation": see `balanced_rotation`. "shuffled": every image once per epoch. "weighted": each
            draw is independent, from either class with probability 1/2.
        seed: Decides the order.
        length: Number of samples, over all epochs.

    Returns:
        Int array of shape (length,).

    Raises:
        TrainingError: If a class has no image.

    >>> stream(np.array([0, 0, 0, 1]), "balanced_rotation", 7, 6).reshape(3, 2).max(axis=1)
    array([3, 3, 3])
    """
    counts = np.bincount(labels, minlength=2)
    if len(counts) > 2 or not counts.all():
        raise TrainingError(
            f"training wants images with and without a nodule; found {counts[1]} with and {counts[0]} without"
        )
    rng = np.random.default_rng(seed)
    if sampler == "weighted":
        weights = 0.5 / counts[labels]
        return rng.choice(len(labels), size=length, p=weights)
    return _first(
        balanced_rotation(labels, rng) if sampler == "balanced_rotation" else _shuffled(len(labels), rng), length
    )


def shuffled(n: int, seed: int, length: int) -> np.ndarray:
    """First `length` samples of n without labels, as indices: every one once per epoch.

    >>> sorted(shuffled(3, 7, 3).tolist()), len(shuffled(3, 7, 5))
    ([0, 1, 2], 5)
    """
    return _first(_shuffled(n, np.random.default_rng(seed)), length)


def epoch_length(labels: np.ndarray, sampler: Sampler) -> int:
    """How many samples make an epoch: twice the smaller class in balanced rotation, else all images.

    >>> epoch_length(np.array([0, 0, 0, 1]), "balanced_rotation")
    2
    """
    return 2 * int(np.bincount(labels, minlength=2).min()) if sampler == "balanced_rotation" else len(labels)


def balanced_rotation(labels: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield epoch after epoch: all images of the smaller class with as many of the larger one, a new part each time.

    The larger class (the negatives, as a rule) is gone through in random order. No image of it comes k + 1 times before
    each has come k times, nor twice in one epoch: where an epoch takes the last images of one rotation, it is filled up
    with the first of the next, chosen among the images that it does not hold yet.

    Args:
        labels: Labels of the training images, int array of shape (n,), 0 or 1; both occur.
        rng: Source of the order.
    """
    small, large = sorted((np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)), key=len)
    pool = rng.permutation(large)
    while True:
        part, pool = pool[: len(small)], pool[len(small) :]
        missing = len(small) - len(part)
        if missing:
            fresh = rng.permutation(np.setdiff1d(large, part))
            pool = rng.permutation(np.concatenate([fresh[missing:], part]))
            part = np.concatenate([part, fresh[:missing]])
        yield rng.permutation(np.concatenate([small, part]))


def _first(epochs: Iterator[np.ndarray], length: int) -> np.ndarray:
    taken: list[np.ndarray] = []
    while sum(map(len, taken)) < length:
        taken.append(next(epochs))
    return np.concatenate(taken)[:length] if taken else np.empty(0, dtype=np.int64)


def _shuffled(n: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        yield rng.permutation(n)
