"""Find cases that are like each case of the sample, for prompts that show examples.

in   sample       case_tables.SAMPLE
     case_images  case_tables.CASE_IMAGES
     retriever    name of the row of findings.retrievers
     fetched      record of the encoder's files, by weights.fetch_encoder, for a retriever by images
     neighbours   case_tables.RETRIEVED of the row that a shuffled retriever names
     features     folder for features of images; a later run takes up what is there
out  retrieved    case_tables.RETRIEVED: of cases of the roles test, val and example, neighbours of the role train
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from stages.findings.items import items
from stages.findings.sample import groups_of, images_of
from stages.lib.core import cli, kinds, params, tables
from stages.lib.core.case_tables import CASE_IMAGES, RETRIEVED, SAMPLE
from stages.lib.core.errors import ParamsError, SampleError
from stages.lib.core.log import LOG
from stages.lib.models.retriever import Case, Neighbour, Retriever, Setting
from stages.lib.models.retrievers import shuffled

ASKING, FOUND = ("test", "val", "example"), ("train",)


def retrieve(sample: pa.Table, case_images: pa.Table, retriever: Retriever) -> pa.Table:
    """Neighbours of each case, of the role train: never the case itself, nor one that shares an image with it.

    Args:
        sample: Table of case_tables.SAMPLE.
        case_images: Table of case_tables.CASE_IMAGES.
        retriever: Of a kind.

    Returns:
        Table of case_tables.RETRIEVED.

    Raises:
        SampleError: If the sample has no case of the role train.
    """
    groups = groups_of(images_of(case_images))
    asking, found = (
        [
            Case(one.case_id, one.history, tuple(image.path for image in one.images), groups[one.case_id])
            for one in items(sample, case_images, roles, "case")
        ]
        for roles in (ASKING, FOUND)
    )
    if not found:
        raise SampleError("findings.retrievers:", ["the sample has no case of the role train; set findings.sample"])
    neighbours = retriever(asking, found)
    LOG.info(
        "retrieve: %d of %d cases have neighbours among %d",
        sum(map(bool, neighbours.values())),
        len(asking),
        len(found),
    )
    rows = [
        {"case_id": case_id, "rank": rank, "neighbour": one.case_id, "similarity": one.similarity}
        for case_id, near in neighbours.items()
        for rank, one in enumerate(near)
    ]
    return tables.from_rows(rows, RETRIEVED)


def problems(rows: Mapping[str, params.Row]) -> list[str]:
    """A sentence for each shuffled retriever whose neighbours come from none, or from another shuffled one.

    Args:
        rows: Rows of findings.retrievers.
    """
    plain = sorted(name for name, row in rows.items() if not isinstance(row.params, shuffled.Params))
    return [
        f"findings.retrievers.{name}.of: found {row.params.of!r}, wanted one of {', '.join(plain) or 'none: add one'}"
        for name, row in rows.items()
        if isinstance(row.params, shuffled.Params) and row.params.of not in plain
    ]


def read_neighbours(path: str | Path) -> dict[str, list[Neighbour]]:
    """Neighbours of each case in a table of case_tables.RETRIEVED, the most alike first."""
    found: dict[str, list[Neighbour]] = {}
    for row in tables.read(path, RETRIEVED).to_pylist():
        found.setdefault(row["case_id"], []).append(Neighbour(row["neighbour"], row["similarity"]))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args = cli.parse(
        __doc__,
        argv,
        params={"findings.retrievers": kinds.rows(kinds.RETRIEVERS)},
        reads=["sample", "case_images", "retriever", "fetched", "neighbours"],
        writes=["retrieved", "features"],
        optional=["fetched", "neighbours", "features"],
    )
    rows = args.params.retrievers
    if args.retriever not in rows:
        raise ParamsError("--retriever:", [params.unknown(args.retriever, rows)])
    row = rows[args.retriever]
    setting = Setting(
        fetched=Path(args.fetched) if args.fetched else None,
        features=Path(args.features) if args.features else None,
        neighbours=read_neighbours(args.neighbours) if args.neighbours else None,
    )
    retriever = kinds.module(kinds.RETRIEVERS, row.kind).retriever(row.params, setting)
    table = retrieve(tables.read(args.sample, SAMPLE), tables.read(args.case_images, CASE_IMAGES), retriever)
    tables.write(args.retrieved, table, RETRIEVED)


if __name__ == "__main__":
    cli.run(main)
