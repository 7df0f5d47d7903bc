"""Retrieve: rank each test image's report among all, and each text's image; and find the nearest training images.

in   image_vectors  sentence_tables.IMAGE_VECTORS of one encoder
     text_vectors   sentence_tables.TEXT_VECTORS of it; no row if it does not read
     pairs          sentence_tables.PAIRS: which images have boxes
     manifest       tables.MANIFEST: studies, equal pixels, near-duplicates
out  ranks          sentence_tables.RANKS, of the test split; no row if the encoder does not read
     neighbours     sentence_tables.NEIGHBOURS: of each validation and test image the nearest training images with boxes

Only the test split is ranked, among itself. A neighbour never has the pixels of the image that looks, nor is it nearly
the same; training patients are never those of validation and test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import cli, params, tables, vectors
from stages.lib.core.errors import PoolError, TableError
from stages.lib.core.log import LOG
from stages.lib.core.sentence_tables import IMAGE_VECTORS, NEIGHBOURS, PAIRS, RANKS, TEXT_VECTORS
from stages.lib.images.layouts import some
from stages.lib.metrics import retrieval
from stages.lib.metrics.retrieval import Belonging, Ints, Ranks
from stages.lib.models import search

RANKED, POOL, LOOKING = "test", "train", ("val", "test")


@params.section
class Params:
    """What is kept of each search."""

    found: params.Count  # first items of the pool that are kept of each ranked query, for the page
    neighbours: params.Count  # training images with boxes that are kept of each validation and test image


@dataclass(frozen=True)
class Side:
    """Images or texts of the ranked split: their rows without vectors, in the order of their ids, and the vectors."""

    rows: Sequence[Mapping[str, Any]]
    vectors: np.ndarray


def ranks(images: pa.Table, texts: pa.Table, manifest: pa.Table, params: Params) -> pa.Table:
    """Ranks of the test split, strict and lenient, both ways, with the first items that each query found.

    An image whose report has no text is found, but does not look: nothing of it could be right.

    Args:
        images: Table of IMAGE_VECTORS.
        texts: Table of TEXT_VECTORS.
        manifest: Table of tables.MANIFEST.
        params: See `Params`.

    Returns:
        Table of RANKS; without a row if there is no text.

    Raises:
        TableError: If a text is of an image without a vector.
    """
    shown, read = _side(images), _side(texts)
    if not read.rows:
        return tables.from_rows([], RANKS)
    number = {row["image_id"]: place for place, row in enumerate(shown.rows)}
    lacking = sorted({row["image_id"] for row in read.rows} - {*number})
    if lacking:
        raise TableError(f"image_vectors: found no vector of {some(lacking)}, wanted one of each text; run embed again")
    owner = np.array([number[row["image_id"]] for row in read.rows], np.int64)
    studies = tables.mapping(manifest, "study_id")
    study = _codes([studies.get(row["image_id"]) or ("alone", row["image_id"]) for row in shown.rows])
    strict = Belonging(owner, len(shown.rows))
    lenient = Belonging(owner, len(shown.rows), _codes([row["text"].lower() for row in read.rows]), study)
    looking = np.unique(owner)
    if silent := len(shown.rows) - len(looking):
        LOG.info(
            "retrieve: %d of %d test images have no text: they are found, but do not look", silent, len(shown.rows)
        )
    made = []
    for direction, queries, pool, numbers in (
        ("image_to_text", shown, read, looking),
        ("text_to_image", read, shown, np.arange(len(read.rows))),
    ):
        asked = queries.vectors[numbers]
        both = [_ranked(asked, pool, numbers, belonging, direction) for belonging in (strict, lenient)]
        found = search.search(asked, pool.vectors, min(params.found, len(pool.rows)))
        LOG.info("retrieve: %s, %d queries in a pool of %d", direction, len(numbers), len(pool.rows))
        for place, query in enumerate(numbers.tolist()):
            row = queries.rows[query]
            made.append(
                {
                    "direction": direction,
                    "image_id": row["image_id"],
                    "part": row.get("part"),
                    "patient_id": row["patient_id"],
                    "study_id": studies.get(row["image_id"]),
                    "rank": int(both[0].rank[place]),
                    "rank_lenient": int(both[1].rank[place]),
                    "tied": int(both[0].tied[place]),
                    "n_right": int(both[0].n_right[place]),
                    "n_right_lenient": int(both[1].n_right[place]),
                    "n_pool": len(pool.rows),
                    "found": [_name(pool.rows[item]) for item in found.places[place].tolist()],
                    "similarities": found.similarities[place].tolist(),
                }
            )
    return tables.from_rows(made, RANKS)


def neighbours(images: pa.Table, pairs: pa.Table, manifest: pa.Table, params: Params) -> pa.Table:
    """The nearest training images with boxes of each validation and test image.

    Args:
        images: Table of IMAGE_VECTORS.
        pairs: Table of PAIRS.
        manifest: Table of tables.MANIFEST.
        params: See `Params`.

    Returns:
        Table of NEIGHBOURS; without a row if no training image has a box, as reports can be ranked without any.

    Raises:
        PoolError: If there are fewer than `params.neighbours` such images, or one is of a patient who looks.
        TableError: If an image has no vector.
    """
    boxed = {row["image_id"] for row in pairs.select(["image_id", "split", "boxes"]).to_pylist() if row["boxes"]}
    lacking = sorted({*pairs["image_id"].to_pylist()} - {*images["image_id"].to_pylist()})
    if lacking:
        raise TableError(f"image_vectors: found no vector of {some(lacking)}, wanted one of each pair; run embed again")
    pool = _side(images, (POOL,), boxed)
    looking = _side(images, LOOKING)
    if not pool.rows:
        LOG.warning("retrieve: no training image has a box, so none is a neighbour: sentences are ranked, not grounded")
        return tables.from_rows([], NEIGHBOURS)
    shared = sorted({row["patient_id"] for row in pool.rows} & {row["patient_id"] for row in looking.rows})
    if shared:
        raise PoolError(
            "examples:",
            [f"found the patients {some(shared)} among the training images and those that look, wanted none"],
        )
    marks = {column: tables.mapping(manifest, column) for column in ("pixel_sha256", "duplicate_group")}
    blocked = [
        search.pairs_of_equal(*([known.get(row["image_id"]) for row in side.rows] for side in (looking, pool)))
        for known in marks.values()
    ]
    try:
        found = search.search(looking.vectors, pool.vectors, params.neighbours, blocked=np.concatenate(blocked))
    except PoolError as error:
        raise PoolError("lofi.retrieve.neighbours (training images with boxes):", error.problems) from error
    rows = [
        {
            "image_id": row["image_id"],
            "rank": rank,
            "neighbour": pool.rows[place]["image_id"],
            "similarity": similarity,
        }
        for row, places, similarities in zip(
            looking.rows, found.places.tolist(), found.similarities.tolist(), strict=True
        )
        for rank, (place, similarity) in enumerate(zip(places, similarities, strict=True))
    ]
    return tables.from_rows(rows, NEIGHBOURS)


def _side(table: pa.Table, splits: Sequence[str] = (RANKED,), among: set[str] | None = None) -> Side:
    """Rows of some splits in the order of their ids, of some images if they are named."""
    kept = pc.is_in(table["split"], pa.array(splits))
    if among is not None:
        kept = pc.and_(kept, pc.is_in(table["image_id"], pa.array(sorted(among), pa.string())))
    key = [name for name in ("image_id", "part") if name in table.column_names]
    chosen = table.filter(kept).sort_by([(name, "ascending") for name in key])
    return Side(chosen.drop_columns(["vector"]).to_pylist(), vectors.matrix(chosen))


def _ranked(asked: np.ndarray, pool: Side, numbers: Ints, belonging: Belonging, direction: str) -> Ranks:
    right = belonging.texts_of if direction == "image_to_text" else belonging.images_of
    return retrieval.ranks_of_vectors(asked, pool.vectors, lambda places: right(numbers[places]))


def _codes(values: Sequence[object]) -> Ints:
    """Equal numbers, from 0, for equal values."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def _name(row: Mapping[str, Any]) -> str:
    """An image, or an image and a part."""
    return f"{row['image_id']}/{row['part']}" if "part" in row else str(row["image_id"])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args = cli.parse(
        __doc__,
        argv,
        params={"lofi.retrieve": Params},
        reads=["image_vectors", "text_vectors", "pairs", "manifest"],
        writes=["ranks", "neighbours"],
    )
    images, manifest = tables.read(args.image_vectors, IMAGE_VECTORS), tables.read(args.manifest, tables.MANIFEST)
    ranked = ranks(images, tables.read(args.text_vectors, TEXT_VECTORS), manifest, args.params.retrieve)
    near = neighbours(images, tables.read(args.pairs, PAIRS), manifest, args.params.retrieve)
    tables.write(args.ranks, ranked, RANKS)
    tables.write(args.neighbours, near, NEIGHBOURS)


if __name__ == "__main__":
    cli.run(main)
