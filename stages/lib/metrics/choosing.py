"""Which of several models is taken: the highest average precision, and of those tied with it the cheapest.

Models are compared on the same images and the same resamples of patients, so that what they share cancels out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import MetricInputError, UndefinedMetricError
from stages.lib.metrics.binary import Ranking, average_precisions
from stages.lib.metrics.bootstrap import percentile, resamples

Floats = NDArray[np.float64]
ROUNDING = 1e-12  # differences that rounding alone makes


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One model.

    Attributes:
        name: Its name.
        scores: By which it ranks the images, finite, shape (n,); of logits, so that none near 1 are tied.
        operations: Floating-point operations of one image in all its passes; None if they are not known.
        barred: Why it may not be chosen; empty if it may.
    """

    name: str
    scores: Floats
    operations: float | None
    barred: str = ""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a model stands.

    Attributes:
        name: Its name.
        average_precision: On all images.
        low: Lower end of its interval over patients; None if it was undefined on every resample.
        high: Upper end.
        behind: Average precision of the best model that may be chosen, less this one's; below 0 if a model that may
            not be chosen is better. None if no model may be chosen.
        standard_error: Of that difference, over patients; None likewise.
        tied: Whether it may be chosen and is no more than the allowed number of standard errors behind.
        operations: As of the candidate.
        barred: As of the candidate.
    """

    name: str
    average_precision: float
    low: float | None
    high: float | None
    behind: float | None
    standard_error: float | None
    tied: bool
    operations: float | None
    barred: str


@dataclass(frozen=True)
class Chosen:
    """What the rule came to: the best model that may be chosen, the model taken, and all of them in order."""

    best: str | None
    chosen: str | None
    standings: tuple[Standing, ...]


def choose(
    labels: NDArray[np.int64],
    patients: NDArray[Any],
    candidates: Sequence[Candidate],
    *,
    standard_errors: float,
    draws: int,
    seed: int,
    confidence: float,
) -> Chosen:
    """The cheapest of the models that are not clearly worse than the best.

    A model is tied with the best if its average precision is at most `standard_errors` paired standard errors lower.
    Of the tied ones that with the fewest operations is taken; one whose operations are not known counts as dearer than
    any other. Of equally dear ones the more precise is taken, then the first in order.

    Args:
        labels: 0 or 1, shape (n,).
        patients: Patient of each image, shape (n,).
        candidates: The models, on the same images.
        standard_errors: See above; 0 takes the best alone.
        draws: Resamples of patients.
        seed: Of the resamples.
        confidence: Of the intervals.

    Raises:
        MetricInputError: If scores are not finite or not of these images.
        UndefinedMetricError: If a class has no image.

    Source: the one-standard-error rule of Breiman et al., Classification and Regression Trees, 1984, section 3.4.3,
    with a paired error over patients in the place of one over folds, and operations as the size of a model.

    >>> a = Candidate(name="big", scores=np.array([0.1, 0.2, 0.8, 0.9]), operations=9.0)
    >>> b = Candidate(name="small", scores=np.array([0.2, 0.1, 0.9, 0.8]), operations=1.0)
    >>> same = {"standard_errors": 1.0, "draws": 20, "seed": 1, "confidence": 0.95}
    >>> choose(np.array([0, 0, 1, 1]), np.array(["a", "b", "c", "d"]), [a, b], **same).chosen
    'small'
    """
    rankings = [_ranking(labels, one) for one in candidates]
    values = np.array([ranking.average_precision() for ranking in rankings])
    drawn = resampled_precision(patients, rankings, draws=draws, seed=seed)  # (draws, models)
    free = [place for place, one in enumerate(candidates) if not one.barred]
    best = max(free, key=lambda place: (values[place], -place), default=None)
    standings = []
    for place, one in enumerate(candidates):
        low, high, _ = percentile(drawn[:, place], confidence)
        behind = error = None
        if best is not None:
            behind = float(values[best] - values[place])
            error = standard_error(drawn[:, best] - drawn[:, place])
        tied = place == best or (
            place in free and behind is not None and behind <= standard_errors * (error or 0.0) + ROUNDING
        )
        standings.append(
            Standing(
                name=one.name,
                average_precision=float(values[place]),
                low=low,
                high=high,
                behind=behind,
                standard_error=error,
                tied=tied,
                operations=one.operations,
                barred=one.barred,
            )
        )
    taken = min((one for one in standings if one.tied), key=_dearness, default=None)
    return Chosen(None if best is None else candidates[best].name, taken.name if taken else None, tuple(standings))


def _dearness(one: Standing) -> tuple[float, float]:
    """Operations, then how imprecise a model is."""
    return (np.inf if one.operations is None else one.operations, -one.average_precision)


def standard_error(drawn: Floats) -> float | None:
    """Standard deviation (divisor n - 1) of a number over resamples; None if fewer than two of them have one.

    Args:
        drawn: Its values, NaN where undefined.

    >>> standard_error(np.array([1.0, 3.0, np.nan]))
    1.4142135623730951
    """
    defined = drawn[~np.isnan(drawn)]
    return float(defined.std(ddof=1)) if len(defined) > 1 else None


def _ranking(labels: NDArray[np.int64], one: Candidate) -> Ranking:
    try:
        return Ranking(labels, one.scores)
    except MetricInputError as error:
        raise MetricInputError(f"{one.name}: {error}") from error


def resampled_precision(patients: NDArray[Any], rankings: Sequence[Ranking], *, draws: int, seed: int) -> Floats:
    """Average precision of each model on each resample of patients, NaN where a class was lost.

    Args:
        patients: Patient of each image, shape (n,).
        rankings: Of each model, on these images.
        draws: Number of resamples.
        seed: Of the resamples.

    Returns:
        Shape (draws, models).
    """
    blocks = [
        np.stack([average_precisions(*ranking.cumulate(weights)) for ranking in rankings], axis=1)
        for weights in resamples(patients, draws=draws, seed=seed)
        if rankings
    ]
    return np.concatenate([np.zeros((0, len(rankings))), *blocks])


@dataclass(frozen=True, kw_only=True)
class Priced:
    """A model with what it costs and what it is worth."""

    name: str
    operations: float
    value: float


def front(models: Sequence[Priced]) -> list[Priced]:
    """Models that no other one beats: none is as good or better with as few operations or fewer. Cheapest first.

    Of two that cost and are worth the same the first is kept.

    Source: Pareto, Manuale di economia politica, 1906: what cannot be improved in one without loss in the other.

    >>> made = [("a", 1.0, 0.5), ("b", 2.0, 0.4), ("c", 3.0, 0.9)]
    >>> [one.name for one in front([Priced(name=name, operations=x, value=y) for name, x, y in made])]
    ['a', 'c']
    """
    kept: list[Priced] = []
    for one in sorted(models, key=lambda model: (model.operations, -model.value)):
        if not kept or one.value > kept[-1].value:
            kept.append(one)
    return kept


def price(cheaper: Priced, dearer: Priced, step: float) -> float:
    """Further operations per image for each `step` of value, from one model to the next on the front.

    Raises:
        UndefinedMetricError: If the dearer one is not better.

    >>> first, second = (Priced(name=name, operations=x, value=y) for name, x, y in (("a", 1e9, 0.5), ("b", 5e9, 0.75)))
    >>> price(first, second, 0.125)
    2000000000.0
    """
    gain = dearer.value - cheaper.value
    if gain <= 0:
        raise UndefinedMetricError(f"{dearer.name} is not better than {cheaper.name}")
    return (dearer.operations - cheaper.operations) * step / gain
