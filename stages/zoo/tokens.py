"""Keep all patch tokens of images, for kinds that learn how to pool them, and for localizers.

in   as zoo.embed, and
     points   tables.POINTS, for the purpose located
out  tokens   feature_tables.TOKENS
     record   JSON, as records.Embedded

The purpose is cohort, the labelled images of the cohort, or located: the images that a localizer is run on (those with
marked nodules, of any source; those that choose; the test split), and negative images of the train split.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa

from stages.lib.core import cli, params, row_groups, shards, tables
from stages.lib.core.errors import ParamsError
from stages.lib.core.feature_tables import TOKENS
from stages.lib.detect.choice import SelectParams
from stages.lib.metrics import evaluation_sets
from stages.lib.metrics.cohort import CohortParams
from stages.lib.models.backbone import BackboneParams
from stages.lib.models.embedding import Features
from stages.lib.models.gemma3 import ModelParams
from stages.zoo import embed
from stages.zoo.embed_params import EmbedParams
from stages.zoo.images import cohort, normalized_rows


@params.section
class Params(EmbedParams):
    """How images are embedded, and what for."""

    purpose: Literal["cohort", "located"]  # whose tokens are kept; the rule says it


def located(split: pa.Table, points: pa.Table, select: SelectParams, params: Params) -> set[str]:
    """Images whose tokens a localizer reads: to learn from, to choose on, and to be measured on.

    Args:
        split: Table tables.SPLIT.
        points: Table tables.POINTS.
        select: Which images choose prompts and cutoffs in the study.
        params: How many negative images of the train split there are beside.
    """
    run_on = evaluation_sets.localized_images(
        split, points, select.splits, negative_images=select.negative_images, seed=select.seed
    )
    teaching = evaluation_sets.choosing_images(
        split, points, ("train",), negative_images=params.negative_images, seed=params.seed
    )
    return run_on | teaching


def columns(found: Features) -> dict[str, pa.Array]:
    """Columns of TOKENS."""
    tokens = found.tokens
    if tokens is None:
        raise ValueError("features without tokens, wanted their tokens")
    places, rows, wide, _ = tokens.shape
    return {
        "rows": pa.array([rows] * places, pa.int64()),
        "columns": pa.array([wide] * places, pa.int64()),
        "tokens": row_groups.halves(tokens.reshape(places, -1)),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Read the images of one shard, pass them, write their tokens."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "zoo.backbone": BackboneParams,
            "zoo.embed": Params,
            "nodules.cohort": CohortParams,
            "nodules.model": ModelParams,
            "nodules.select": SelectParams,
        },
        reads=[*embed.READS, "points"],
        writes=["tokens", "record", "projected"],
        optional=[*embed.OPTIONAL, "points"],
    )
    normalized, asked = tables.read(args.normalized, tables.NORMALIZED), args.params.embed
    if args.split:
        split = tables.read(args.split, tables.SPLIT)
        if asked.purpose == "cohort":
            images = cohort(split, tables.read(args.manifest, tables.MANIFEST), args.params.cohort.sources)
            ids = images["image_id"].to_pylist()
        elif args.points:
            points = tables.read(args.points, tables.POINTS)
            there = set(split["image_id"].to_pylist())
            ids = sorted(located(split, points, args.params.select, asked) & there)
        else:
            raise ParamsError("--points:", ["found none, wanted the marked nodules, which the purpose located needs"])
        normalized = normalized_rows(normalized, ids)
    out, rows = Path(args.tokens), embed.Rows(TOKENS, columns)
    embed.run(args, shards.take(normalized, args.shard), out.parent.parent.name, out, rows, tokens=True)


if __name__ == "__main__":
    cli.run(main)
