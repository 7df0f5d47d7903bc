"""How a measured number is written: its value, its interval over patients, and how many stand behind it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics.bootstrap import Draws, Outcome, percentile, wilson

Entry = dict[str, Any]


def entry(outcome: Outcome, facts: Mapping[str, Any]) -> Entry:
    """Return one number as the document has it: {value, ..facts, reason if there is no value}.

    >>> entry(UndefinedMetricError("no image has a nodule"), {"n": 3})
    {'value': None, 'n': 3, 'reason': 'no image has a nodule'}
    """
    if isinstance(outcome, UndefinedMetricError):
        return {"value": None, **facts, "reason": str(outcome)}
    return {"value": outcome, **facts}


def entries(
    outcomes: Mapping[str, Outcome],
    draws: Draws,
    facts: Mapping[str, Any],
    *,
    confidence: float,
    trials: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Entry]:
    """Return every metric with its interval.

    Args:
        outcomes: Value of each metric, or why there is none.
        draws: Its values on resamples of patients, as bootstrap.replicate gives them.
        facts: What is said of each metric, such as n.
        confidence: Of the intervals, such as 0.95.
        trials: Successes and trials of those metrics that are proportions; they get Wilson's interval too.
    """
    document = {}
    for name, outcome in outcomes.items():
        low, high, skipped = percentile(draws.get(name, np.zeros(0)), confidence)
        if isinstance(outcome, UndefinedMetricError):
            low = high = None
        more: dict[str, Any] = {"low": low, "high": high, **facts, "skipped_draws": skipped}
        successes, whole = (trials or {}).get(name, (0, 0))
        if whole:
            more["wilson_low"], more["wilson_high"] = wilson(successes, whole, confidence)
        document[name] = entry(outcome, more)
    return document


def difference(first: Mapping[str, Entry], second: Mapping[str, Entry], name: str) -> Outcome:
    """Return the value of a metric in `first` minus that in `second`, or why one of them has none."""
    values = []
    for document in (first, second):
        if document[name]["value"] is None:
            return UndefinedMetricError(document[name]["reason"])
        values.append(float(document[name]["value"]))
    return values[0] - values[1]


def paired(first: Draws, second: Draws, names: list[str]) -> dict[str, NDArray[np.float64]]:
    """Return the difference of two metrics on each resample; both were measured on the same resamples."""
    return {name: first[name] - second[name] for name in names if name in first}
