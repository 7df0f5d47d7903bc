"""Prefetch: threads read the next batches while the model works on this one."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

BATCHES_AHEAD = 2


class Reader:
    """Batches of files in order, each read before it is needed, and the time that was spent waiting for them.

    Attributes:
        waited: Seconds that the reader's user waited for files, so far.
    """

    def __init__(self, batches: Sequence[Sequence[Path]], load: Callable[[Path], Any], threads: int) -> None:
        """Take batches of paths, a function that reads one, and a number of threads; 0 reads a batch when needed."""
        self.batches = batches
        self.load = load
        self.threads = threads
        self.waited = 0.0

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield what was read of each batch; an error of `load` is raised at its batch."""
        found = self._read() if self.threads else map(self._now, self.batches)
        while True:
            began = time.monotonic()
            batch = next(found, None)
            self.waited += time.monotonic() - began
            if batch is None:
                return
            yield batch

    def _now(self, batch: Sequence[Path]) -> list[Any]:
        return [self.load(path) for path in batch]

    def _read(self) -> Iterator[list[Any]]:
        with ThreadPoolExecutor(self.threads) as pool:
            pending: deque[list[Future[Any]]] = deque()
            try:
                for batch in self.batches:
                    pending.append([pool.submit(self.load, path) for path in batch])
                    if len(pending) > BATCHES_AHEAD:
                        yield [one.result() for one in pending.popleft()]
                while pending:
                    yield [one.result() for one in pending.popleft()]
            finally:
                pool.shutdown(cancel_futures=True)
