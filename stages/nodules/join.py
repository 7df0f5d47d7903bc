"""Join the measures of several seeds: the mean of each, its spread, and an interval for splits that overlap.

in   measures    tables.MEASURES of each seed
     split       tables.SPLIT of each seed, in the same order
     seeds       the seeds, in the same order
     manifest    tables.MANIFEST
out  over_seeds  tables.MEASURES: the rows of each seed, with it; and their mean, without
"""

from collections.abc import Sequence

import pyarrow as pa

from stages.lib.core import cli, tables
from stages.lib.core.errors import ParamsError, TableError
from stages.lib.metrics import evaluation_sets, measures
from stages.lib.metrics.cohort import CohortParams
from stages.lib.metrics.over_seeds import join
from stages.nodules.notes import CHAPTER


def test_per_train(splits: Sequence[pa.Table], manifest: pa.Table, sources: Sequence[str]) -> dict[str, float | None]:
    """Images of val and of test per training image, over all seeds; None where they are the same with every seed.

    Args:
        splits: Table of `tables.SPLIT` of each seed.
        manifest: Table of `tables.MANIFEST`.
        sources: Sources of the cohort; other images are not counted.
    """
    images = {
        name: [
            set(evaluation_sets.classifier_images(split, manifest, sources, name)["image_id"].to_pylist())
            for split in splits
        ]
        for name in ("train", *evaluation_sets.MEASURED_SPLITS)
    }
    trained = sum(map(len, images["train"]))
    return {
        name: None if all(found == images[name][0] for found in images[name]) else sum(map(len, images[name])) / trained
        for name in evaluation_sets.MEASURED_SPLITS
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Read the measures of all seeds, join them, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"nodules.cohort": CohortParams},
        reads=("measures", "split", "seeds", "manifest"),
        writes=("over_seeds",),
        many=("measures", "split", "seeds"),
    )
    confidence = args.document["nodules"].get("measure", {}).get("confidence")
    if confidence is None:
        raise ParamsError("parameters of join:", ["nodules.measure.confidence: missing"])
    if not len(args.measures) == len(args.split) == len(args.seeds):
        raise TableError(
            f"found measures of {len(args.measures)} and splits of {len(args.split)} seeds, wanted {len(args.seeds)}"
        )
    manifest = tables.read(args.manifest, tables.MANIFEST)
    of_seeds = {
        int(seed): measures.from_table(tables.read(path, tables.MEASURES)).get(CHAPTER, {})
        for seed, path in zip(args.seeds, args.measures, strict=True)
    }
    splits = [tables.read(path, tables.SPLIT) for path in args.split]
    ratios = test_per_train(splits, manifest, args.params.cohort.sources)
    rows = [measures.table(CHAPTER, found, seed) for seed, found in of_seeds.items()]
    rows.append(measures.table(CHAPTER, join(of_seeds, ratios, confidence)))
    tables.write(args.over_seeds, pa.concat_tables(rows), tables.MEASURES)


if __name__ == "__main__":
    cli.run(main)
