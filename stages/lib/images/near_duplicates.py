"""Images of a manifest that are nearly the same: groups that are never split, and pairs for a reader to look at."""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.lib.core.log import LOG
from stages.lib.images import duplicates, layouts

Row = Mapping[str, Any]


def find(
    rows: Sequence[Row], thumbnails: Mapping[str, str], same: float, similar: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the manifest with their groups and a remark on each, and rows of tables.DUPLICATES.

    Images that do not take part are compared with none.

    Args:
        rows: Of tables.MANIFEST.
        thumbnails: Of `lib.images.duplicates`, in base64, by path of the image.
        same: Correlation from which two images are one group.
        similar: Correlation from which a pair is listed, if it is below `same`.
    """
    seen = sorted(
        (row for row in rows if row["status"] == "ok" and row["path"] in thumbnails), key=lambda r: r["image_id"]
    )
    packed = np.zeros((len(seen), duplicates.SIDE_PX, duplicates.SIDE_PX), np.uint8)
    for number, row in enumerate(seen):
        packed[number].flat = np.frombuffer(base64.b64decode(thumbnails[row["path"]]), np.uint8)
    pairs = duplicates.pairs(packed, min(same, similar))
    first = duplicates.groups([(pair.first, pair.second) for pair in pairs if pair.correlation >= same], len(seen))
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row, place in zip(seen, first, strict=True):
        if place is not None:
            groups[seen[place]["image_id"]].append(row)
    tell(groups, sum(pair.correlation < same for pair in pairs))
    of_image = {member["image_id"]: name for name, members in groups.items() for member in members}
    found = [
        {
            "image_id": seen[pair.first]["image_id"],
            "other": seen[pair.second]["image_id"],
            "correlation": pair.correlation,
            "hash_distance": pair.hash_distance,
            "grouped": pair.correlation >= same,
        }
        for pair in pairs
    ]
    return [remarked(row, groups, of_image.get(row["image_id"])) for row in rows], found


def remarked(row: Row, groups: Mapping[str, Sequence[Row]], group: str | None) -> dict[str, Any]:
    """A row with its group, and a remark if another image of it has other pixels."""
    if group is None:
        return {**row, "duplicate_group": None}
    others = [other for other in groups[group] if other["pixel_sha256"] != row["pixel_sha256"]]
    if not others:
        return {**row, "duplicate_group": group}
    unequal = any(other["label"] != row["label"] for other in others)
    remark = f"nearly the same as {layouts.some([other['image_id'] for other in others])}"
    remark += ", labelled otherwise" if unequal else ""
    problem = "; ".join(filter(None, (row["problem"], remark)))
    return {**row, "duplicate_group": group, "problem": problem, "notices": [*(row["notices"] or ()), "near_duplicate"]}


def tell(groups: Mapping[str, Sequence[Row]], listed: int) -> None:
    """Log how many images are in groups, and how many pairs are listed beside."""
    sizes = [len(members) for members in groups.values()]
    if sizes:
        LOG.info(
            "ingest: %d images are near-duplicates, %d groups, the largest of %d: never split",
            sum(sizes),
            len(sizes),
            max(sizes),
        )
    if listed:
        LOG.info("ingest: %d more pairs are alike, but not the same: the table duplicates.parquet lists them", listed)
