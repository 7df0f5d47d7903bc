"""Images that stay together, and groups of images dealt out to splits."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

Row = TypeVar("Row", bound=Mapping[str, Any])


def linked(images: Sequence[Row]) -> list[list[Row]]:
    """Group images that share a patient or their pixels, or are near-duplicates, directly or through others.

    Args:
        images: Rows of tables.MANIFEST.
    """
    parent = list(range(len(images)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[Hashable, int] = {}
    for index, image in enumerate(images):
        ties = [("patient", image["patient_id"]), ("pixels", image["pixel_sha256"])]
        if image["duplicate_group"] is not None:
            ties.append(("duplicates", image["duplicate_group"]))
        for tie in ties:
            parent[root(index)] = root(first.setdefault(tie, index))
    groups = defaultdict(list)
    for index, image in enumerate(images):
        groups[root(index)].append(image)
    return list(groups.values())


def deal(
    groups: Sequence[Sequence[Row]],
    fractions: Sequence[float],
    rng: np.random.Generator,
    kind: Callable[[Row], tuple[str, ...]],
) -> np.ndarray:
    """Split (index into `fractions`) of each group.

    Every split wants its fraction of each kind of image and of all images. A group goes where its images are wanted
    most, relative to the size of the split; large groups first, while there is room to even them out.

    Args:
        groups: Images that stay together.
        fractions: Of each split.
        rng: Decides between groups of one size.
        kind: What kind an image is of.
    """
    kinds = sorted({kind(image) for group in groups for image in group})
    column = {one: index for index, one in enumerate(kinds)}
    counts = np.zeros((len(groups), len(kinds)))
    for row, group in enumerate(groups):
        for image in group:
            counts[row, column[kind(image)]] += 1
    counts = np.hstack([counts, counts.sum(axis=1, keepdims=True)])
    fraction = counts / counts.sum(axis=0)
    order = rng.permutation(len(groups))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    wanted = np.asarray(fractions)[:, None] * np.ones(len(kinds) + 1)
    allowed = np.asarray(fractions) > 0
    given = np.zeros(len(groups), dtype=int)
    for index in order:
        gain = (wanted * fraction[index]).sum(axis=1) / np.where(allowed, fractions, 1)
        given[index] = int(np.argmax(np.where(allowed, gain, -np.inf)))
        wanted[given[index]] -= fraction[index]
    return given
