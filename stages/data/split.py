"""Give each patient, never an image, to one split.

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
    """How the films are divided."""

    fractions: tuple[params.Share, params.Share, params.Share]  # train, val, test; they add up to 1
    unit: Literal["patient", "image"]  # "image" only to reproduce published image-level splits
    seed: params.Seed

    def __post_init__(self) -> None:
        if abs(sum(self.fractions) - 1) > 1e-9:
            raise ValueError(f"fractions that add up to 1 (they add up to {sum(self.fractions):g})")


def split(manifest: pa.Table, params: Params) -> pa.Table:
    """Return one row per labelled usable film with the split it belongs to, stratified by label and source.

    Films that share a patient or a picture (equal decoded pixels) stay together unless `unit` is "image". Groups are
    dealt out largest first, each to the split that is furthest below its share of that group's kinds of film.

    Args:
        manifest: Table of `tables.MANIFEST`; rejected and unlabelled films take no part.
        params: See `Params`.

    Returns:
        Table of `tables.SPLIT`.

    Raises:
        SplitError: If no film is usable, or a split that was asked for gets none.
    """
    films = [row for row in manifest.to_pylist() if row["status"] == "ok" and row["label"] is not None]
    if not films:
        raise SplitError(f"no film to split: none of {manifest.num_rows} films is both readable and labelled")
    groups = [[film] for film in films] if params.unit == "image" else _linked(films)
    given = _deal(groups, params.fractions, np.random.default_rng(params.seed))
    rows = [
        {"image_id": film["image_id"], "patient_id": film["patient_id"], "label": film["label"], "split": SPLITS[part]}
        for group, part in zip(groups, given, strict=True)
        for film in group
    ]
    counts = {name: sum(row["split"] == name for row in rows) for name in SPLITS}
    empty = [name for name, share in zip(SPLITS, params.fractions, strict=True) if share > 0 and not counts[name]]
    if empty:
        raise SplitError(
            f"split {', '.join(empty)} is empty: {len(films)} films of {len(groups)} {params.unit}s were divided "
            f"{params.fractions}; wanted at least one {params.unit} in each: add films or change split.fractions"
        )
    return tables.from_rows(rows, tables.SPLIT)


def missing_classes(table: pa.Table) -> list[str]:
    """Return one sentence for each split of a `tables.SPLIT` table that lacks a class."""
    present = {(row["split"], row["label"]) for row in table.to_pylist()}
    return [
        f"split {name} has no film {'with' if label else 'without'} a nodule"
        for name in SPLITS
        for label in (0, 1)
        if any(part == name for part, _ in present) and (name, label) not in present
    ]


def _linked(films: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Group films that share a patient or a picture, directly or through others."""
    parent = list(range(len(films)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[Hashable, int] = {}
    for index, film in enumerate(films):
        for tie in (("patient", film["patient_id"]), ("pixels", film["pixel_sha256"])):
            parent[root(index)] = root(first.setdefault(tie, index))
    groups = defaultdict(list)
    for index, film in enumerate(films):
        groups[root(index)].append(film)
    return list(groups.values())


def _deal(
    groups: Sequence[Sequence[dict[str, Any]]], fractions: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """Return the split (index into `fractions`) of each group.

    Every split wants its fraction of each kind of film (label and source) and of all films. A group goes where its
    films are wanted most, relative to the size of the split; large groups first, while there is room to even them out.
    """
    kinds = sorted({(film["label"], film["source"]) for group in groups for film in group})
    column = {kind: index for index, kind in enumerate(kinds)}
    counts = np.zeros((len(groups), len(kinds)))
    for row, group in enumerate(groups):
        for film in group:
            counts[row, column[film["label"], film["source"]]] += 1
    counts = np.hstack([counts, counts.sum(axis=1, keepdims=True)])
    share = counts / counts.sum(axis=0)
    order = rng.permutation(len(groups))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    wanted = np.asarray(fractions)[:, None] * np.ones(len(kinds) + 1)
    allowed = np.asarray(fractions) > 0
    given = np.zeros(len(groups), dtype=int)
    for index in order:
        gain = (wanted * share[index]).sum(axis=1) / np.where(allowed, fractions, 1)
        given[index] = int(np.argmax(np.where(allowed, gain, -np.inf)))
        wanted[given[index]] -= share[index]
    return given


def main(argv: Sequence[str] | None = None) -> None:
    """Read the manifest, write the split."""
    args = cli.parse(__doc__, argv, params={"split": Params}, reads=["manifest"], writes=["split"])
    table = split(tables.read(args.manifest, tables.MANIFEST), args.params.split)
    for sentence in missing_classes(table):
        LOG.warning("warning: %s", sentence)
    tables.write(args.split, table, tables.SPLIT)


if __name__ == "__main__":
    cli.run(main)
