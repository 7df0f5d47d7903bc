"""Embeddings, pairs and a manifest of a few images, for stages of the chapter lofi."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from stages.lib.core import tables, vectors
from stages.lib.core.sentence_tables import IMAGE_VECTORS, PAIRS, TEXT_VECTORS

Row = Mapping[str, Any]


def unit(*values: float) -> np.ndarray:
    """A direction, float32 of length 1."""
    return (np.array(values) / np.linalg.norm(values)).astype(np.float32)


def images(rows: Sequence[tuple[str, str, str, np.ndarray]]) -> pa.Table:
    """IMAGE_VECTORS of (image, patient, split, vector)."""
    names = ("image_id", "patient_id", "split")
    columns = {name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate(names)}
    made = pa.table({**columns, "vector": vectors.column(np.stack([row[3] for row in rows]))})
    return tables.check(made, IMAGE_VECTORS)


def texts(rows: Sequence[tuple[str, int, str, str, str, np.ndarray]]) -> pa.Table:
    """TEXT_VECTORS of (image, part, patient, split, text, vector)."""
    names = ("image_id", "part", "patient_id", "split", "text", "vector")
    return tables.from_rows([dict(zip(names, row, strict=True)) for row in rows], TEXT_VECTORS)


def pairs(rows: Sequence[Row]) -> pa.Table:
    """PAIRS, with what a row does not tell."""
    usual = {"number": 0, "study_id": None, "text": "A nodule.", "abnormal": None, "labels": [], "part": 0}
    return tables.from_rows([{**usual, "boxes": [], "second": [], **row} for row in rows], PAIRS)


def manifest(rows: Sequence[Row]) -> pa.Table:
    """MANIFEST, with what a row does not tell."""
    usual = {"source": "other", "status": "ok", "notices": None}
    return tables.from_rows(
        [
            {
                **usual,
                "file_name": f"{row['image_id']}.png",
                "path": f"{row['image_id']}.png",
                "pixel_sha256": f"pixels of {row['image_id']}",
                **row,
            }
            for row in rows
        ],
        tables.MANIFEST,
    )
