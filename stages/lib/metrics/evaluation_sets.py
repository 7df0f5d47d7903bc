"""Evaluation sets: which images a classifier is measured on, which a localizer, and which choose prompts and cutoffs.

Classifiers are trained, calibrated and measured on the labelled images of one split from the sources of the cohort.

Localizers are measured on two sets. `test` is the headline one: images of the test split with marked nodules, or known
to have none; prompts, cutoffs and combinations are chosen on other images. `all` has every image with marked nodules,
whatever its split, as published studies measured; images that a prompt was chosen on are among them, and no negative
image is.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import tables
from stages.lib.core.errors import TableError

MEASURED_SPLITS = ("val", "test")  # of a classifier; thresholds and checkpoints are chosen on the first


def classifier_images(table: pa.Table, manifest: pa.Table, sources: Sequence[str], split: str) -> pa.Table:
    """Labelled images of one split from some sources: the rows of `table`, with `source` and `patient_id`.

    Args:
        table: A table with image_id, split and label, such as `tables.SPLIT` or `tables.INFER`.
        manifest: Table `tables.MANIFEST`.
        sources: Sources of the cohort.
        split: Name of the split.

    Raises:
        TableError: If an image is not in the manifest.
    """
    missing = [column for column in ("source", "patient_id") if column not in table.column_names]
    joined = tables.lookup(table, manifest, missing)
    strangers = joined["image_id"].filter(pc.is_null(joined["source"])).to_pylist()
    if strangers:
        raise TableError(f"{len(strangers)} images are not in the manifest: {', '.join(strangers[:5])}")
    keep = pc.and_(pc.equal(joined["split"], split), pc.is_in(joined["source"], pa.array(sources, pa.string())))
    return joined.filter(pc.and_(pc.fill_null(keep, False), pc.is_valid(joined["label"])))


def is_negative(label: int | None, n_points: int) -> bool:
    """Whether an image is known to have no nodule.

    >>> is_negative(0, 0), is_negative(None, 0)
    (True, False)
    """
    return label == 0 and n_points == 0


def localizer_sets(split: str | None, label: int | None, n_points: int) -> tuple[str, ...]:
    """Names of the sets that an image belongs to, if a localizer was run on it.

    >>> localizer_sets("test", 1, 2), localizer_sets("test", 0, 0), localizer_sets("train", 1, 1)
    (('test', 'all'), ('test',), ('all',))
    >>> localizer_sets("test", 1, 0)  # a nodule, and nobody says where
    ()
    """
    test = ("test",) if split == "test" and (n_points or is_negative(label, n_points)) else ()
    return (*test, "all") if n_points else test


def choosing_images(split: pa.Table, points: pa.Table, splits: Sequence[str]) -> set[str]:
    """Images that prompts and cutoffs are chosen on: those with points, and as many negative ones, the first by id.

    Args:
        split: Table `tables.SPLIT`.
        points: Table `tables.POINTS`.
        splits: Splits that choose, `nodules.select.splits`; the test split is none of them.
    """
    known = split.filter(pc.is_in(split["split"], pa.array(splits, pa.string())))
    marked = known["image_id"].filter(pc.is_in(known["image_id"], points["image_id"].combine_chunks()))
    negatives = sorted(known["image_id"].filter(pc.equal(known["label"], 0)).to_pylist())
    return {*marked.to_pylist(), *negatives[: len(marked)]}


def localized_images(split: pa.Table, points: pa.Table, splits: Sequence[str]) -> set[str]:
    """Images that a localizer is run on: those that choose, all others with points, and the test split.

    Arguments as of `choosing_images`.
    """
    test = split.filter(pc.equal(split["split"], "test"))["image_id"].to_pylist()
    return choosing_images(split, points, splits) | set(points["image_id"].to_pylist()) | set(test)
