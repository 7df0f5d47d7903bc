"""Pair images with sentences: boxes fused, patients split, reports cut into parts.

in   manifest     tables.MANIFEST
     sentences    sentence_tables.SENTENCES
     boxes        sentence_tables.BOXES
     given_split  sentence_tables.GIVEN_SPLIT; of no image, the images are split here
out  pairs        sentence_tables.PAIRS
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from stages.lib.core import cli, tables
from stages.lib.core import params as parameters
from stages.lib.core.errors import SplitError
from stages.lib.core.log import LOG
from stages.lib.core.sentence_tables import BOXES, GIVEN_SPLIT, PAIRS, SENTENCES
from stages.lib.detect.fusion import Candidate, by_iou, consensus
from stages.lib.images import grouping, layouts, patients

SPLITS = ("train", "val", "test")
ALL_BUT_EQUAL = 1 - 1e-9  # greatest IoU that is asked of two boxes: that of equal ones is 1 but for rounding
Row = dict[str, Any]
Edges = tuple[float, float, float, float]
Kind = Callable[[Row], tuple[str, ...]]


@parameters.section
class Params:
    """How boxes are fused, reports cut, and images split where the data bring no split."""

    fusion_iou: parameters.Fraction  # IoU from which boxes of one sentence by the first reader are one; 1: equal ones
    normal_fraction: parameters.Fraction  # of the normal studies of the train split that are kept
    sentences_per_part: parameters.Count  # sentences of a part of a report, which is what is retrieved
    # train, val, test, where the data bring no split; where they bring no val, it is divided from their train by these
    fractions: tuple[parameters.Fraction, parameters.Fraction, parameters.Fraction]
    # what becomes of images that are nearly the same, or of one patient, in two splits that the data bring: leave_out:
    # those of train (and of val, if there is one of test) take no part
    shared: Literal["refuse", "leave_out"]
    seed: parameters.Seed  # of the split, and of the normal studies that are kept

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if abs(sum(self.fractions) - 1) > 1e-9:
            raise ValueError(f"fractions that add up to 1 (they add up to {sum(self.fractions):g})")


def pair(manifest: pa.Table, sentences: pa.Table, boxes: pa.Table, given_split: pa.Table, params: Params) -> pa.Table:
    """One row per image and sentence, with all boxes of the sentence.

    Neither the order of the rows nor that of the boxes of a sentence changes anything.

    Args:
        manifest: Table of `tables.MANIFEST`; rejected images take no part.
        sentences: Table of `sentence_tables.SENTENCES`.
        boxes: Table of `sentence_tables.BOXES`.
        given_split: Table of `sentence_tables.GIVEN_SPLIT`.
        params: See `Params`.

    Returns:
        Table of `sentence_tables.PAIRS`.

    Raises:
        SplitError: If no image has a sentence, a split of a fraction above 0 gets none, or two splits that the data
            bring share patients or near-duplicates and `shared` is refuse.
    """
    of_image: defaultdict[str, list[Row]] = defaultdict(list)
    for row in _sorted(sentences, SENTENCES.key):
        of_image[row["image_id"]].append(row)
    drawn: defaultdict[tuple[str, int, str], list[Edges]] = defaultdict(list)
    for row in _sorted(boxes, BOXES.key):
        drawn[row["image_id"], row["number"], row["reader"]].append((row["x0"], row["y0"], row["x1"], row["y1"]))
    boxed = {image_id for image_id, _, _ in drawn}
    images = [row for row in _sorted(manifest, ("image_id",)) if row["status"] == "ok" and of_image[row["image_id"]]]
    if not images:
        raise SplitError(f"no image to pair: none of {manifest.num_rows} images is readable and has a sentence")
    normal = {image["image_id"] for image in images if _is_normal(of_image[image["image_id"]], image, boxed)}
    given = dict(zip(given_split["image_id"].to_pylist(), given_split["split"].to_pylist(), strict=True))

    def kind(image: Row) -> tuple[str, ...]:
        return str(image["image_id"] in boxed), str(image["image_id"] in normal)

    splits = _given(images, given, kind, params) if given else _dealt(images, params.fractions, kind, params.seed)
    _check(splits, "brought by the data" if given else f"divided {params.fractions}", params)
    thinned = thin([image for image in images if splits.get(image["image_id"]) == "train"], normal, params)
    rows = []
    for image in images:
        image_id = image["image_id"]
        if image_id not in splits or image_id in thinned:
            continue
        report = of_image[image_id]
        for sentence, part in zip(report, parts(report, params.sentences_per_part), strict=True):
            key = image_id, sentence["number"]
            rows.append(
                {
                    "image_id": image_id,
                    "number": sentence["number"],
                    "patient_id": image["patient_id"],
                    "study_id": image["study_id"],
                    "split": splits[image_id],
                    "text": " ".join(sentence["text"].split()),
                    "abnormal": sentence["abnormal"],
                    "labels": sentence["labels"],
                    "part": part,
                    "boxes": fused(drawn.get((*key, "first"), ()), params.fusion_iou),
                    "second": [list(box) for box in sorted(drawn.get((*key, "second"), ()))],
                }
            )
    return tables.from_rows(rows, PAIRS)


def _sorted(table: pa.Table, key: Sequence[str]) -> list[Row]:
    return table.sort_by([(name, "ascending") for name in key]).to_pylist()


def fused(boxes: Iterable[Edges], iou: float) -> list[list[float]]:
    """Boxes of one sentence, those that overlap made one by weighted boxes fusion, by their left edge.

    Each box counts as a detector of its own with a confidence of 1, so that any two may be fused.

    Args:
        boxes: Left, top, right, bottom of each.
        iou: Least intersection over union of a box and the mean of those that it joins; 1 for equal boxes.

    >>> fused([(0, 0, 4, 4), (0, 0, 4, 2), (9, 9, 10, 10)], 0.5)
    [[0.0, 0.0, 4.0, 3.0], [9.0, 9.0, 10.0, 10.0]]
    """
    # What has a box is compared by it, so that the point is of no use.
    candidates = [[Candidate(0.0, 0.0, box, confidence=1.0, phrase=None)] for box in sorted(boxes)]
    found = consensus(candidates, by_iou(min(iou, ALL_BUT_EQUAL), radius_px=0.0))
    return sorted([float(edge) for edge in one.box] for one in found if one.box is not None)


def parts(sentences: Sequence[Mapping[str, Any]], size: int) -> list[int | None]:
    """Part of the report that each sentence is in: `size` of them, the last the remainder; None outside of the report.

    >>> [parts([{"in_report": True}] * 13, 5).count(part) for part in range(3)]
    [5, 5, 3]
    """
    found: list[int | None] = []
    before = 0
    for sentence in sentences:
        found.append(before // size if sentence["in_report"] else None)
        before += sentence["in_report"]
    return found


def _is_normal(sentences: Sequence[Row], image: Row, boxed: set[str]) -> bool:
    """Whether a report calls nothing abnormal, as far as the data say so: one that is not known is none."""
    said = {sentence["abnormal"] for sentence in sentences}
    return False in said and True not in said and image["image_id"] not in boxed


def thin(images: Sequence[Row], normal: set[str], params: Params) -> set[str]:
    """Images of normal studies that are not kept: of the studies whose images are all normal, a fraction drawn by seed.

    Args:
        images: Rows of the manifest that are trained on.
        normal: Normal images.
        params: With `normal_fraction`, `seed`.
    """
    of_study: defaultdict[str, list[str]] = defaultdict(list)
    for image in images:
        of_study[image["study_id"] or image["image_id"]].append(image["image_id"])
    studies = sorted(study for study, members in of_study.items() if normal.issuperset(members))
    kept = round(params.normal_fraction * len(studies))
    if kept == len(studies):
        return set()
    left = np.random.default_rng(params.seed).permutation(len(studies))[kept:]
    LOG.info("pair: %d of %d normal studies of the train split are kept (normal_fraction)", kept, len(studies))
    return {member for place in left for member in of_study[studies[place]]}


def _dealt(images: Sequence[Row], fractions: Sequence[float], kind: Kind, seed: int) -> dict[str, str]:
    """Split of each image, by fractions of train, val and perhaps test: patients and near-duplicates stay together."""
    groups = grouping.linked(images)
    found = grouping.deal(groups, fractions, np.random.default_rng(seed), kind)
    return {image["image_id"]: SPLITS[part] for group, part in zip(groups, found, strict=True) for image in group}


def _check(splits: Mapping[str, str], how: str, params: Params) -> None:
    """Stop if a split that is wanted has no image."""
    counts = Counter(splits.values())
    empty = [name for name, wanted in zip(SPLITS, params.fractions, strict=True) if wanted > 0 and not counts[name]]
    if empty:
        raise SplitError(
            f"split {', '.join(empty)} is empty: {len(splits)} images were {how}; wanted at least one patient in each "
            "split of a fraction above 0: add images or change lofi.pair.fractions"
        )


def _given(images: Sequence[Row], given: Mapping[str, str], kind: Kind, params: Params) -> dict[str, str]:
    """Split of each image as the data bring it, without those that a later split shares a patient or pixels with.

    Data without val have their train images divided, if val has a fraction.
    """
    splits = {image["image_id"]: given[image["image_id"]] for image in images if image["image_id"] in given}
    if left := [image["image_id"] for image in images if image["image_id"] not in splits]:
        raise SplitError(f"found no split of {len(left)} images ({layouts.some(left)}), wanted one of each or of none")
    told, out = [], set()
    for group in grouping.linked(images):
        found = {splits[image["image_id"]] for image in group}
        if len(found) > 1:
            last = max(found, key=SPLITS.index)
            members = [image["image_id"] for image in group]
            told.append(", ".join(f"{member} ({splits[member]})" for member in members))
            out |= {member for member in members if splits[member] != last}
    if told and params.shared == "refuse":
        raise SplitError(
            f"{len(told)} patient(s) or groups of near-duplicates are in two splits or more, as the data split them: "
            f"{'; '.join(told[: layouts.LISTED])}; wanted one split: correct the data, or set lofi.pair.shared to "
            "leave_out"
        )
    if out:
        LOG.warning(
            "pair: %d images are left out, which share a patient or pixels with one of a later split: %s",
            len(out),
            layouts.some(sorted(out)),
        )
    splits = {image_id: split for image_id, split in splits.items() if image_id not in out}
    train, val, _ = params.fractions
    if train and val and "val" not in splits.values():
        rest = [image for image in images if splits.get(image["image_id"]) == "train"]
        splits |= _dealt(rest, (train / (train + val), val / (train + val)), kind, params.seed)
        LOG.info("pair: the data bring no val: it is divided from their train images")
    return splits


def tell(pairs: pa.Table, manifest: pa.Table) -> None:
    """Log how many images, sentences and boxes each split has, and of how many images the patient is not known."""
    lonely = set(patients.unknown(manifest)["image_id"].to_pylist()) & set(pairs["image_id"].to_pylist())
    if lonely:
        LOG.warning(
            "warning: the patient of %d images is not known: each is taken for a patient of its own, so that a patient "
            "may be in two splits; give patient_id or study_id",
            len(lonely),
        )
    rows = pairs.select(["image_id", "split", "boxes", "part"]).to_pylist()
    for split in SPLITS:
        of_split = [row for row in rows if row["split"] == split]
        LOG.info(
            "pair: %s: %d images, %d sentences, %d of them with boxes, %d parts of reports",
            split,
            len({row["image_id"] for row in of_split}),
            len(of_split),
            sum(bool(row["boxes"]) for row in of_split),
            len({(row["image_id"], row["part"]) for row in of_split if row["part"] is not None}),
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Read the tables, write the pairs."""
    args = cli.parse(
        __doc__,
        argv,
        params={"lofi.pair": Params},
        reads=["manifest", "sentences", "boxes", "given_split"],
        writes=["pairs"],
    )
    manifest = tables.read(args.manifest, tables.MANIFEST)
    found = pair(
        manifest,
        tables.read(args.sentences, SENTENCES),
        tables.read(args.boxes, BOXES),
        tables.read(args.given_split, GIVEN_SPLIT),
        args.params.pair,
    )
    tell(found, manifest)
    tables.write(args.pairs, found, PAIRS)


if __name__ == "__main__":
    cli.run(main)
