"""Which sentences are asked about, and which image is shown with each: its own, that of another patient, a grey one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import tables
from stages.lib.core.errors import DataError
from stages.lib.detect.grounder import Asked
from stages.lib.models.box_text import Box


def sentences(
    pairs: pa.Table, manifest: pa.Table, images: pa.Table, results: Path, *, split: str, most: int, seed: int
) -> list[Asked]:
    """Sentences of a split with boxes, each with its own image, by image and number.

    Args:
        pairs: Table of `sentence_tables.PAIRS`.
        manifest: Table of `tables.MANIFEST` with these images.
        images: Table of `tables.NORMALIZED` with these images.
        results: The folder that the images' paths are relative to.
        split: The split.
        most: Most sentences; drawn at random if there are more.
        seed: Of the draw.

    Raises:
        DataError: If there is none, or an image has no size or was not normalized; all such images are named.
    """
    rows = pairs.filter(pc.equal(pairs["split"], split))
    rows = tables.lookup(tables.lookup(rows, manifest, ["width_px", "height_px"]), images, ["png"])
    found = [row for row in rows.to_pylist() if row["boxes"]]
    if not found:
        raise DataError(
            "pairs:", [f"found no sentence with boxes in the split {split}, wanted at least one, or no grounder"]
        )
    if odd := sorted({row["image_id"] for row in found if None in (row["width_px"], row["height_px"], row["png"])}):
        raise DataError("pairs:", [f"image {name}: found no size, or no normalized image, wanted both" for name in odd])
    order = np.random.default_rng(seed).permutation(len(found))[:most]
    kept = sorted((found[place] for place in order.tolist()), key=lambda row: (row["image_id"], row["number"]))
    return [
        Asked(
            seen="own",
            image_id=row["image_id"],
            number=row["number"],
            text=row["text"],
            patient_id=row["patient_id"],
            shown_id=row["image_id"],
            shown_patient_id=row["patient_id"],
            png=results / row["png"],
        )
        for row in kept
    ]


def with_images(own: Sequence[Asked], seen: str, seed: int) -> list[Asked]:
    """The same sentences with what is to be seen.

    Args:
        own: Sentences with their own images.
        seen: "own", "shuffled" (the image of another patient among these) or "grey".
        seed: Of the shuffle.

    Raises:
        DataError: As `instead`.
    """
    if seen == "own":
        return list(own)
    if seen == "grey":
        return [replace(one, seen=seen, shown_id=None, shown_patient_id=None, png=None) for one in own]
    first = {one.image_id: one for one in own}
    others = instead({name: one.patient_id for name, one in first.items()}, seed)
    return [
        replace(
            one,
            seen=seen,
            shown_id=(other := first[others[one.image_id]]).image_id,
            shown_patient_id=other.patient_id,
            png=other.png,
        )
        for one in own
    ]


def instead(patients: Mapping[str, str], seed: int) -> dict[str, str]:
    """For each image one of another patient; each is shown once.

    Patients are put in a random order, their images in a row, and each image gets the one that stands as many places on
    as the patient with most images has.

    Args:
        patients: Patient of each image.
        seed: Of the order.

    Raises:
        DataError: If one patient has more than half of the images: there is no such choice.

    >>> instead({"a": "p", "b": "p", "c": "q", "d": "r"}, 0)["a"] in {"c", "d"}
    True
    """
    by_patient: dict[str, list[str]] = {}
    for name in sorted(patients):
        by_patient.setdefault(patients[name], []).append(name)
    largest = max(map(len, by_patient.values()), default=0)
    if 2 * largest > len(patients):
        raise DataError(
            "seen shuffled:",
            [f"found {largest} of {len(patients)} images of one patient, wanted at most half; leave shuffled out"],
        )
    rng = np.random.default_rng(seed)
    names = sorted(by_patient)
    row: list[str] = []
    for place in rng.permutation(len(names)).tolist():
        own = by_patient[names[place]]
        row += [own[k] for k in rng.permutation(len(own)).tolist()]
    return {name: row[(place + largest) % len(row)] for place, name in enumerate(row)}


def within(box: Box, width_px: int, height_px: int) -> Box | None:
    """A box cut to the image; None if nothing of it lies there, as of one in the padding.

    >>> within((-5.0, 0.0, 5.0, 9.0), 10, 8), within((-5.0, 0.0, -1.0, 9.0), 10, 8)
    ((0.0, 0.0, 5.0, 8.0), None)
    """
    x0, y0, x1, y1 = max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width_px)), min(box[3], float(height_px))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
