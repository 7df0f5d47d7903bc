"""Where the random-placement baseline throws its points: the lung field of each image, or what stands in for it.

Nodules lie in the lungs. Points thrown over the whole picture would find fewer of them, and any localizer would look
better beside such a baseline.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.lib.core import tables
from stages.lib.images.geometry import Geometry
from stages.lib.images.lung_field import body, lung_field
from stages.lib.metrics.localization import Field
from stages.nodules.notes import Placement

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """Fields of images by image_id, and how they were found."""

    fields: Mapping[str, Field]
    placement: Placement


def find(
    manifest: pa.Table, normalized: pa.Table, wanted: Collection[str], load: Callable[[str], NDArray[np.uint8]]
) -> Found:
    """Field of each image: its lungs; its body if the lungs cannot be told; none, the whole image, without a body.

    Args:
        manifest: Table of `tables.MANIFEST`.
        normalized: Table of `tables.NORMALIZED`.
        wanted: image_id of the images; those that are not in `normalized` have no field.
        load: Returns a normalized image, uint8 (side, side), given its path relative to the results folder.
    """
    rows = normalized.select(["image_id", "png", "side_px"])
    fields: dict[str, Field] = {}
    problems: Counter[str] = Counter()
    kinds = Counter(image=len(set(wanted) - set(rows["image_id"].to_pylist())))
    for row in tables.lookup(rows, manifest, ["width_px", "height_px"]).to_pylist():
        if row["image_id"] not in wanted:
            continue
        geometry = Geometry(width_px=row["width_px"], height_px=row["height_px"], side_px=row["side_px"])
        pixels = load(row["png"])
        lungs = lung_field(pixels)
        if lungs.problem is not None:
            problems[lungs.problem] += 1
        masks = {"lung_field": lungs.mask if lungs.problem is None else np.zeros_like(lungs.mask), "body": body(pixels)}
        found = {kind: field for kind, mask in masks.items() if (field := of_mask(mask, geometry)) is not None}
        kind = next(iter(found), "image")
        kinds[kind] += 1
        if kind in found:
            fields[row["image_id"]] = found[kind]
    counts = {kind: kinds[kind] for kind in ("lung_field", "body", "image")}
    return Found(fields, Placement(**counts, problems=dict(sorted(problems.items()))))


def of_mask(mask: Mask, geometry: Geometry) -> Field | None:
    """Pixels of a normalized image as a field of its original; None if no pixel's centre lies on the original.

    Args:
        mask: Shape (side, side).
        geometry: Of the image.

    >>> field = of_mask(np.eye(2, dtype=bool), Geometry(width_px=4, height_px=4, side_px=2))
    >>> field.corners.tolist(), field.side_px
    ([[-0.5, -0.5], [1.5, 1.5]], 2.0)
    """
    side = 1 / geometry.scale
    corners = np.array(geometry.to_original(-0.5, -0.5)) + side * np.argwhere(mask)[:, ::-1].astype(np.float64)
    middles = corners + side / 2 + 0.5  # from the upper left edge of the original
    inside = ((middles > 0) & (middles < (geometry.width_px, geometry.height_px))).all(axis=1)
    return Field(corners[inside], side) if inside.any() else None
