"""Work of a simulation in several processes, in order."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Order = TypeVar("Order")
Made = TypeVar("Made")
CHUNK = 4  # orders that a process takes at once


def each(work: Callable[[Order], Made], orders: Sequence[Order], workers: int) -> Iterator[Made]:
    """Yield what `work` makes of each order, in their order.

    Args:
        work: A function that can be sent to another process.
        orders: What it is given.
        workers: Number of processes; 1 is this one.
    """
    if workers == 1:
        yield from map(work, orders)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        yield from pool.map(work, orders, chunksize=CHUNK)


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)
