"""Measures: every measured number of every chapter in one shape, with its interval over patients and what is behind it.

`measure` stages make them; metrics.json, summary.json, the comparison of two runs and the report are made from them.
"""

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.lib.core import tables
from stages.lib.core.csvtext import csv_bytes
from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics import catalog
from stages.lib.metrics.bootstrap import Draws, Outcome, percentile, wilson

K = TypeVar("K", bound=Hashable)
HEADLINE_SUBSETS = ("test", "test/negatives")


class Key(NamedTuple):
    """A metric, and the threshold, tolerance or rate that it is measured at; None for a metric without one."""

    metric: str
    at: str | None = None

    @property
    def text(self) -> str:
        """Key in metrics.json.

        >>> Key("roc_auc").text, Key("sensitivity", "youden").text
        ('roc_auc', 'sensitivity_at_youden')
        """
        return self.metric if self.at is None else f"{self.metric}_at_{self.at}"

    @property
    def order(self) -> tuple[int, str]:
        """Place among the metrics of a report."""
        return catalog.ORDER[self.metric], self.at or ""

    @property
    def headline(self) -> bool:
        """Whether it is one of the headline metrics."""
        return self.at in catalog.metric(self.metric).headline_at


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured number, or the reason why there is none.

    Attributes:
        value: None if it is undefined.
        low: Lower end of its interval over patients; at a threshold that was chosen on validation, over validation
            patients too. None without one.
        high: Upper end.
        known_low: Lower end of the interval with the threshold taken as known; None unless it was chosen on validation.
        known_high: Upper end.
        n: Images.
        n_patients: Their patients.
        n_positive: Images with a nodule among them; None where that is not the point.
        n_negative: Negative images beside the n, or among them where it says so.
        n_points: Nodules.
        n_predictions: Predicted points.
        threshold: Value of the threshold that `at` names.
        wilson_low: Lower end of Wilson's interval of a proportion, which takes images as independent.
        wilson_high: Upper end.
        skipped_draws: Resamples on which it was undefined.
        n_seeds: Seeds that it is the mean of, its interval then being that of the mean; None for one run.
        sd: Standard deviation over them.
        reason: Why there is no value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    known_low: float | None = None
    known_high: float | None = None
    n: int | None = None
    n_patients: int | None = None
    n_positive: int | None = None
    n_negative: int | None = None
    n_points: int | None = None
    n_predictions: int | None = None
    threshold: float | None = None
    wilson_low: float | None = None
    wilson_high: float | None = None
    skipped_draws: int | None = None
    n_seeds: int | None = None
    sd: float | None = None
    reason: str | None = None

    @property
    def flat(self) -> bool:
        """Whether its interval over patients has no width, and Wilson's says more.

        Where all or none of so few images are right, every resample says the same.

        >>> Estimate(value=1.0, low=1.0, high=1.0, wilson_low=0.72, wilson_high=1.0).flat
        True
        """
        return self.low is not None and self.low == self.high and self.wilson_low is not None


class Subject(NamedTuple):
    """What a measure is about: a task, a system, the images, and for two systems together the other one."""

    task: str
    system: str
    subset: str
    other: str | None = None


Measured = Mapping[Key, Estimate]
Measures = Mapping[Subject, Measured]
VALUES = tuple(field.name for field in fields(Estimate))


def estimate(outcome: Outcome, **facts: Any) -> Estimate:
    """Estimate without an interval.

    >>> estimate(UndefinedMetricError("no image has a nodule"), n=3).reason
    'no image has a nodule'
    """
    if isinstance(outcome, UndefinedMetricError):
        return Estimate(value=None, **{**facts, "reason": str(outcome)})
    return Estimate(value=float(outcome), **facts)


def estimates(
    outcomes: Mapping[K, Outcome],
    draws: Draws[K],
    facts: Mapping[str, Any],
    *,
    confidence: float,
    trials: Mapping[K, tuple[float, float]] | None = None,
    known: Draws[K] | None = None,
) -> dict[K, Estimate]:
    """Estimate of every metric with its interval.

    Args:
        outcomes: Value of each metric, or why there is none.
        draws: Its values on resamples of patients, as bootstrap.replicate gives them.
        facts: What stands behind all of them, such as n.
        confidence: Of the intervals, such as 0.95.
        trials: Successes and trials of those metrics that are proportions; they get Wilson's interval too.
        known: Values on the same resamples with the threshold taken as known, where it was chosen.
    """
    made = {}
    for key, outcome in outcomes.items():
        low, high, skipped = percentile(draws.get(key, np.zeros(0)), confidence)
        if isinstance(outcome, UndefinedMetricError):
            low = high = None
        more: dict[str, Any] = {"low": low, "high": high, **facts, "skipped_draws": skipped}
        if known and key in known and not isinstance(outcome, UndefinedMetricError):
            more["known_low"], more["known_high"], _ = percentile(known[key], confidence)
        successes, whole = (trials or {}).get(key, (0, 0))
        if whole:
            more["wilson_low"], more["wilson_high"] = wilson(successes, whole, confidence)
        made[key] = estimate(outcome, **more)
    return made


