"""Which nodules belong together: by size, by contrast, and by where on the image they lie.

Where they lie is told from the image alone: thirds of its height, halves of its width. No lung is outlined, so a third
of the image is a stand-in for a zone of the lung: on an image that shows much of the belly the lower lung lies in the
middle third. The left half of an image is taken for the patient's right side, as frontal images are hung; a nodule in
front of the spine may be of either lung.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.lib.metrics.localization import Image

THIRDS = ("upper", "middle", "lower")
SIDES = ("patients_right", "patients_left")
STAND_IN = "of the image, a stand-in for the lung: no lung is outlined"


@dataclass(frozen=True)
class Part:
    """Nodules of one kind.

    Attributes:
        key: Its name in metrics.json.
        low: Least value, inclusive; None if there is none.
        high: Greatest value, exclusive; None if there is none.
        members: Whether each nodule belongs to it, shape (nodules,).
    """

    key: str
    low: float | None
    high: float | None
    members: NDArray[np.bool_]


@dataclass(frozen=True)
class Division:
    """One way to divide the nodules of some images.

    Attributes:
        parts: In order.
        unknown: How many nodules belong to no part, since it is not known what they are.
        reason: Why there is no part; None if there is one.
        note: What a reader must know of it; None if nothing.
    """

    parts: tuple[Part, ...]
    unknown: int
    reason: str | None
    note: str | None


def divide(
    images: Sequence[Image], *, size_edges_mm: Sequence[float], contrast_edges: Sequence[float]
) -> dict[str, Division]:
    """Ways to divide the nodules of `images`: by size, contrast, height and side.

    Args:
        images: Their nodules, in this order, are those of `members`.
        size_edges_mm: Diameters between two parts, rising; none to leave this division out.
        contrast_edges: Contrasts between two parts, in the unit of the data's own table; none to leave it out.
    """
    size, contrast = (
        np.concatenate([np.zeros(0), *(_told(image, name) for image in images)]) for name in ("diameter_mm", "contrast")
    )
    down = np.concatenate([np.zeros(0), *((image.points[:, 1] + 0.5) / image.height_px for image in images)])
    across = np.concatenate([np.zeros(0), *((image.points[:, 0] + 0.5) / image.width_px for image in images)])
    third = np.minimum((3 * down).astype(int), 2)
    return {
        "size": by_edges(size, size_edges_mm, "the diameter of no nodule is known in mm"),
        "contrast": by_edges(contrast, contrast_edges, "the contrast of no nodule is known"),
        "height": Division(
            tuple(Part(key, None, None, third == number) for number, key in enumerate(THIRDS)),
            0,
            None,
            f"thirds of the height {STAND_IN}",
        ),
        "side": Division(
            tuple(Part(key, None, None, (across >= 0.5) == number) for number, key in enumerate(SIDES)),
            0,
            None,
            f"halves of the width {STAND_IN}; the left half is taken for the patient's right",
        ),
    }


def by_edges(values: NDArray[np.float64], edges: Sequence[float], nothing: str) -> Division:
    """A division of numbers at `edges`; a number that is not known (NaN) is in no part.

    >>> [(part.key, part.members.tolist()) for part in by_edges(np.array([9.0, 12.5, np.nan]), [12.5], "").parts]
    [('below_12_5', [True, False, False]), ('from_12_5', [False, True, False])]
    """
    known = ~np.isnan(values)
    if not len(edges):
        return Division((), int((~known).sum()), "the parameters name no edges between parts", None)
    if not known.any():
        return Division((), len(values), nothing, None)
    parts = []
    for low, high in zip([None, *edges], [*edges, None], strict=True):
        inside = known.copy()
        inside[known] &= values[known] >= (-np.inf if low is None else low)
        inside[known] &= values[known] < (np.inf if high is None else high)
        parts.append(Part(_key(low, high), low, high, inside))
    return Division(tuple(parts), int((~known).sum()), None, None)


def _told(image: Image, name: str) -> NDArray[np.float64]:
    found: NDArray[np.float64] | None = getattr(image, name)
    return np.full(len(image.points), np.nan) if found is None else found


def _key(low: float | None, high: float | None) -> str:
    if low is None:
        text = f"below_{high:g}"
    elif high is None:
        text = f"from_{low:g}"
    else:
        text = f"{low:g}_to_{high:g}"
    return text.replace(".", "_")
