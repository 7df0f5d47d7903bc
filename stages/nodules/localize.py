"""Query a localizer: its prompts on each view of each image, its detections in pixels of the original.

in   manifest    tables.MANIFEST
     normalized  tables.NORMALIZED
     split       tables.SPLIT and
     points      tables.POINTS, which decide which images are "choosing" and "measured" ones
     choice      JSON by `select`: the prompts of the bank to use; left out, all of them
     localizer   its name, a row of nodules.localizers
     shard       shard of the images, k-of-n
     results     folder that the images' paths are relative to
     base        fetch.json of the base model, for kinds that want it
     fetched     fetch.json of a model of the row's own, and
     environment its environment, for kinds that run in a process of their own
out  detections  tables.DETECTIONS: an image without detections has no row
     responses   tables.RESPONSES: one row per image, view and prompt
     journals    folder of responses as they arrive, which an interrupted run goes on from
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from stages.lib.core import cli, kinds, shards, tables
from stages.lib.core.errors import ParamsError
from stages.lib.core.params import unknown
from stages.lib.detect import choice, driver
from stages.lib.images.normalized import preprocessing_hash
from stages.lib.models import gemma3

FILES = ("manifest", "normalized", "shard", "results", "localizer")
OPTIONAL = ("split", "points", "choice", "base", "fetched", "environment")


def run(args: argparse.Namespace, bank: Sequence[str], localizer: Callable[[], driver.Localizer]) -> None:
    """Read the images of one shard, query the localizer, write detections and responses.

    Args:
        args: Arguments of the stage.
        bank: All prompts that may be put.
        localizer: Returns the localizer; called only if there is an image to ask about.
    """
    row = args.params.localizers[args.localizer].params
    section: driver.Params = replace(args.params.localize, views=getattr(row, "VIEWS", args.params.localize.views))
    select = choice.of_localizer(args.params.select, args.params.localizers, args.localizer)
    split = tables.read(args.split, tables.SPLIT) if args.split else None
    points = tables.read(args.points, tables.POINTS) if args.points else None
    images = driver.chosen_images(tables.read(args.normalized, tables.NORMALIZED), split, points, section, select)
    images = shards.take(images, args.shard)
    kept = select.max_prompts
    if section.images == "choosing" and len(bank) <= kept:
        images = images.slice(0, 0)  # there is nothing to choose between
    prompts = choice.prompts(args.choice, bank, kept) if args.choice else bank
    ask = localizer() if images.num_rows else lambda queries: iter(())
    manifest = tables.read(args.manifest, tables.MANIFEST)
    detections, responses = driver.localize(manifest, images, prompts, Path(args.results), ask, section)
    tables.write(args.detections, detections, tables.DETECTIONS)
    tables.write(args.responses, responses, tables.RESPONSES)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the images of one shard, query, write detections and responses."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "nodules.localize": driver.Params,
            "nodules.select": choice.SelectParams,
            "nodules.model": gemma3.ModelParams,
            "nodules.localizers": kinds.rows(kinds.LOCALIZERS),
        },
        reads=[*FILES, *OPTIONAL],
        writes=["detections", "responses", "journals"],
        optional=[*OPTIONAL, "journals"],
    )
    rows = args.params.localizers
    if args.localizer not in rows:
        raise ParamsError("--localizer:", [unknown(args.localizer, rows)])
    row = rows[args.localizer]
    setting = driver.Setting(
        model=args.params.model,
        base=args.base,
        fetched=args.fetched,
        environment=args.environment,
        journals=args.journals,
        preprocessing_hash=preprocessing_hash(tables.read(args.normalized, tables.NORMALIZED)),
    )
    make = kinds.module(kinds.LOCALIZERS, row.kind).localizer
    run(args, row.params.prompts, lambda: make(row.params, setting))


if __name__ == "__main__":
    cli.run(main)
