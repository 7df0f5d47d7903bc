"""Interleaved timing of two ways to do the same work, so that other load of the machine affects both.

The time is that of the processor, of this process and of those that it waited for: a busy machine takes a process's
turn away without its being any slower.
"""

import resource
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from stages.lib.core.progress import track

T = TypeVar("T")


@dataclass(frozen=True)
class Ratios:
    """Processor seconds of the second way over those of the first, round by round.

    Attributes:
        ratios: Of the two ways.
        control: Of the first way over itself, timed the same way: its distance from 1 is the error of the method.
        seconds: Median seconds of a round of the first and of the second way.
    """

    ratios: list[float]
    control: list[float]
    seconds: tuple[float, float]

    @property
    def value(self) -> float:
        """Median ratio."""
        return statistics.median(self.ratios)


def processor_seconds() -> float:
    """Processor time that this process and its finished children have used, seconds, to the microsecond.

    `os.times` counts the same in ticks of 10 ms, which is longer than some of what is measured here.
    """
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Interleaved(Generic[T]):
    """Times two ways over pieces of work, in the order A B A on even rounds and A A B on odd ones."""

    def __init__(
        self,
        first: Callable[[T], object],
        second: Callable[[T], object],
        clock: Callable[[], float] = processor_seconds,
    ) -> None:
        self.first, self.second, self.clock = first, second, clock

    def run(self, pieces: Sequence[T], *, what: str) -> Ratios:
        """Ratios over `pieces`, one round each; both ways are warmed up on the first piece, untimed."""
        self.first(pieces[0])
        self.second(pieces[0])
        ratios, control, seconds = [], [], []
        for number, piece in enumerate(track(pieces, total=len(pieces), what=what, unit="rounds")):
            order = (self.first, self.second, self.first) if number % 2 == 0 else (self.first, self.first, self.second)
            taken = [self._timed(way, piece) for way in order]
            other = taken.pop(order.index(self.second))
            ratios.append(other / statistics.mean(taken))
            control.append(taken[1] / taken[0])
            seconds.append((statistics.mean(taken), other))
        first, second = (statistics.median(column) for column in zip(*seconds, strict=True))
        return Ratios(ratios, control, (first, second))

    def _timed(self, way: Callable[[T], object], piece: T) -> float:
        began = self.clock()
        way(piece)
        return self.clock() - began
