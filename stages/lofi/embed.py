"""Embed: images, and parts of reports, as vectors of length 1 by one encoder.

in   pairs       sentence_tables.PAIRS
     normalized  tables.NORMALIZED
     results     folder that the images' paths are relative to
     encoder     name of the row of lofi.encoders
     fetched     record of its files, by weights.fetch; for an adapter of its base
     adapter     folder of its adapter, if that is not where the row says, such as of another seed
     kept        folder for the vectors of batches, which a later run takes up
out  images      sentence_tables.IMAGE_VECTORS
     texts       sentence_tables.TEXT_VECTORS; no row of an encoder that does not read
     record      JSON, see `embedded.Embedded`

A batch's file in `kept` is named by the encoder's weights, the preprocessing hash, and the bytes of its images or
texts, so that a stale one is never found and the folder can be deleted at any time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import cli, documents, files, kinds, params, tables, vectors
from stages.lib.core.errors import ModelError, ParamsError, TableError
from stages.lib.core.log import LOG
from stages.lib.core.progress import track
from stages.lib.core.sentence_tables import IMAGE_VECTORS, PAIRS, TEXT_VECTORS
from stages.lib.images import normalized as squares
from stages.lib.images.layouts import some
from stages.lib.images.prefetch import Reader
from stages.lib.models import kept, snapshot
from stages.lib.models.encoder import Pair, PairSetting
from stages.lofi.embedded import Embedded

Splits = tuple[Literal["train", "val", "test"], ...]


@params.section
class Params:
    """What is embedded, and how."""

    batch_size: params.Count  # images, or texts, of one forward pass
    readers: params.NonNegativeInt  # threads that read images ahead; 0 reads them between the passes
    image_splits: Splits
    text_splits: Splits


@dataclass(frozen=True)
class Text:
    """A part of a report as it is embedded: whose, and its sentences that fit."""

    row: Mapping[str, Any]
    text: str
    left_out: int


def embed_images(
    pairs: pa.Table, normalized: pa.Table, results: Path, pair: Pair, params: Params, folder: Path | None = None
) -> pa.Table:
    """Vectors of the images of some splits.

    Args:
        pairs: Table of PAIRS.
        normalized: Table of tables.NORMALIZED.
        results: Folder that the images' paths are relative to.
        pair: The encoder.
        params: See `Params`.
        folder: For the vectors of batches; None if none are kept.

    Returns:
        Table of IMAGE_VECTORS.

    Raises:
        ImageError: If an image cannot be read.
        ModelError: If a vector is not of length 1.
        TableError: If an image was not normalized.
    """
    wanted = {
        row["image_id"]: row for row in _of_splits(pairs, params.image_splits, ["image_id", "patient_id", "split"])
    }
    pngs = tables.mapping(normalized, "png")
    if lacking := sorted({*wanted} - {*pngs}):
        raise TableError(f"normalized: lacks {some(lacking)}, wanted each image of the pairs; run normalize again")
    rows = [wanted[name] for name in sorted(wanted)]
    paths = [results / pngs[row["image_id"]] for row in rows]
    key = ["images", pair.identity, squares.preprocessing_hash(normalized)]
    batches = [paths[first : first + params.batch_size] for first in range(0, len(paths), params.batch_size)]
    names = (
        [_name(key, [files.sha256_file(path) for path in batch]) for batch in batches]
        if folder
        else [""] * len(batches)
    )
    known = [kept.read(kept.path(folder, name)) if folder else None for name in names]
    missing = iter(
        Reader([batch for batch, had in zip(batches, known, strict=True) if had is None], squares.load, params.readers)
    )
    made = []
    work = zip(batches, names, known, strict=True)
    for batch, name, had in track(work, total=len(rows), what="embed", size=params.batch_size):
        made.append(_vectors(had, len(batch), lambda: pair.embed(next(missing)), folder, name))
    return _table(rows, made, IMAGE_VECTORS)


def embed_texts(texts: Sequence[Text], pair: Pair, params: Params, folder: Path | None = None) -> pa.Table:
    """Vectors of parts of reports, table of TEXT_VECTORS; arguments and errors as of `embed_images`.

    Args:
        texts: As `fitted` makes them.
        pair: The encoder.
        params: See `Params`.
        folder: For the vectors of batches.
    """
    key = ["texts", pair.identity]
    rows = [{**one.row, "text": one.text} for one in texts]
    made = []
    batches = [rows[first : first + params.batch_size] for first in range(0, len(rows), params.batch_size)]
    for batch in track(batches, total=len(rows), what="embed", unit="texts", size=params.batch_size):
        said = [row["text"] for row in batch]
        name = _name(key, said)
        had = kept.read(kept.path(folder, name)) if folder else None
        made.append(_vectors(had, len(batch), partial(pair.texts, said), folder, name))
    return _table(rows, made, TEXT_VECTORS)


def fitted(pairs: pa.Table, pair: Pair, splits: Sequence[str]) -> list[Text]:
    """Parts of the reports of some splits, each with those of its sentences that the encoder has room for.

    No sentence is cut. A part of which none fits has an empty text, and is not to be embedded. Nothing of an encoder
    that does not read.
    """
    if pair.reader is None:
        return []
    columns = ["image_id", "part", "patient_id", "split", "number", "text"]
    parts: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in _of_splits(pairs, splits, columns):
        if row["part"] is not None:
            parts.setdefault((row["image_id"], row["part"]), []).append(row)
    made = []
    for _, rows in sorted(parts.items()):
        found = pair.reader.fit([row["text"] for row in sorted(rows, key=lambda row: row["number"])])
        whose = {name: rows[0][name] for name in ("image_id", "part", "patient_id", "split")}
        made.append(Text(whose, found.text, found.left_out))
    return made


def record(encoder: str, pair: Pair, preprocessing_hash: str, images: pa.Table, texts: Sequence[Text]) -> Embedded:
    """What was made, and what there was no room for."""
    there = [one for one in texts if one.text]
    return Embedded(
        encoder=encoder,
        identity=pair.identity,
        preprocessing_hash=preprocessing_hash,
        width=len(images["vector"][0]) if images.num_rows else 0,
        images=images.num_rows,
        reads=pair.reader is not None,
        texts=len(there),
        shortened=sum(one.left_out > 0 for one in there),
        left_out=len(texts) - len(there),
        sentences_left_out=sum(one.left_out for one in texts),
    )


def _of_splits(pairs: pa.Table, splits: Sequence[str], columns: list[str]) -> list[dict[str, Any]]:
    return pairs.filter(pc.is_in(pairs["split"], pa.array(splits, pa.string()))).select(columns).to_pylist()


def _name(key: Sequence[str], inputs: Sequence[str]) -> str:
    """What decides the vectors of a batch, as a name."""
    return files.sha256_json([*key, list(inputs)])


def _vectors(
    had: np.ndarray | None, n: int, make: Callable[[], np.ndarray], folder: Path | None, name: str
) -> np.ndarray:
    """Vectors of a batch, shape (n, d): those that were kept, or new ones, which are kept then."""
    if had is not None:
        return had.reshape(n, -1)
    found = make()
    length = np.linalg.norm(found.astype(np.float64), axis=1)
    if found.shape[0] != n or not (np.abs(length - 1) < 1e-3).all():
        raise ModelError(
            f"the encoder gave vectors of shape {found.shape}, of the lengths {length[:3]}, wanted {n} of 1"
        )
    if folder:
        kept.write(kept.path(folder, name), found)
    return found


def _table(rows: Sequence[Mapping[str, Any]], made: Sequence[np.ndarray], schema: tables.Schema) -> pa.Table:
    """Rows with their vectors."""
    found = np.concatenate(made) if made else np.zeros((0, 0), np.float32)
    columns = {
        one.name: vectors.column(found) if one.name == "vector" else pa.array([row[one.name] for row in rows], one.type)
        for one in schema.columns
    }
    return tables.check(pa.table(columns), schema)


def opened(row: params.Row, fetched: str, adapter: str | None, preprocessing_hash: str) -> Pair:
    """The encoder of a row.

    Args:
        row: Row of lofi.encoders.
        fetched: Record of its files; of an adapter those of its base.
        adapter: Folder of the adapter; None for that of the row.
        preprocessing_hash: Of the images that it is to see.

    Raises:
        DocumentError: If a record is not there.
        ModelError: If the model or its adapter is not whole, or does not fit.
    """
    setting = PairSetting(
        found=snapshot.read(fetched),
        preprocessing_hash=preprocessing_hash,
        adapter=Path(adapter) if adapter else None,
    )
    pair: Pair = kinds.module(kinds.ENCODERS, row.kind).pair(row.params, setting)
    return pair


def main(argv: Sequence[str] | None = None) -> None:
    """Load the encoder, embed, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"lofi.embed": Params, "lofi.encoders": kinds.rows(kinds.ENCODERS)},
        reads=["pairs", "normalized", "results", "encoder", "fetched", "adapter"],
        writes=["images", "texts", "record", "kept"],
        optional=["adapter", "kept"],
    )
    rows = args.params.encoders
    if args.encoder not in rows:
        raise ParamsError("--encoder:", [params.unknown(args.encoder, rows)])
    row, asked = rows[args.encoder], args.params.embed
    pairs, normalized = tables.read(args.pairs, PAIRS), tables.read(args.normalized, tables.NORMALIZED)
    preprocessing_hash = squares.preprocessing_hash(normalized)
    pair = opened(row, args.fetched, args.adapter, preprocessing_hash)
    folder = Path(args.kept) if args.kept else None
    texts = fitted(pairs, pair, asked.text_splits)
    images = embed_images(pairs, normalized, Path(args.results), pair, asked, folder)
    read = embed_texts([one for one in texts if one.text], pair, asked, folder)
    told = record(args.encoder, pair, preprocessing_hash, images, texts)
    if told.sentences_left_out:
        LOG.warning(
            "embed: %d sentences have no room in the encoder's text side and are left out: %d parts are shortened, "
            "%d are not embedded at all",
            told.sentences_left_out,
            told.shortened,
            told.left_out,
        )
    if not told.reads:
        LOG.info("embed: %s has no text side: images alone", args.encoder)
    tables.write(args.images, images, IMAGE_VECTORS)
    tables.write(args.texts, read, TEXT_VECTORS)
    documents.write(args.record, told)


if __name__ == "__main__":
    cli.run(main)
