"""Progress of long work: a bar on a terminal, lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from stages.lib.core.log import LOG

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def track(items: Iterable[T], *, total: int, what: str, unit: str = "images", size: int = 1) -> Iterator[T]:
    """Yield `items`, showing how many are done, the rate and the time left.

    Args:
        items: The work, in order.
        total: Number of units in all.
        what: The verb shown, such as "normalize".
        unit: What is counted.
        size: Units per item, for work in batches.
    """
    terminal = sys.stderr.isatty()
    bar = tqdm(total=total, desc=what, unit=f" {unit}", disable=not terminal, file=sys.stderr)
    began = said = time.monotonic()
    done = 0
    for item in items:
        yield item
        done = min(done + size, total)
        bar.update(done - bar.n if terminal else 0)
        now = time.monotonic()
        if not terminal and (now - said >= SECONDS_BETWEEN_LINES or done == total):
            rate = done / max(now - began, 1e-9)
            left = (total - done) / rate
            LOG.info("%s: %d of %d %s, %.1f per second, %.0f s left", what, done, total, unit, rate, left)
            said = now
    bar.close()