def difference(first: Measured, second: Measured, key: Key) -> Outcome:
    """Value of a metric in `first` minus that in `second`, or why one of them has none."""
    values = []
    for measured in (first, second):
        one = measured[key]
        if one.value is None:
            return UndefinedMetricError(one.reason or "not measured")
        values.append(one.value)
    return values[0] - values[1]


def paired(first: Draws[K], second: Draws[K], keys: Iterable[K]) -> dict[K, NDArray[np.float64]]:
    """Difference of metrics on each resample; both were measured on the same resamples."""
    return {key: first[key] - second[key] for key in keys if key in first and key in second}


def table(chapter: str, measures: Measures, seed: int | None = None) -> pa.Table:
    """Table `tables.MEASURES` of one chapter, of one of several seeds if it is given.

    Raises:
        MetricInputError: If a metric is not in the catalog.
    """
    rows = []
    for subject, measured in measures.items():
        for key, one in measured.items():
            catalog.metric(key.metric)
            rows.append({"chapter": chapter, **subject._asdict(), **key._asdict(), "seed": seed, **asdict(one)})
    return tables.from_rows(rows, tables.MEASURES)


FLAT = ("chapter", "task", "system", "other", "subset", "metric", "at", "seed", *VALUES)


def flat(found: pa.Table) -> bytes:
    """A table `tables.MEASURES` as CSV; an empty cell is null."""
    return csv_bytes(FLAT, ([("" if row[name] is None else row[name]) for name in FLAT] for row in found.to_pylist()))


def from_table(found: pa.Table) -> dict[str, dict[Subject, dict[Key, Estimate]]]:
    """Measures of each chapter of a table `tables.MEASURES`, metrics in the order of the catalog."""
    chapters: dict[str, dict[Subject, dict[Key, Estimate]]] = {}
    rows = [(Key(row["metric"], row["at"]), row) for row in found.to_pylist()]
    for key, row in sorted(rows, key=lambda pair: pair[0].order):
        subject = Subject(row["task"], row["system"], row["subset"], row["other"])
        measured = chapters.setdefault(row["chapter"], {}).setdefault(subject, {})
        measured[key] = Estimate(**{name: row[name] for name in VALUES})
    return chapters


def by_seed(found: pa.Table, chapter: str) -> dict[int | None, dict[Subject, dict[Key, Estimate]]]:
    """Measures of one chapter for each seed of a table `tables.MEASURES`; under None those of no seed alone."""
    made = {}
    for seed in dict.fromkeys(found["seed"].to_pylist()):
        rows = pc.is_null(found["seed"]) if seed is None else pc.equal(found["seed"], seed)
        made[seed] = from_table(found.filter(rows)).get(chapter, {})
    return made


def nested(measures: Measures) -> dict[str, Any]:
    """Measures as metrics.json has them: task, system, the other system, subset, metric, facts that are known.

    >>> area = {Key("roc_auc"): Estimate(value=0.9, n=3)}
    >>> nested({Subject("classification", "tuned", "test"): area})
    {'classification': {'tuned': {'test': {'roc_auc': {'value': 0.9, 'n': 3}}}}}
    """
    document: dict[str, Any] = {}
    for subject, measured in sorted(measures.items(), key=lambda pair: [part or "" for part in pair[0]]):
        place = document
        for name in (subject.task, subject.system, subject.other, subject.subset):
            place = place if name is None else place.setdefault(name, {})
        for key, one in measured.items():
            facts = {name: value for name, value in asdict(one).items() if name == "value" or value is not None}
            if catalog.metric(key.metric).whole and one.value is not None and not math.isnan(one.value):
                facts["value"] = int(one.value) if float(one.value).is_integer() else one.value
            place[key.text] = facts
    return document


def headline_keys() -> dict[str, Key]:
    """Headline metrics in the order of the catalog, by their keys in metrics.json.

    >>> list(headline_keys())[:2]
    ['roc_auc', 'pr_auc']
    """
    keys = (Key(metric.name, at) for metric in catalog.METRICS.values() for at in metric.headline_at)
    return {key.text: key for key in keys}


def headline(measures: Measures) -> dict[str, dict[str, float]]:
    """Headline metrics of each system on the test split, as summary.json has them; undefined ones are left out.

    >>> area = {Key("roc_auc"): Estimate(value=0.9), Key("brier"): Estimate(value=0.1)}
    >>> headline({Subject("classification", "tuned", "test"): area})
    {'tuned': {'roc_auc': 0.9}}
    """
    document: dict[str, dict[str, float]] = {}
    for subject, measured in measures.items():
        if subject.other is None and subject.subset in HEADLINE_SUBSETS:
            for key, one in measured.items():
                if key.headline and one.value is not None:
                    document.setdefault(subject.system, {})[key.text] = one.value
    return document
