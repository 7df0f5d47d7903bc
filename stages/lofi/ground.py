"""Ask a grounder for the boxes of sentences: on their own images, on those of other patients, and on a grey one.

in   pairs          sentence_tables.PAIRS
     manifest       tables.MANIFEST
     normalized     tables.NORMALIZED
     results        folder that the images' paths are relative to
     grounder       its name, a row of lofi.grounders
     neighbours     sentence_tables.NEIGHBOURS of the row's encoder, for kinds that show or copy examples
     base           JSON by fetch: the model that is asked, or LoFi's encoder
     decoder        JSON by fetch: LoFi's decoder
     adapter        folder of a LoFi adapter
out  grounded       sentence_tables.GROUNDED: a row per sentence and what was shown with it
     conversations  JSON lines: every conversation whole; empty of a grounder that has none
     features       folder of vision features, which a later run takes up
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from stages.lib.core import cli, kinds, params, sentence_tables, tables
from stages.lib.core.errors import ParamsError
from stages.lib.core.params import unknown
from stages.lib.core.progress import track
from stages.lib.detect import conversations, demonstrations, grounder, shown
from stages.lib.detect.grounder import Answered, Asked, Grounder
from stages.lib.images.normalized import preprocessing_hash
from stages.lib.models import box_text
from stages.lib.models.lofi.params import ModelParams

READS = ("pairs", "manifest", "normalized", "results", "grounder")
OPTIONAL = ("neighbours", "base", "decoder", "adapter")
SPLIT = "test"


@params.section
class Params:
    """Which sentences, and what is shown with them."""

    seen: Annotated[tuple[Literal["own", "shuffled", "grey"], ...], Field(min_length=1)]
    max_pairs: params.Count  # sentences, drawn at random if there are more
    seed: params.Seed  # of the sentences drawn, and of the images that are shown instead of the own ones

    def __post_init__(self) -> None:
        if len(set(self.seen)) < len(self.seen) or "own" not in self.seen:
            raise ValueError(f"own, and each once, found {list(self.seen)}")


def ground(
    pairs: pa.Table, manifest: pa.Table, images: pa.Table, results: Path, name: str, ask: Grounder, params: Params
) -> tuple[pa.Table, list[tuple[Asked, Answered]]]:
    """Boxes of sentences in pixels of their own images.

    Args:
        pairs: Table of `sentence_tables.PAIRS`.
        manifest: Table of `tables.MANIFEST` with the images of the pairs.
        images: Table of `tables.NORMALIZED` with them.
        results: The folder that the images' paths are relative to.
        name: Of the grounder.
        ask: Takes sentences, those of one image in a row, and yields its answers in order.
        params: See `Params`.

    Returns:
        Table of `sentence_tables.GROUNDED`, and the sentences with the answers.

    Raises:
        DataError: As `shown.sentences` and `shown.instead`.
    """
    own = shown.sentences(pairs, manifest, images, results, split=SPLIT, most=params.max_pairs, seed=params.seed)
    asked = [one for seen in params.seen for one in shown.with_images(own, seen, params.seed)]
    said = track(ask(asked), total=len(asked), what=f"ground by {name}", unit="sentences")
    both = list(zip(asked, said, strict=True))
    sizes = {row["image_id"]: (row["width_px"], row["height_px"]) for row in manifest.to_pylist()}
    return tables.from_rows([_row(name, *pair, sizes) for pair in both], sentence_tables.GROUNDED), both


def _row(name: str, asked: Asked, answer: Answered, sizes: dict[str, tuple[int, int]]) -> dict[str, Any]:
    width_px, height_px = sizes[asked.image_id]
    kept = [shown.within(box_text.to_original(box, width_px, height_px), width_px, height_px) for box in answer.boxes]
    inside = [place for place, box in enumerate(kept) if box is not None]
    return {
        "grounder": name,
        "seen": asked.seen,
        "image_id": asked.image_id,
        "number": asked.number,
        "response": answer.response,
        "status": answer.status,
        "problem": answer.problem,
        "boxes": [kept[place] for place in inside],
        "confidences": [answer.confidences[place] for place in inside] if answer.confidences else [],
        "shown": list(answer.shown),
    }


def neighbours(table: pa.Table) -> dict[str, list[tuple[str, float]]]:
    """Neighbours of each image, the most alike first.

    Args:
        table: Table of `sentence_tables.NEIGHBOURS`.
    """
    made: dict[str, list[tuple[str, float]]] = {}
    for row in table.sort_by([("image_id", "ascending"), ("rank", "ascending")]).to_pylist():
        made.setdefault(row["image_id"], []).append((row["neighbour"], row["similarity"]))
    return made


def setting(args: argparse.Namespace, read: dict[str, pa.Table]) -> grounder.Setting:
    """What the grounder is given.

    Raises:
        DataError: If the pool shares patients with the sentences, or neighbours may not be shown.
    """
    pool = demonstrations.pool(read["pairs"], read["manifest"], read["normalized"], Path(args.results))
    asked = read["pairs"].filter(pc.equal(read["pairs"]["split"], SPLIT))
    patients = tables.mapping(asked, "patient_id")
    demonstrations.check_patients(pool, patients)
    found = None
    if args.neighbours:
        every = neighbours(tables.read(args.neighbours, sentence_tables.NEIGHBOURS))
        found = {name: ones for name, ones in every.items() if name in patients}
        demonstrations.check(pool, found, patients)
    return grounder.Setting(
        pool=pool,
        neighbours=found,
        base=args.base,
        decoder=args.decoder,
        adapter=args.adapter,
        model=args.params.model,
        features=Path(args.features) if args.features else None,
        preprocessing_hash=preprocessing_hash(read["normalized"]),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read, ask, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "lofi.ground": Params,
            "lofi.model": ModelParams,
            "lofi.grounders": kinds.rows(kinds.GROUNDERS),
        },
        reads=[*READS, *OPTIONAL],
        writes=["grounded", "conversations", "features"],
        optional=[*OPTIONAL, "features"],
    )
    rows = args.params.grounders
    if args.grounder not in rows:
        raise ParamsError("--grounder:", [unknown(args.grounder, rows)])
    row = rows[args.grounder]
    schemas: Iterable[tuple[str, tables.Schema]] = (
        ("pairs", sentence_tables.PAIRS),
        ("manifest", tables.MANIFEST),
        ("normalized", tables.NORMALIZED),
    )
    read = {name: tables.read(getattr(args, name), schema) for name, schema in schemas}
    ask = kinds.module(kinds.GROUNDERS, row.kind).grounder(row.params, setting(args, read))
    found, both = ground(
        read["pairs"],
        read["manifest"],
        read["normalized"],
        Path(args.results),
        args.grounder,
        ask,
        args.params.ground,
    )
    tables.write(args.grounded, found, sentence_tables.GROUNDED)
    conversations.write(Path(args.conversations), both)


if __name__ == "__main__":
    cli.run(main)
