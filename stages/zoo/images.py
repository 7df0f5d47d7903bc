"""Images that the chapter is about, and their rows in tables."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core.errors import TableError
from stages.lib.metrics import evaluation_sets

SPLITS = ("train", "val", "test")


def cohort(split: pa.Table, manifest: pa.Table, sources: Sequence[str], splits: Sequence[str] = SPLITS) -> pa.Table:
    """Images of the cohort in some splits: rows of `split` with source and patient, sorted by image_id."""
    found = [evaluation_sets.classifier_images(split, manifest, sources, one) for one in splits]
    return pa.concat_tables(found).sort_by("image_id")


def normalized_rows(normalized: pa.Table, ids: Sequence[str]) -> pa.Table:
    """Rows of some images, in their order.

    Args:
        normalized: Table of tables.NORMALIZED.
        ids: Images, in ascending order.

    Raises:
        TableError: If one of them was not normalized.
    """
    return normalized.take(rows_at(ids, normalized, "normalized", "run normalize again"))


def rows_at(ids: Sequence[str], table: pa.Table, name: str, remedy: str) -> pa.Array:
    """Row of each image in a table.

    Raises:
        TableError: If the table lacks one.
    """
    wanted = pa.array(ids, pa.string())
    where = pc.index_in(wanted, table["image_id"].combine_chunks())
    lacking = wanted.filter(pc.is_null(where)).to_pylist()
    if lacking:
        raise TableError(f"{name}: lacks {len(lacking)} of {len(ids)} images ({', '.join(lacking[:5])}); {remedy}")
    return where
