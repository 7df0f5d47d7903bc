"""Measures of several seeds joined: the mean of each, its spread, and an interval for splits that overlap."""

from collections.abc import Mapping

from stages.lib.metrics.measures import Estimate, Key, Measures, Subject
from stages.lib.metrics.resampled import spread

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
