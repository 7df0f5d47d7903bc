"""Examples for a grounder: sentences of training images with their boxes, nearest first or drawn at random.

All sentences of an image share the same examples, since only the image is looked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import tables
from stages.lib.core.errors import DataError
from stages.lib.models import box_text
from stages.lib.models.box_text import Box

SEED_BYTES = 8


@dataclass(frozen=True)
class Example:
    """A sentence of a training image, and its boxes.

    Attributes:
        image_id: The image.
        number: Of the sentence in its report.
        patient_id: The patient.
        text: The sentence.
        boxes: Left, top, right, bottom, fractions of the image's padded square.
        png: The image, normalized.
    """

    image_id: str
    number: int
    patient_id: str
    text: str
    boxes: tuple[Box, ...]
    png: Path

    @property
    def name(self) -> str:
        """The image and the number of the sentence."""
        return f"{self.image_id}/{self.number}"


@dataclass(frozen=True)
class Pool:
    """Examples that may be shown.

    Attributes:
        by_image: Examples of each training image that has any, by the number of the sentence.
        groups: Group of near-duplicates of any image that is in one.
    """

    by_image: Mapping[str, tuple[Example, ...]]
    groups: Mapping[str, str]

    @cached_property
    def examples(self) -> tuple[Example, ...]:
        """All of them, by image and number."""
        return tuple(one for name in sorted(self.by_image) for one in self.by_image[name])

    def may_be_shown(self, example: Example, patients: Iterable[str | None], images: Iterable[str | None]) -> bool:
        """Whether an example is of another patient, and no duplicate of an image that is asked about."""
        if example.patient_id in set(patients):
            return False
        known = {self.groups.get(name) for name in images if name is not None} - {None}
        return example.image_id not in set(images) and self.groups.get(example.image_id) not in known


def pool(pairs: pa.Table, manifest: pa.Table, images: pa.Table, results: Path) -> Pool:
    """Examples of the training images.

    Args:
        pairs: Table of `sentence_tables.PAIRS`.
        manifest: Table of `tables.MANIFEST` with these images.
        images: Table of `tables.NORMALIZED` with these images.
        results: The folder that the images' paths are relative to.

    Raises:
        DataError: If an image has no size or was not normalized; all such images are named.
    """
    rows = pairs.filter(pc.equal(pairs["split"], "train"))
    rows = tables.lookup(tables.lookup(rows, manifest, ["width_px", "height_px"]), images, ["png"])
    boxed = [row for row in rows.to_pylist() if row["boxes"]]
    if odd := sorted({row["image_id"] for row in boxed if None in (row["width_px"], row["height_px"], row["png"])}):
        raise DataError("pairs:", [f"image {name}: found no size, or no normalized image, wanted both" for name in odd])
    found: dict[str, list[Example]] = {}
    for row in boxed:
        boxes = tuple(box_text.to_square(box, row["width_px"], row["height_px"]) for box in row["boxes"])
        example = Example(row["image_id"], row["number"], row["patient_id"], row["text"], boxes, results / row["png"])
        found.setdefault(example.image_id, []).append(example)
    groups = {name: group for name, group in tables.mapping(manifest, "duplicate_group").items() if group is not None}
    return Pool({name: tuple(sorted(ones, key=lambda one: one.number)) for name, ones in found.items()}, groups)


def nearest(found: Pool, neighbours: Sequence[tuple[str, float]], k: int) -> list[Example]:
    """The first k examples by similarity of the image, the most alike first; then by image and sentence.

    Args:
        found: Examples that may be shown.
        neighbours: Images, and how alike each is.
        k: How many; fewer if there are no more.
    """
    order = sorted(neighbours, key=lambda one: (-one[1], one[0]))
    return [example for name, _ in order for example in found.by_image.get(name, ())][:k]


def drawn(found: Sequence[Example], k: int, seed: int, name: str) -> list[Example]:
    """K examples drawn at random, none twice; those of one image stand together.

    Args:
        found: Those that may be drawn.
        k: How many; fewer if there are no more.
        seed: Of all draws.
        name: Of the image that they are for, so that each image has its own, whatever is asked beside it.
    """
    digest = sha256(f"{seed} {name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:SEED_BYTES], "big"))
    chosen = [found[place] for place in rng.permutation(len(found))[:k].tolist()]
    first = {example.image_id: place for place, example in reversed(list(enumerate(chosen)))}
    return sorted(chosen, key=lambda one: (first[one.image_id], one.number))


def check_patients(found: Pool, patients: Mapping[str, str]) -> None:
    """Refuse a pool of examples that shares patients with what is asked about.

    Args:
        found: Examples that may be shown.
        patients: Patient of each image that is asked about.

    Raises:
        DataError: If it does; all such patients are named.
    """
    shared = {one.patient_id for one in found.examples} & {*patients.values()}
    if shared:
        raise DataError(
            "pairs:", [f"patient {name}: has training and test images, wanted one split" for name in sorted(shared)]
        )


def check(found: Pool, neighbours: Mapping[str, Sequence[tuple[str, float]]], patients: Mapping[str, str]) -> None:
    """Refuse neighbours that may not be shown.

    Args:
        found: Examples that may be shown.
        neighbours: Images that are like each image.
        patients: Patient of each of these images.

    Raises:
        DataError: If a neighbour is of the same patient, a duplicate, or has no sentence with boxes among the training
            images; all problems are told.
    """
    problems = []
    for name, ones in sorted(neighbours.items()):
        for other, _ in ones:
            if other not in found.by_image:
                problems.append(f"image {name}: its neighbour {other} is no training image with boxes")
            elif not found.may_be_shown(found.by_image[other][0], [patients.get(name)], [name]):
                problems.append(f"image {name}: its neighbour {other} is of the same patient, or a duplicate")
    if problems:
        raise DataError("neighbours:", problems)


def by_words(examples: Sequence[Example], text: str) -> Example:
    """The example with the most equal words (Jaccard index); of several the first.

    >>> one, two = (Example("a", k, "p", text, (), Path()) for k, text in enumerate(["A mass.", "Large heart."]))
    >>> by_words([one, two], "The heart is large.").number
    1
    """
    return max(examples, key=lambda one: _overlap(_words(one.text), _words(text)))


def _words(text: str) -> set[str]:
    return {word.strip(".,;:()") for word in text.lower().split()}


def _overlap(first: set[str], second: set[str]) -> float:
    return len(first & second) / max(len(first | second), 1)
