"""Micro-batches: how an order of samples is cut and dealt to processes, and how they are read."""

import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.learn.task import Batch, Examples, Sample

if TYPE_CHECKING:
    from torch.utils.data import DataLoader


def deal(order: np.ndarray, size: int, process: int, processes: int) -> list[list[int]]:
    """Micro-batches of one process: every `processes`-th of an order that is cut into batches of `size`.

    >>> deal(np.arange(7), 2, process=1, processes=2)
    [[2, 3], [6]]
    """
    return [order[start : start + size].tolist() for start in range(0, len(order), size)][process::processes]


def batches(
    examples: Examples[Sample], dealt: Sequence[list[int]], collate: Callable[[list[Sample]], Batch], workers: int
) -> "DataLoader[Batch]":
    """Micro-batches in their order, whatever the number of workers.

    Args:
        examples: Samples by number.
        dealt: Numbers of the samples of each micro-batch.
        collate: Makes one batch of samples.
        workers: Processes that read ahead; 0 reads in this one.
    """
    import torch
    from torch.utils.data import DataLoader

    return DataLoader(
        examples,  # type: ignore[arg-type]  # a Dataset by its methods, not by its class
        batch_sampler=dealt,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_outlive_sigterm,
    )


def _outlive_sigterm(_: int) -> None:
    """Leave SIGTERM, which a scheduler sends to all, to the main process: it still wants the samples of its step."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
