"""How sure a number is: intervals by resampling patients, and Wilson's for plain proportions.

Images of one patient resemble each other, so patients are drawn, never images: intervals from images alone are too
narrow.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import MetricInputError, UndefinedMetricError

K = TypeVar("K", bound=Hashable)
Outcome = float | UndefinedMetricError
Draws = Mapping[K, NDArray[np.float64]]
BLOCK = 100  # resamples held in memory at once


def attempt(metric: Callable[..., float], *args: Any) -> Outcome:
    """What `metric` returns for `args`, or the error that says why it has no value."""
    try:
        return metric(*args)
    except UndefinedMetricError as reason:
        return reason


def resamples(
    patients: NDArray[Any], *, draws: int, seed: int, strata: NDArray[Any] | None = None
) -> Iterator[NDArray[np.int64]]:
    """How often each image stands in each resample of patients, some resamples at a time.

    The same patients and seed give the same resamples, so that two models measured on the same images are paired.

    Args:
        patients: Patient of each image, shape (n,).
        draws: Number of resamples; none is drawn of no patient.
        seed: Of the draws.
        strata: Stratum of each image, shape (n,), the same for all of a patient: of each stratum as many patients are
            drawn as it has. None where the patients were not sampled by strata.

    Yields:
        Counts, shape (b, n) with b up to `BLOCK`.

    Raises:
        MetricInputError: If images of one patient are in two strata.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13, with patients as the units.
    """
    names, firsts, patient = np.unique(patients, return_index=True, return_inverse=True)
    groups = [np.arange(len(names))] if strata is None else _by_stratum(names[patient], firsts, patient, strata)
    rng = np.random.default_rng(seed)
    for first in range(0, draws if len(names) else 0, BLOCK):
        block = min(BLOCK, draws - first)
        drawn = [group[rng.integers(len(group), size=(block, len(group)))] for group in groups]
        places = np.concatenate(drawn, axis=1) + len(names) * np.arange(block)[:, None]
        yield np.bincount(places.ravel(), minlength=block * len(names)).reshape(block, len(names))[:, patient]


def rescaled(patients: NDArray[Any], strata: NDArray[Any], *, draws: int, seed: int) -> NDArray[np.float64]:
    """Weights of images on resamples within strata, rescaled so that few patients in a stratum vary enough.

    Of a stratum of m patients m - 1 are drawn, and each counts m / (m - 1) times. Plain resamples of m of them vary too
    little, by the factor (m - 1) / m of the variance: a third of it is lost with three patients a stratum. Strata of
    one patient are taken together; one that is left alone does not vary.

    The same patients, strata and seed give the same weights, so that two models measured on the same images are paired.

    Args:
        patients: Patient of each image, shape (n,).
        strata: Stratum of each image, the same for all of a patient, shape (n,).
        draws: Number of resamples.
        seed: Of the draws.

    Returns:
        Weights, shape (draws, n).

    Raises:
        MetricInputError: If images of one patient are in two strata.

    Source: Rao & Wu, J. Am. Stat. Assoc. 83: 231, 1988, with m - 1 drawn of each stratum.

    >>> weights = rescaled(np.array(["a", "b", "c"]), np.array(["x", "x", "x"]), draws=100, seed=1)
    >>> sorted(set(weights.ravel().tolist())), set(weights.sum(axis=1).tolist())
    ([0.0, 1.5, 3.0], {3.0})
    """
    names, firsts, patient = np.unique(patients, return_index=True, return_inverse=True)
    groups = _by_stratum(names[patient], firsts, patient, strata)
    alone = [group for group in groups if len(group) == 1]
    groups = [group for group in groups if len(group) > 1] + ([np.concatenate(alone)] if alone else [])
    rng = np.random.default_rng(seed)
    weights = np.zeros((draws, len(names)))
    rows = np.arange(draws)[:, None]
    for group in groups:
        m = len(group)
        drawn = group[rng.integers(m, size=(draws, max(m - 1, 1)))]
        np.add.at(weights, (np.broadcast_to(rows, drawn.shape), drawn), m / max(m - 1, 1))
    return weights[:, patient]


def _by_stratum(
    patients: NDArray[Any], firsts: NDArray[np.int64], patient: NDArray[np.int64], strata: NDArray[Any]
) -> list[NDArray[np.int64]]:
    """Numbers of the patients of each stratum."""
    own = np.asarray(strata)[firsts]
    elsewhere = np.asarray(strata) != own[patient]
    if elsewhere.any():
        raise MetricInputError(
            f"found {sorted(set(patients[elsewhere].tolist()))} in more than one stratum, wanted one"
        )
    return [np.flatnonzero(own == stratum) for stratum in np.unique(own)]


def replicate(
    measure: Callable[[NDArray[np.int64]], Mapping[K, Outcome]],
    patients: NDArray[Any],
    *,
    draws: int,
    seed: int,
) -> dict[K, NDArray[np.float64]]:
    """Every metric on `draws` resamples of patients, which are those of `resamples`.

    Args:
        measure: Takes how often each image stands in a resample, shape (n,), and gives the value of each metric, always
            under the same names.
        patients: Patient of each image, shape (n,).
        draws: Number of resamples.
        seed: Of the draws.

    Returns:
        For each metric its values, shape (draws,), NaN where it was undefined.
    """
    blocks = resamples(patients, draws=draws, seed=seed)
    rows = [measure(weights) for block in blocks for weights in block]
    metrics = rows[0] if rows else {}
    return {
        metric: np.array([np.nan if isinstance(row[metric], UndefinedMetricError) else row[metric] for row in rows])
        for metric in metrics
    }


def percentile(values: NDArray[np.float64], confidence: float) -> tuple[float | None, float | None, int]:
    """Percentile interval of a metric's resampled values, and how many resamples were skipped as undefined.

    Args:
        values: Values on the resamples, NaN where undefined.
        confidence: Such as 0.95.

    Returns:
        Low end, high end (None if it was undefined on every resample), and number skipped.

    >>> percentile(np.array([1.0, 2.0, 3.0, np.nan]), 0.5)
    (1.5, 2.5, 1)
    """
    defined = values[~np.isnan(values)]
    skipped = len(values) - len(defined)
    if not len(defined):
        return None, None, skipped
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high), skipped


def two_sided_p(values: NDArray[np.float64]) -> float:
    """Two-sided p of a difference from its resampled values: twice the rarer side of 0, [0, 1].

    It is small where the percentile interval leaves 0 out, and never below 2 / (draws + 1).

    Args:
        values: Differences on the resamples, NaN where undefined.

    Raises:
        UndefinedMetricError: If it was undefined on every resample.

    Source: Davison & Hinkley, Bootstrap Methods and their Application, 1997, chapter 4: with 1 added to both counts.

    >>> two_sided_p(np.array([0.5, 0.25, 0.75, -0.25, 0.1, 0.2, 0.3]))
    0.5
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        raise UndefinedMetricError("the difference is undefined on every resample")
    rarer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(defined) + 1))


def wilson(successes: float, trials: float, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a proportion: it holds for few trials and stays in [0, 1].

    It takes the trials as independent, which images of one patient are not: it stands beside the patient interval.

    Args:
        successes: 0 .. trials.
        trials: Above 0.
        confidence: Such as 0.95.

    Raises:
        UndefinedMetricError: If there is no trial.
        MetricInputError: If the successes are not in 0 .. trials.

    Source: Wilson, 1927, J. Am. Stat. Assoc. 22: 209.

    >>> [round(end, 4) for end in wilson(0, 10, 0.95)]
    [0.0, 0.2775]
    """
    from statistics import NormalDist

    if not trials:
        raise UndefinedMetricError("there is no trial")
    if not 0 <= successes <= trials:
        raise MetricInputError(f"found {successes} successes in {trials} trials")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    fraction = successes / trials
    centre = (fraction + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * (fraction * (1 - fraction) / trials + z * z / (4 * trials * trials)) ** 0.5
    # Rounding may leave 1e-17 instead of 0 at the edges.
    low = 0.0 if successes == 0 else max(centre - half, 0.0)
    high = 1.0 if successes == trials else min(centre + half, 1.0)
    return low, high
