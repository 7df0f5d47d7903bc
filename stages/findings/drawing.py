"""Drawing of cases for strata: each case once, no two of one group, as many strata filled as can be."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Stratum = tuple[str, str]  # region and modality


@dataclass(frozen=True)
class Candidate:
    """A case that may be drawn.

    Attributes:
        case_id: The case.
        region: Its region.
        numbers: Its images that take part, by modality; only modalities of which it may be a case.
        group: Cases that share an image, or a nearly equal one, have the same.
    """

    case_id: str
    region: str
    numbers: Mapping[str, tuple[int, ...]]
    group: int

    def fits(self, stratum: Stratum) -> bool:
        """Whether it can be a case of a stratum."""
        return self.region == stratum[0] and stratum[1] in self.numbers


def fill(places: Sequence[Stratum], candidates: Sequence[Candidate]) -> list[Candidate | None]:
    """A candidate for each place, each group in one place at most; None where there is none left.

    The places that can be filled at the same time are filled: a case of CT and MR goes to where it is needed. Of those
    that fit, the first in order are taken.

    Args:
        places: Stratum of each place.
        candidates: In the order in which they are to be taken, such as a random one.

    Source: Berge (1957): a matching is largest if no augmenting path is left.

    >>> both, ct = Candidate("both", "head", {"CT": (0,), "MR": (1,)}, 0), Candidate("ct", "head", {"CT": (0,)}, 1)
    >>> [found and found.case_id for found in fill([("head", "CT"), ("head", "MR")], [both, ct])]
    ['ct', 'both']
    """
    options = {stratum: [one for one in candidates if one.fits(stratum)] for stratum in dict.fromkeys(places)}
    held: list[Candidate | None] = [None] * len(places)
    place_of: dict[int, int] = {}  # by group
    for start in range(len(places)):
        reached: dict[int, tuple[int, Candidate]] = {}  # group: the place that would take it, and its candidate
        queue, free = deque([start]), None
        while queue and free is None:
            place = queue.popleft()
            for one in options[places[place]]:
                if one.group in reached:
                    continue
                reached[one.group] = (place, one)
                if one.group not in place_of:
                    free = one.group
                    break
                queue.append(place_of[one.group])
        while free is not None:
            place, one = reached[free]
            before = held[place]
            held[place], place_of[free] = one, place
            free = None if before is None else before.group
    return held
