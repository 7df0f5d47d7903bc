"""What an arm is asked about: the cases of a role, or each of their images."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from stages.lib.core.errors import TableError
from stages.lib.models.arm import ArmParams


@dataclass(frozen=True)
class Shown:
    """An image that may be sent.

    Attributes:
        number: Of the image in its case.
        path: The file.
        plane: Plane of the slice; None if not given.
        caption: What its author wrote of it; None if nothing.
        marks: Hash of its pixels, and group of near-duplicates: what it shares with an image that is the same.
    """

    number: int
    path: Path
    plane: str | None
    caption: str | None
    marks: frozenset[str]


@dataclass(frozen=True)
class Item:
    """A case, or one image of it.

    Attributes:
        name: Its name in the tables.
        case_id: The case.
        role: Of the case in the sample.
        region: Region of its stratum.
        modality: Modality of its stratum.
        history: What is told of the patient; None if nothing.
        gold: Findings that answers are measured against.
        images: Its images of that modality, in the order of the data set.
    """

    name: str
    case_id: str
    role: str
    region: str
    modality: str
    history: str | None
    gold: str
    images: tuple[Shown, ...]


def items(sample: pa.Table, case_images: pa.Table, roles: Collection[str], unit: str) -> list[Item]:
    """Items of some roles, in the order of their cases.

    An image without a caption has no gold text and is no item.

    Args:
        sample: Table of `case_tables.SAMPLE`.
        case_images: Table of `case_tables.CASE_IMAGES`.
        roles: Roles of the cases.
        unit: "case", or "image" for each image alone.

    Raises:
        TableError: If an image of the sample is not in the second table.
    """
    rows = [row for row in sample.to_pylist() if row["role"] in roles]
    wanted = {row["case_id"] for row in rows}
    known = {(row["case_id"], row["number"]): row for row in case_images.to_pylist() if row["case_id"] in wanted}
    missing = [
        f"{row['case_id']}/{number}"
        for row in rows
        for number in row["numbers"]
        if (row["case_id"], number) not in known
    ]
    if missing:
        raise TableError(f"case_images: found no row of {', '.join(missing[:10])}; run findings_ingest again")
    found = []
    for row in rows:
        images = tuple(_shown(known[row["case_id"], number]) for number in row["numbers"])
        if unit == "case":
            found.append(_item(row, row["case_id"], row["gold"], images))
        else:
            found += [
                _item(row, f"{row['case_id']}/{image.number}", image.caption, (image,))
                for image in images
                if image.caption is not None
            ]
    return found


def shared(first: Sequence[Item], second: Sequence[Item]) -> list[str]:
    """Sentence for each item of `second` that is a case of `first`, or has an image that is the same as one of its."""
    cases = {item.case_id for item in first}
    marks = {mark: item.case_id for item in first for image in item.images for mark in image.marks}
    found = []
    for item in second:
        theirs = sorted({marks[mark] for image in item.images for mark in image.marks if mark in marks})
        if item.case_id in cases:
            found.append(f"{item.case_id} is itself tested")
        elif theirs:
            found.append(f"{item.case_id} has an image of the tested case {theirs[0]}")
    return found


def _shown(row: dict[str, Any]) -> Shown:
    marks = [row["pixel_sha256"], row["duplicate_group"] and f"group {row['duplicate_group']}"]
    return Shown(row["number"], Path(row["path"]), row["plane"], row["caption"], frozenset(filter(None, marks)))


def _item(row: dict[str, Any], name: str, gold: str, images: tuple[Shown, ...]) -> Item:
    return Item(
        name=name,
        case_id=row["case_id"],
        role=row["role"],
        region=row["region"],
        modality=row["modality"],
        history=row["history"],
        gold=gold,
        images=images,
    )


def chosen(images: Sequence[Shown], params: ArmParams, most: int) -> list[Shown]:
    """Images of an item that an arm sends, in their order.

    Args:
        images: All of them.
        params: The arm.
        most: How many may be sent.
    """
    if params.images == "none":
        return []
    most = 1 if params.images == "first" else most
    if len(images) <= most or params.choose_images == "first":
        return list(images[:most])
    return [images[number] for number in spread(len(images), most)]


def spread(count: int, most: int) -> list[int]:
    """Numbers of `most` of `count` images, evenly over the case: the first, the last, and between; of one, the middle.

    >>> spread(7, 3), spread(7, 1)
    ([0, 3, 6], [3])
    """
    if most == 1:
        return [(count - 1) // 2]
    return [(2 * number * (count - 1) + most - 1) // (2 * (most - 1)) for number in range(most)]
