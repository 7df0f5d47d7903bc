"""How a number is written: three decimals, its interval beside it, and a dash with the reason where there is none."""

from collections.abc import Mapping
from typing import Any

from stages.lib.report.blocks import Number

DASH = "—"
MINUS = "\N{MINUS SIGN}"


def number(metric: Any, behind: Mapping[str, str], *, signed: bool = False) -> Number:
    """How a metric is shown.

    Args:
        metric: A bare number, null, or the mapping {value, low, high, n, reason, ...}.
        behind: What each count of the mapping counts, by its key: what stands behind the number, in this order.
        signed: Whether a plus is written.

    >>> number({"value": 0.9123, "low": 0.85, "high": 0.95, "n": 142}, {"n": "images"}).note
    '142 images'
    >>> number({"value": 7, "low": 3.0, "high": 11.5}, {}).interval
    '[3, 12]'
    >>> number({"value": None, "reason": "no positive image"}, {}).note
    'no positive image'
    """
    facts: Mapping[str, Any] = metric if isinstance(metric, Mapping) else {"value": metric}
    value, low, high = facts.get("value"), facts.get("low"), facts.get("high")
    if value is None:
        reason = str(facts.get("reason") or "not measured")
        return Number(text=DASH, interval="", value=None, low=None, high=None, note=reason)
    interval = ""
    if low is not None and high is not None:
        # The ends of a count's interval may lie between two counts; they are shown as counts.
        ends = [round(end) if isinstance(value, int) else end for end in (low, high)]
        interval = f"[{decimal(ends[0], signed=signed)}, {decimal(ends[1], signed=signed)}]"
    text = decimal(value, signed=signed)
    return Number(text=text, interval=interval, value=value, low=low, high=high, note=_note(facts, behind))


def _note(facts: Mapping[str, Any], behind: Mapping[str, str]) -> str:
    """What stands behind a number: counts, Wilson's interval, threshold, skipped resamples."""
    parts = [f"{facts[key]:,} {word}" for key, word in behind.items() if facts.get(key) is not None]
    if facts.get("wilson_low") is not None:
        parts.append(f"Wilson [{decimal(facts['wilson_low'])}, {decimal(facts['wilson_high'])}]")
    if facts.get("threshold") is not None:
        parts.append(f"threshold {decimal(float(facts['threshold']))}")
    if facts.get("skipped_draws"):
        parts.append(f"{facts['skipped_draws']:,} resamples without a value")
    return ", ".join(parts)


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


def tree(value: Mapping[str, Any]) -> dict[str, Any]:
    """Nested facts with the text of each leaf, as `blocks.Facts` wants them; lists are joined.

    >>> tree({"a": {"b": 1e-4, "c": [1, 2]}, "d": None})
    {'a': {'b': '0.0001', 'c': '1, 2'}, 'd': '—'}
    """
    return {str(key): tree(inner) if isinstance(inner, Mapping) else _leaf(inner) for key, inner in value.items()}


def _leaf(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_leaf(inner) for inner in value)
    return DASH if value is None else str(value)
