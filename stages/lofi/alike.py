"""Similar cases: of each image of the nodule study the nearest training images, where any is near enough to be shown.

in   split       tables.SPLIT of the nodule study
     manifest    tables.MANIFEST of it: equal pixels, near-duplicates
     normalized  tables.NORMALIZED of it; an adapter wants the preprocessing that it was trained on
     results     folder that the images' paths are relative to
     encoder     name of the row of lofi.encoders
     fetched     record of its files, by weights.fetch; for an adapter of its base
     adapter     folder of its adapter, if that is not where the row says, such as of another seed
     kept        folder for the vectors of batches, which a later run takes up
out  alike       sentence_tables.ALIKE
     record      JSON, see `Alike`

Near enough is what is nearer than a percentile of how far validation images are from their own nearest training image
of another patient. So of each hundred images like those of validation about one is left without a similar case, and an
image unlike all others is shown none.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import cli, documents, kinds, params, tables, vectors
from stages.lib.core.errors import ParamsError, PoolError
from stages.lib.core.log import LOG
from stages.lib.core.sentence_tables import ALIKE
from stages.lib.images import normalized as squares
from stages.lib.models import search
from stages.lofi import embed

POOL, CALIBRATED = "train", "val"


@params.section
class Params:
    """How many are shown, of which images, and how near they have to be."""

    k: params.Count  # nearest training images of an image
    percentile: params.Percent  # of the validation images' nearest distances, below which an image is near enough
    splits: tuple[Literal["train", "val", "test"], ...]  # images that similar cases are found for


@params.section
class Alike:
    """Record of the search for similar cases.

    Attributes:
        encoder: Row of lofi.encoders.
        identity: What decides its vectors.
        percentile: See `Params`.
        limit: Distance that it stands for: 1 less the cosine.
        n_validation: Validation images that it is from.
        n_patients: Their patients.
        pool: Training images.
        images: Images that looked.
        without: Those of them that no training image is near enough to.
    """

    written_by: ClassVar[str] = "lofi.alike"

    encoder: params.Text
    identity: params.Text
    percentile: float
    limit: float
    n_validation: int
    n_patients: int
    pool: int
    images: int
    without: int


def alike(
    images: pa.Table, manifest: pa.Table, params: Params, *, encoder: str = "encoder", identity: str = "unknown"
) -> tuple[pa.Table, Alike]:
    """The nearest training images of other patients, of each image that has one which is near enough.

    Args:
        images: Table of IMAGE_VECTORS.
        manifest: Table of tables.MANIFEST.
        params: See `Params`.
        encoder: Name of the encoder, for the record.
        identity: What decides its vectors, for the record.

    Returns:
        Table of ALIKE, and the record. An image of equal pixels, or a near-duplicate, is no similar case.

    Raises:
        PoolError: If there are fewer than k training images of other patients for an image, or none of validation.
    """
    pool, looking, known = (_of(images, splits) for splits in ((POOL,), params.splits, (CALIBRATED,)))
    if not known.num_rows:
        raise PoolError(
            "lofi.alike:", ["found no validation image, wanted some: how near is near enough is told by them"]
        )
    nearest = _search(known, pool, manifest, 1)
    limit = float(np.percentile(1 - nearest.similarities[:, 0], params.percentile))
    found = _search(looking, pool, manifest, params.k)
    distances = np.round(1 - found.similarities, search.DIGITS)
    names = pool["image_id"].to_pylist()
    rows = [
        {"image_id": name, "rank": rank, "neighbour": names[found.places[place, rank]], "distance": float(far)}
        for place, name in enumerate(looking["image_id"].to_pylist())
        for rank, far in enumerate(distances[place].tolist())
        if far < limit
    ]
    near = {row["image_id"] for row in rows}
    told = Alike(
        encoder=encoder,
        identity=identity,
        percentile=params.percentile,
        limit=limit,
        n_validation=known.num_rows,
        n_patients=len(known["patient_id"].unique()),
        pool=pool.num_rows,
        images=looking.num_rows,
        without=looking.num_rows - len(near),
    )
    return tables.from_rows(rows, ALIKE), told


def _of(images: pa.Table, splits: Sequence[str]) -> pa.Table:
    """Images of some splits, in the order of their ids."""
    chosen = images.filter(pc.is_in(images["split"], pa.array(splits, pa.string())))
    return chosen.sort_by([("image_id", "ascending")])


def _search(looking: pa.Table, pool: pa.Table, manifest: pa.Table, k: int) -> search.Found:
    """The nearest ones of other patients, without equal and nearly equal images."""
    marks = [tables.mapping(manifest, column) for column in ("pixel_sha256", "duplicate_group")]
    sides = [[table["patient_id"].to_pylist() for table in (looking, pool)]]
    sides += [
        [[known.get(name) for name in table["image_id"].to_pylist()] for table in (looking, pool)] for known in marks
    ]
    blocked = np.concatenate([search.pairs_of_equal(*side) for side in sides])
    try:
        return search.search(vectors.matrix(looking), vectors.matrix(pool), k, blocked=blocked)
    except PoolError as error:
        raise PoolError("lofi.alike.k (training images of other patients):", error.problems) from error


def main(argv: Sequence[str] | None = None) -> None:
    """Embed the study's images, search, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "lofi.alike": Params,
            "lofi.embed": embed.Params,
            "lofi.encoders": kinds.rows(kinds.ENCODERS),
        },
        reads=["split", "manifest", "normalized", "results", "encoder", "fetched", "adapter"],
        writes=["alike", "record", "kept"],
        optional=["adapter", "kept"],
    )
    rows = args.params.encoders
    if args.encoder not in rows:
        raise ParamsError("--encoder:", [params.unknown(args.encoder, rows)])
    row, normalized = rows[args.encoder], tables.read(args.normalized, tables.NORMALIZED)
    pair = embed.opened(row, args.fetched, args.adapter, squares.preprocessing_hash(normalized))
    images = embed.embed_images(
        tables.read(args.split, tables.SPLIT),
        normalized,
        Path(args.results),
        pair,
        args.params.embed,
        Path(args.kept) if args.kept else None,
    )
    manifest = tables.read(args.manifest, tables.MANIFEST)
    found, told = alike(images, manifest, args.params.alike, encoder=args.encoder, identity=pair.identity)
    LOG.info(
        "alike: near enough is nearer than %.4g; %d of %d images have no similar case",
        told.limit,
        told.without,
        told.images,
    )
    tables.write(args.alike, found, ALIKE)
    documents.write(args.record, told)


if __name__ == "__main__":
    cli.run(main)
