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

from collections.abc import Sequence

from stages.lib.core import cli, kinds
from stages.lib.core.errors import ParamsError
from stages.lib.core.params import unknown
from stages.lib.detect import choice, driver
from stages.lib.models import gemma3


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
        reads=[*driver.FILES, "localizer", "base", "fetched", "environment"],
        writes=["detections", "responses", "journals"],
        optional=[*driver.OPTIONAL, "base", "fetched", "environment", "journals"],
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
    )
    make = kinds.module(kinds.LOCALIZERS, row.kind).localizer
    driver.run(args, row.params.prompts, lambda: make(row.params, setting))


if __name__ == "__main__":
    cli.run(main)
