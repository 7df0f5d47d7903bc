"""How a number is written: three decimals, its interval beside it, and a dash with the reason where there is none."""

from collections.abc import Mapping
from typing import Any

from stages.lib.metrics import catalog
from stages.lib.metrics.measures import Estimate, Key
from stages.lib.report.blocks import Fact, Number

DASH = "—"
MINUS = "\N{MINUS SIGN}"
KNOWN = "threshold as known"


BEHIND: Mapping[str, str] = {
    "n": "images",
    "n_positive": "positive",
    "n_negative": "negative",
    "n_patients": "patients",
    "n_points": "marked points",
    "n_predictions": "predicted points",
}


def number(key: Key, estimate: Estimate | None, *, signed: bool = False, nouns: Mapping[str, str] = BEHIND) -> Number:
    """Measure as it is shown.

    Args:
        key: Its metric, which says whether it is a count.
        estimate: None if it was not measured.
        signed: Whether a plus is written.
        nouns: What each count behind it counts; a count without one is not told.

    >>> number(Key("roc_auc"), Estimate(value=0.9123, low=0.85, high=0.95, n=142)).note
    '142 images'
    >>> number(Key("true_positives", "tight"), Estimate(value=7.0, low=3.0, high=11.5)).interval
    '[3, 12]'
    >>> number(Key("f1", "youden"), Estimate(value=0.5, low=0.25, high=0.75, known_low=0.375, known_high=0.5)).beside
    'threshold as known [0.375, 0.500]'
    >>> number(Key("recall", "tight"), Estimate(value=None, reason="no positive image")).note
    'no positive image'
    >>> number(Key("roc_auc"), Estimate(value=0.8, sd=0.02, n_seeds=3)).beside
    'SD 0.020'
    >>> all_of_ten = Estimate(value=1.0, low=1.0, high=1.0, wilson_low=0.722, wilson_high=1.0)
    >>> number(Key("precision", "tight"), all_of_ten).interval
    '[1.000, 1.000], Wilson [0.722, 1.000]'
    """
    if estimate is None or estimate.value is None:
        reason = (estimate.reason if estimate else None) or "not measured"
        return Number(text=DASH, interval="", value=None, low=None, high=None, note=reason)
    whole = catalog.metric(key.metric).whole
    low, high, interval = estimate.low, estimate.high, ""
    if low is not None and high is not None:
        # The ends of a count's interval may lie between two counts; they are shown as counts.
        ends = [decimal(round(end) if whole else end, signed=signed) for end in (low, high)]
        interval = f"[{ends[0]}, {ends[1]}]"
        if estimate.flat:
            interval += f", {wilson(estimate)}"
    beside = ""
    if estimate.known_low is not None and estimate.known_high is not None:
        known = [decimal(end, signed=signed) for end in (estimate.known_low, estimate.known_high)]
        beside = f"{KNOWN} [{known[0]}, {known[1]}]"
    if estimate.sd is not None:
        beside = f"SD {decimal(estimate.sd)}"
    text = decimal(
        int(estimate.value) if whole and float(estimate.value).is_integer() else estimate.value, signed=signed
    )
    behind = note(estimate, nouns)
    return Number(text=text, interval=interval, value=estimate.value, low=low, high=high, note=behind, beside=beside)


def note(estimate: Estimate, nouns: Mapping[str, str] = BEHIND) -> str:
    """What stands behind a number: counts, Wilson's interval, threshold, skipped resamples.

    >>> note(Estimate(value=0.5, n=1200, n_positive=12))
    '1,200 images, 12 positive'
    """
    counts = ((getattr(estimate, name), noun) for name, noun in nouns.items())
    parts = [f"{count:,} {noun}" for count, noun in counts if count is not None]
    if estimate.wilson_low is not None:
        parts.append(wilson(estimate))
    if estimate.threshold is not None:
        parts.append(f"threshold {decimal(estimate.threshold)}")
    if estimate.n_seeds is not None:
        parts.append(f"mean over {estimate.n_seeds} seeds")
    if estimate.skipped_draws:
        parts.append(f"{estimate.skipped_draws:,} resamples without a value")
    return ", ".join(parts)


def wilson(estimate: Estimate) -> str:
    """Wilson's interval of a proportion, which has a width where that over patients has none."""
    low, high = (0.0 if end is None else end for end in (estimate.wilson_low, estimate.wilson_high))
    return f"Wilson [{decimal(low)}, {decimal(high)}]"


def label(metric: str) -> str:
    """Name of a metric in the report, with its unit.

    >>> label("roc_auc"), label("nearest_point_px")
    ('ROC AUC', 'Distance of a point to its nearest nodule, median, px')
    """
    found = catalog.metric(metric)
    return f"{found.label}, {found.unit}" if found.unit else found.label


def decimal(value: float, *, signed: bool = False) -> str:
    """A number as text: whole numbers as they are, others with three decimals, or one from 10 on.

    >>> decimal(0.25), decimal(12), decimal(0.0312, signed=True), decimal(1234.56)
    ('0.250', '12', '+0.031', '1,234.6')
    """
    if isinstance(value, int):
        text = f"{abs(value):,}"
    else:
        text = f"{abs(value):,.1f}" if abs(value) >= 10 else f"{abs(value):.3f}"
    negative = value < 0 and text.strip("0.,") != ""
    return f"{MINUS if negative else '+' if signed and value > 0 else ''}{text}"


def fact(value: Any) -> str:
    """A plain fact as text: numbers as `decimal` writes them, a dash where there is none.

    >>> fact(None), fact(1234), fact(True), fact("f1")
    ('—', '1,234', 'yes', 'f1')
    """
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    return decimal(value) if isinstance(value, int | float) else str(value)


def tree(values: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Nested facts, as `blocks.Facts` wants them; lists are joined.

    >>> tree({"a": {"b": 1e-4}, "c": [1, 2], "d": None})[0].facts
    (Fact(name='b', text='0.0001', facts=()),)
    """
    return tuple(
        Fact(name=str(key), facts=tree(value)) if isinstance(value, Mapping) else Fact(name=str(key), text=_leaf(value))
        for key, value in values.items()
    )


def _leaf(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_leaf(inner) for inner in value)
    return DASH if value is None else str(value)
