"""Whether images with nodules and images without come from the same sources.

Where they do not, a localizer that tells the sources apart, by grain or by borders, looks as if it found nodules: its
points stay on images of the one. What compares the two kinds of images is then across sources, and says so.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from stages.lib.core import params


@params.section
class Sources:
    """How many images with marked nodules, and how many negative ones, are from each source."""

    marked: Mapping[str, int]
    negative: Mapping[str, int]

    @property
    def across(self) -> bool:
        """Whether both kinds are there, and a source has images of one kind only.

        >>> Sources(marked={"lidc": 8}, negative={"nih": 168}).across
        True
        >>> Sources(marked={"lidc": 8, "nih": 2}, negative={"lidc": 5, "nih": 168}).across
        False
        """
        return bool(self.marked and self.negative) and set(self.marked) != set(self.negative)


def of_images(images: Iterable[tuple[str, bool, bool]]) -> Sources:
    """Sources of some images.

    Args:
        images: Of each its source, whether it has marked nodules, and whether it is known to have none.

    >>> of_images([("lidc", True, False), ("nih", False, True), ("nih", False, False)])
    Sources(marked={'lidc': 1}, negative={'nih': 1})
    """
    known = list(images)
    marked = Counter(source for source, has, _ in known if has)
    negative = Counter(source for source, _, lacks in known if lacks)
    return Sources(marked=dict(sorted(marked.items())), negative=dict(sorted(negative.items())))
