"""Assign each patient, never an image, to one split.

in   manifest  tables.MANIFEST
     and the file that data.split.file names, if it is not none
out  split     tables.SPLIT
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from stages.data import split_file
from stages.data.split_file import SplitFile
from stages.lib.core import cli, params, tables
from stages.lib.core.errors import SplitError, SplitFileError
from stages.lib.core.log import LOG
from stages.lib.images import grouping, patients

SPLITS = ("train", "val", "test")


LISTED = 20  # names that a message spells out
NONE = "none"
REST = "rest"  # images that are divided into training and validation


@params.section
class Params:
    """Fractions, unit and seed of the split; or where it comes from."""

    fractions: tuple[params.Fraction, params.Fraction, params.Fraction]  # train, val, test; they add up to 1
    unit: Literal["patient", "image"]  # "image" only to reproduce published image-level splits
    folds: params.NonNegativeInt  # folds of a cross-validation; 0: none, the test split is a fraction
    fold: params.NonNegativeInt  # the fold that is the test split, counted from 0 (or as the file counts)
    file: params.Text  # a split from outside: list of test images, or a table of splits or folds; none: our own
    seed: params.Seed

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = []
        if abs(sum(self.fractions) - 1) > 1e-9:
            problems.append(f"fractions that add up to 1 (they add up to {sum(self.fractions):g})")
        if self.folds == 1:
            problems.append("folds: 2 or more, or 0 for none")
        if self.file == NONE and self.fold >= max(self.folds, 1):
            problems.append(f"a fold below folds (found fold {self.fold} of {self.folds})")
        if (self.folds or self.file != NONE) and not self.fractions[0]:
            problems.append("a fraction of training images above 0, since validation is divided from them by it")
        if problems:
            raise ValueError("; ".join(problems))


def split(manifest: pa.Table, params: Params, given: SplitFile | None = None) -> pa.Table:
    """One row per labelled usable image with the split it belongs to, stratified by label and source.

    Images of one patient, images with equal decoded pixels, and near-duplicates stay together unless `unit` is "image".
    Groups are dealt out largest first, each to the split that is furthest below its fraction of that group's kinds of
    image.

    With `folds`, groups are dealt into that many folds in the same way; fold `fold` is the test split, and the rest is
    divided into train and val by their fractions. The folds do not depend on `fold`, so they are disjoint and cover
    the images.

    With `given`, the file decides. Of a list, and of a table that names test images alone, the rest is all other
    images; of folds, the images of the other folds. A table without val has its train images divided, if val has a
    fraction. Images that a table does not name take no part.

    Args:
        manifest: Table of `tables.MANIFEST`; rejected and unlabelled images take no part.
        params: See `Params`.
        given: The split from outside.

    Returns:
        Table of `tables.SPLIT`.

    Raises:
        SplitError: If no image is usable, or a split of a fraction above 0 gets none.
        SplitFileError: If the file knows none of the images, its folds are not those of the parameters, or a patient
            or duplicate image is in two of its splits.
    """
    images = [row for row in manifest.to_pylist() if row["status"] == "ok" and row["label"] is not None]
    if not images:
        raise SplitError(f"no image to split: none of {manifest.num_rows} images is both readable and labelled")
    if given is not None:
        parts = _from_file(given, manifest, images, params)
        images = [image for image in images if image["image_id"] in parts]
    elif params.folds:
        groups = _groups(images, params)
        folds = grouping.deal(groups, [1 / params.folds] * params.folds, np.random.default_rng(params.seed), _kind)
        parts = {
            image["image_id"]: "test" if fold == params.fold else REST
            for group, fold in zip(groups, folds, strict=True)
            for image in group
        }
    else:
        parts = _dealt(_groups(images, params), params.fractions, params.seed)
    rest = [image for image in images if parts[image["image_id"]] == REST]
    train, val, _ = params.fractions
    if rest:
        parts |= _dealt(_groups(rest, params), (train / (train + val), val / (train + val)), params.seed)
    rows = [
        {
            "image_id": image["image_id"],
            "patient_id": image["patient_id"],
            "label": image["label"],
            "split": parts[image["image_id"]],
        }
        for image in images
    ]
    counts = {name: sum(row["split"] == name for row in rows) for name in SPLITS}
    empty = [name for name, fraction in zip(SPLITS, params.fractions, strict=True) if fraction > 0 and not counts[name]]
    if empty:
        how = f"divided {params.fractions}" if given is None else f"assigned by {given.name}"
        raise SplitError(
            f"split {', '.join(empty)} is empty: {len(images)} images of {len(_groups(images, params))} {params.unit}s "
            f"were {how}; wanted at least one {params.unit} in each: add images or change data.split"
        )
    return tables.from_rows(rows, tables.SPLIT)


def _kind(image: Mapping[str, Any]) -> tuple[str, str]:
    """What every split wants its fraction of: the label, and the source."""
    return str(image["label"]), image["source"]


def _groups(images: Sequence[dict[str, Any]], params: Params) -> list[list[dict[str, Any]]]:
    """Images that stay together."""
    return [[image] for image in images] if params.unit == "image" else grouping.linked(images)


def _dealt(groups: Sequence[Sequence[dict[str, Any]]], fractions: Sequence[float], seed: int) -> dict[str, str]:
    """Split of each image, dealt by fractions of train, val and perhaps test."""
    given = grouping.deal(groups, fractions, np.random.default_rng(seed), _kind)
    return {image["image_id"]: SPLITS[part] for group, part in zip(groups, given, strict=True) for image in group}


def _from_file(
    given: SplitFile, manifest: pa.Table, images: Sequence[dict[str, Any]], params: Params
) -> dict[str, str]:
    """Split of each labelled image as the file has it, `REST` for those that are yet to be divided.

    Images that a table does not name are left out. Names that are no image, and images that are left out, are listed
    in the log.
    """
    ids = {name: row["image_id"] for row in manifest.to_pylist() for name in (row["file_name"], row["image_id"])}
    problems: list[str] = []
    values: dict[str, str] = {}
    for name, value in given.values.items():
        if values.setdefault(ids.get(name, name), value) != value:
            problems.append(f"{name!r} is named twice, in {value} and in {values[ids[name]]}")
    strangers = [name for name in given.values if name not in ids]
    unknown = f"{len(strangers)} of {len(given.values)} names are no image of this study: {_some(strangers)}"
    known = {image["image_id"]: values[image["image_id"]] for image in images if image["image_id"] in values}
    if not known:
        problems.append(
            f"none of its {len(given.values)} names is a labelled image; wanted file names as in the manifest"
        )
    if given.kind == "fold":
        problems += _wrong_folds(set(given.values.values()), params)
        parts = {image: "test" if fold == str(params.fold) else REST for image, fold in known.items()}
    elif set(known.values()) == {"test"}:
        parts = {image["image_id"]: known.get(image["image_id"], REST) for image in images}
    else:
        divided = params.fractions[1] > 0 and "val" not in known.values()
        parts = {image: REST if divided and part == "train" else part for image, part in known.items()}
    if params.unit == "patient":
        problems += split_file.shared([image for image in images if image["image_id"] in parts], parts)
    if problems:
        more = [f"and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
        raise SplitFileError(
            f"data.split.file {given.name!r}: {len(problems)} problem(s):",
            [*problems[:LISTED], *more, *([unknown] if strangers else [])],
        )
    if strangers:
        LOG.warning("warning: data.split.file %s: %s", given.name, unknown)
    left = [image["image_id"] for image in images if image["image_id"] not in parts]
    if left:
        LOG.warning(
            "warning: data.split.file %s: %d labelled images are not named and take no part: %s",
            given.name,
            len(left),
            _some(left),
        )
    return parts


def _wrong_folds(found: set[str], params: Params) -> list[str]:
    """Sentences about folds of a file that are not those of the parameters."""
    folds = sorted(found, key=int)
    problems = []
    if len(folds) != params.folds:
        problems.append(f"it has {len(folds)} folds ({', '.join(folds)}), wanted data.split.folds, {params.folds}")
    if str(params.fold) not in folds:
        problems.append(f"it has the folds {', '.join(folds)}, wanted data.split.fold, {params.fold}, among them")
    return problems


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def missing_classes(table: pa.Table) -> list[str]:
    """One sentence for each split of a `tables.SPLIT` table that lacks a class."""
    present = {(row["split"], row["label"]) for row in table.to_pylist()}
    return [
        f"split {name} has no image {'with' if label else 'without'} a nodule"
        for name in SPLITS
        for label in (0, 1)
        if any(part == name for part, _ in present) and (name, label) not in present
    ]


def unknown_patients(table: pa.Table, manifest: pa.Table, params: Params) -> list[str]:
    """A sentence, if there are images in the split whose patient is not known; nothing where images are split.

    Args:
        table: Table of `tables.SPLIT`.
        manifest: Table of `tables.MANIFEST`.
        params: See `Params`.
    """
    lonely = set(patients.unknown(manifest)["image_id"].to_pylist()) & set(table["image_id"].to_pylist())
    if not lonely or params.unit == "image":
        return []
    return [
        f"the patient of {len(lonely)} of {table.num_rows} images is not known: each is taken for a patient of its "
        "own; give a column patient_id or data.ingest.patient_pattern; if images share a patient, a patient may be in "
        "two splits"
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Read the manifest, write the split."""
    args = cli.parse(__doc__, argv, params={"data.split": Params}, reads=["manifest"], writes=["split"])
    section = args.params.split
    given = None if section.file == NONE else split_file.read(section.file)
    manifest = tables.read(args.manifest, tables.MANIFEST)
    table = split(manifest, section, given)
    for sentence in (*missing_classes(table), *unknown_patients(table, manifest, section)):
        LOG.warning("warning: %s", sentence)
    tables.write(args.split, table, tables.SPLIT)


if __name__ == "__main__":
    cli.run(main)
