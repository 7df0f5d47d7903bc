"""Assign each patient, never an image, to one split.

in   manifest  tables.MANIFEST
out  split     tables.SPLIT
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from stages.lib.core import cli, params, tables
from stages.lib.core.errors import SplitError
from stages.lib.core.log import LOG

SPLITS = ("train", "val", "test")


@params.section
class Params:
    """Fractions, unit and seed of the split."""

    fractions: tuple[params.Fraction, params.Fraction, params.Fraction]  # train, val, test; they add up to 1
    unit: Literal["patient", "image"]  # "image" only to reproduce published image-level splits
    seed: params.Seed

    def __post_init__(self) -> None:
        if abs(sum(self.fractions) - 1) > 1e-9:
            raise ValueError(f"fractions that add up to 1 (they add up to {sum(self.fractions):g})")


def split(manifest: pa.Table, params: Params) -> pa.Table:
    """One row per labelled usable image with the split it belongs to, stratified by label and source.

    Images of one patient, and images with equal decoded pixels, stay together unless `unit` is "image". Groups are
    dealt out largest first, each to the split that is furthest below its fraction of that group's kinds of image.

    Args:
        manifest: Table of `tables.MANIFEST`; rejected and unlabelled images take no part.
        params: See `Params`.

    Returns:
        Table of `tables.SPLIT`.

    Raises:
        SplitError: If no image is usable, or a split of a fraction above 0 gets none.
    """
    images = [row for row in manifest.to_pylist() if row["status"] == "ok" and row["label"] is not None]
    if not images:
        raise SplitError(f"no image to split: none of {manifest.num_rows} images is both readable and labelled")
    groups = [[image] for image in images] if params.unit == "image" else _linked(images)
    given = _deal(groups, params.fractions, np.random.default_rng(params.seed))
    rows = [
        {
            "image_id": image["image_id"],
            "patient_id": image["patient_id"],
            "label": image["label"],
            "split": SPLITS[part],
        }
        for group, part in zip(groups, given, strict=True)
        for image in group
    ]
    counts = {name: sum(row["split"] == name for row in rows) for name in SPLITS}
    empty = [name for name, fraction in zip(SPLITS, params.fractions, strict=True) if fraction > 0 and not counts[name]]
    if empty:
        raise SplitError(
            f"split {', '.join(empty)} is empty: {len(images)} images of {len(groups)} {params.unit}s were divided "
            f"{params.fractions}; wanted at least one {params.unit} in each: add images or change data.split.fractions"
        )
    return tables.from_rows(rows, tables.SPLIT)


def missing_classes(table: pa.Table) -> list[str]:
    """One sentence for each split of a `tables.SPLIT` table that lacks a class."""
    present = {(row["split"], row["label"]) for row in table.to_pylist()}
    return [
        f"split {name} has no image {'with' if label else 'without'} a nodule"
        for name in SPLITS
        for label in (0, 1)
        if any(part == name for part, _ in present) and (name, label) not in present
    ]


def _linked(images: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Group images that share a patient or their pixels, directly or through others."""
    parent = list(range(len(images)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[Hashable, int] = {}
    for index, image in enumerate(images):
        for tie in (("patient", image["patient_id"]), ("pixels", image["pixel_sha256"])):
            parent[root(index)] = root(first.setdefault(tie, index))
    groups = defaultdict(list)
    for index, image in enumerate(images):
        groups[root(index)].append(image)
    return list(groups.values())


def _deal(
    groups: Sequence[Sequence[dict[str, Any]]], fractions: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """Split (index into `fractions`) of each group.

    Every split wants its fraction of each kind of image (label and source) and of all images. A group goes where its
    images are wanted most, relative to the size of the split; large groups first, while there is room to even them out.
    """
    kinds = sorted({(image["label"], image["source"]) for group in groups for image in group})
    column = {kind: index for index, kind in enumerate(kinds)}
    counts = np.zeros((len(groups), len(kinds)))
    for row, group in enumerate(groups):
        for image in group:
            counts[row, column[image["label"], image["source"]]] += 1
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


def main(argv: Sequence[str] | None = None) -> None:
    """Read the manifest, write the split."""
    args = cli.parse(__doc__, argv, params={"data.split": Params}, reads=["manifest"], writes=["split"])
    table = split(tables.read(args.manifest, tables.MANIFEST), args.params.split)
    for sentence in missing_classes(table):
        LOG.warning("warning: %s", sentence)
    tables.write(args.split, table, tables.SPLIT)


if __name__ == "__main__":
    cli.run(main)
