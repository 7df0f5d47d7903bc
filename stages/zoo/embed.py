"""Embed: frozen features of images by one backbone, statistics over patch tokens, at each of an image's places.

in   manifest     tables.MANIFEST, and
     split        tables.SPLIT: the labelled images of the cohort; both left out, each image that was normalized
     normalized   tables.NORMALIZED at the backbone's side
     weights      JSON, as lib.models.snapshot.Snapshot
     environment  record of the vision environment, for libraries that run there
     shard        shard of the images, k-of-n
     results      folder that the images' paths are relative to
     work         folder for the private files of a worker process
     cache        folder that features are kept in, which a later run takes up; safe to delete
out  features     feature_tables.FEATURES
     record       JSON, as records.Embedded
     projected    folder that projected features are kept in as `nodules.train` does, by the library medgemma

Where the row fails, the table is empty and the record has the reason.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.lib.core import cli, documents, row_groups, shards, tables
from stages.lib.core.feature_tables import FEATURES
from stages.lib.core.log import LOG
from stages.lib.core.tables import Schema
from stages.lib.images.normalized import preprocessing_hash
from stages.lib.metrics.cohort import CohortParams
from stages.lib.models import snapshot
from stages.lib.models.backbone import BackboneParams, BackboneSetting
from stages.lib.models.embedding import Embedding, Features
from stages.lib.models.gemma3 import ModelParams
from stages.zoo.embed_params import EmbedParams
from stages.zoo.failures import attempt
from stages.zoo.images import cohort, normalized_rows
from stages.zoo.records import Embedded, Failure

GROUP_BYTES, GROUP_IMAGES = 8_000_000, 256  # of a row group, at most: what is in memory at once
READS = ("manifest", "split", "normalized", "weights", "environment", "shard", "results", "work", "cache")
OPTIONAL = ("manifest", "split", "environment", "work", "cache", "projected")


Params = EmbedParams


@dataclass(frozen=True)
class Rows:
    """A table of features to be written: its schema, and its columns of some images."""

    schema: Schema
    columns: Callable[[Features], dict[str, pa.Array]]


STATISTICS = Rows(FEATURES, lambda found: {name: row_groups.halves(v) for name, v in found.statistics.items()})


def embed(
    embedding: Embedding,
    images: pa.Table,
    results: Path,
    readers: int,
    rows: Rows,
    add: Callable[[pa.Table], None],
    *,
    tokens: bool = False,
) -> None:
    """Features of images, row group by row group.

    Args:
        embedding: The features of a backbone.
        images: Rows of tables.NORMALIZED, in the order of their ids.
        results: Folder that the images' paths are relative to.
        readers: Threads that read ahead.
        rows: What is written of each image.
        add: Takes rows of the table.
        tokens: Whether patch tokens are wanted.

    Raises:
        ImageError: If an image cannot be read.
        ModelError: If the model cannot be loaded, or its tokens are no finite numbers.
    """
    pngs = [results / png for png in images["png"].to_pylist()]
    names, hashes = images["image_id"].to_pylist(), images["preprocessing_hash"].to_pylist()
    start = 0
    for group in _groups(embedding.images(pngs, readers, tokens=tokens)):
        end = start + len(group)
        add(_rows(names[start:end], hashes[start:end], group, rows))
        start = end


def _groups(images: Iterable[Features]) -> Iterator[list[Features]]:
    """Images in groups, each as large as fits a row group; where one ends depends on sizes alone."""
    group: list[Features] = []
    size = 0
    for image in images:
        group.append(image)
        size += image.nbytes
        if size >= GROUP_BYTES or len(group) == GROUP_IMAGES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _rows(names: Sequence[str], hashes: Sequence[str], images: Sequence[Features], rows: Rows) -> pa.Table:
    """The rows of some images, one for each place."""
    places = len(images[0].statistics["mean"])
    whose = {
        "image_id": pa.array(np.repeat(names, places).tolist(), pa.string()),
        "place": pa.array(np.tile(np.arange(places), len(images)), pa.int64()),
        "preprocessing_hash": pa.array(np.repeat(hashes, places).tolist(), pa.string()),
    }
    columns = whose | rows.columns(Features.of(images))
    return pa.table([columns[name] for name in rows.schema.names], schema=rows.schema.arrow)


def record(embedding: Embedding | None, images: int, hash_: str, at: Path, seconds: float, weights: str) -> Embedded:
    """What was made of a shard; of one without images, nothing is known of the model."""
    facts = embedding.facts if embedding and images else None
    computed = embedding.computed if embedding else 0
    empty = failed(None)
    if facts is None or embedding is None:
        return replace(empty, weights_sha256=weights, preprocessing_hash=hash_, seconds=seconds)
    return replace(
        empty,
        architecture=facts.architecture,
        identity=facts.identity,
        weights_sha256=weights,
        parameters=facts.parameters,
        operations=facts.operations,
        features=facts.features,
        rows=facts.rows,
        prefix=facts.prefix,
        patch_px=facts.patch_px,
        places=len(embedding.places),
        random_weights=facts.random_weights,
        preprocessing_hash=hash_,
        images=images,
        bytes=at.stat().st_size,
        computed=computed,
        seconds=seconds,
        seconds_per_image=embedding.seconds_per_image,
    )


def failed(failure: Failure | None) -> Embedded:
    """Record without features."""
    return Embedded(
        failure=failure,
        architecture=None,
        identity=None,
        weights_sha256=None,
        parameters=None,
        operations=None,
        features=None,
        rows=None,
        prefix=None,
        patch_px=None,
        places=None,
        random_weights=None,
        preprocessing_hash=None,
        images=0,
        bytes=0,
        computed=0,
        seconds=0.0,
        seconds_per_image=None,
    )


def run(
    args: argparse.Namespace, normalized: pa.Table, row: str, out: Path, rows: Rows, *, tokens: bool = False
) -> None:
    """Embed images and write their table and its record.

    Args:
        args: Arguments of the stage.
        normalized: The images of this shard, rows of tables.NORMALIZED.
        row: Name of the features, for errors.
        out: File of the table.
        rows: What is written of each image.
        tokens: Whether patch tokens are wanted.
    """
    began = time.monotonic()

    def work() -> None:
        found = snapshot.read(args.weights)
        hash_ = preprocessing_hash(normalized)
        setting = BackboneSetting(
            row=row,
            found=found,
            model=args.params.model,
            environment=Path(args.environment) if args.environment else None,
            work=Path(args.work) if args.work else None,
        )
        folders = [Path(path) if path else None for path in (args.cache, args.projected)]
        embedding = Embedding(args.params.backbone, setting, hash_, *folders)
        try:
            with row_groups.writing(out, rows.schema) as add:
                embed(embedding, normalized, Path(args.results), args.params.embed.readers, rows, add, tokens=tokens)
            seconds = time.monotonic() - began
            told = record(embedding, normalized.num_rows, hash_, out, seconds, found.sha256)
        finally:
            embedding.close()
        LOG.info("embed: %d images, of which %d passed the model and the others were found", told.images, told.computed)
        documents.write(args.record, told)

    def give_up(failure: Failure) -> None:
        tables.write(out, rows.schema.arrow.empty_table(), rows.schema)
        documents.write(args.record, failed(failure))

    attempt(rows.schema.name if tokens else "embed", row, work, give_up)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the images of one shard, embed them, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "zoo.backbone": BackboneParams,
            "zoo.embed": Params,
            "nodules.cohort": CohortParams,
            "nodules.model": ModelParams,
        },
        reads=READS,
        writes=["features", "record", "projected"],
        optional=OPTIONAL,
    )
    normalized = tables.read(args.normalized, tables.NORMALIZED)
    if args.split:
        split, manifest = tables.read(args.split, tables.SPLIT), tables.read(args.manifest, tables.MANIFEST)
        images = cohort(split, manifest, args.params.cohort.sources)
        normalized = normalized_rows(normalized, images["image_id"].to_pylist())
    out = Path(args.features)
    run(args, shards.take(normalized, args.shard), out.parent.name, out, STATISTICS)


if __name__ == "__main__":
    cli.run(main)
