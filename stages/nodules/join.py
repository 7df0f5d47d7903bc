"""Join the measures of several seeds: the mean of each, its spread, and an interval for splits that overlap.

in   measures    tables.MEASURES of each seed
     split       tables.SPLIT of each seed, in the same order
     seeds       the seeds, in the same order
     manifest    tables.MANIFEST
out  over_seeds  tables.MEASURES: the rows of each seed, with it; and their mean, without
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from stages.lib.core import cli, tables
from stages.lib.core.errors import ParamsError, TableError
from stages.lib.metrics import evaluation_sets, measures
from stages.lib.metrics.cohort import CohortParams
from stages.lib.metrics.measures import Estimate, Key, Measures, Subject
from stages.lib.metrics.resampled import spread
from stages.nodules.notes import CHAPTER

NOT_AVERAGED = ("delong_z", "delong_p", "mcnemar_p")  # of one sample each; their mean says nothing


def join(
    of_seeds: Mapping[int, Measures], test_per_train: Mapping[str, float | None], confidence: float
) -> dict[Subject, dict[Key, Estimate]]:
    """Mean of each measure over the seeds. A difference of two systems is that of each seed, so it is paired.

    Args:
        of_seeds: Measures of each seed.
        test_per_train: Images per training image of each split that changes with the seed; None, as of a subset without
            an entry, for a split whose images are the same with every seed.
        confidence: Of the intervals.

    Returns:
        A measure that is undefined with some seed has no mean, and the reason says with which.
    """
    joined: dict[Subject, dict[Key, Estimate]] = {}
    pairs = dict.fromkeys((subject, key) for found in of_seeds.values() for subject in found for key in found[subject])
    for subject, key in pairs:
        if key.metric in NOT_AVERAGED:
            continue
        ratio = test_per_train.get(subject.subset.partition("/")[0])
        joined.setdefault(subject, {})[key] = _mean(
            {seed: found.get(subject, {}).get(key) for seed, found in of_seeds.items()}, ratio, confidence
        )
    return joined


def _mean(of_seeds: Mapping[int, Estimate | None], ratio: float | None, confidence: float) -> Estimate:
    known = {seed: one.value for seed, one in of_seeds.items() if one is not None and one.value is not None}
    missing = {
        seed: (one.reason if one else None) or "not measured" for seed, one in of_seeds.items() if seed not in known
    }
    if missing:
        reason = "; ".join(f"with seed {seed}: {why}" for seed, why in missing.items())
        return Estimate(value=None, n_seeds=len(of_seeds), reason=reason)
    found = spread(list(known.values()), ratio, confidence)
    return Estimate(value=found.mean, low=found.low, high=found.high, sd=found.sd, n_seeds=len(of_seeds))


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
