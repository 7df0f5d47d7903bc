"""What the page of the chapter is made of: its measures, its rows, the choice, and how it was measured."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from stages.lib.metrics.curves import Curve
from stages.lib.metrics.measures import Estimate, Key, Measures, Subject
from stages.lib.report.blocks import Number
from stages.lib.report.numbers import DASH, number
from stages.lib.report.systems import System
from stages.zoo.choice import Choice, Standing
from stages.zoo.notes import Notes, RowNotes
from stages.zoo.rows import BARS, Model

CLASSIFICATION, COMPARISON, LEARNING = "classification", "comparison", "learning_curve"
PRECISION, AREA, F1 = Key("pr_auc"), Key("roc_auc"), Key("f1", "half")
UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that the page is made of.

    Attributes:
        measures: What was measured.
        curves: Curves of the rows.
        notes: What stands beside the measures.
        choice: Outcome of the rule.
        models: The rows, in their order.
        systems: How each row looks on the page.
        parameters: The document of parameters.
        learning: Measures of each draw of the learning curve, and under None their means; empty without one.
    """

    measures: Measures
    curves: Mapping[Subject, Sequence[Curve]]
    notes: Notes
    choice: Choice
    models: Mapping[str, Model]
    systems: Mapping[str, System]
    parameters: Mapping[str, Any]
    learning: Mapping[int | None, Measures] = field(default_factory=dict)

    @property
    def measured_by(self) -> Mapping[str, Any]:
        """Parameters of the measurement."""
        found: Mapping[str, Any] = self.parameters["zoo"]["measure"]
        return found

    @property
    def simulated(self) -> bool:
        """Whether the images are those that `data_simulate` draws."""
        root = (self.parameters.get("data") or {}).get("ingest", {}).get("root", "")
        return Path(root).parts[:3] == ("results", "data", "simulate")

    @cached_property
    def rows(self) -> Mapping[str, RowNotes]:
        """What stands behind the numbers of each row."""
        return {one.model: one for one in self.notes.rows}

    @cached_property
    def standings(self) -> Mapping[str, Standing]:
        """Where each row stands on validation."""
        return {one.model: one for one in self.choice.rows}

    @property
    def measured(self) -> list[str]:
        """Rows that did not fail."""
        return [name for name in self.models if name in self.rows and self.rows[name].failure is None]

    def seen(self, name: str) -> bool:
        """Whether a row's weights have seen the images."""
        return self.models[name].seen in BARS

    def label(self, name: str) -> str:
        """What a row is called."""
        return self.systems[name].label if name in self.systems else name

    def labels(self, names: Iterable[str]) -> str:
        """What rows are called, one behind the other; a label may have a comma."""
        return "; ".join(self.label(name) for name in names)

    def ranked(self, names: Iterable[str]) -> list[str]:
        """Rows by falling average precision on test images."""

        def value(name: str) -> float:
            found = self.of(name).get(PRECISION)
            return found.value if found is not None and found.value is not None else -1.0

        return sorted(names, key=lambda name: -value(name))

    def of(self, name: str, split: str = "test") -> Mapping[Key, Estimate]:
        """Measures of a row on a split; empty without any."""
        return self.measures.get(Subject(CLASSIFICATION, name, split), {})

    def difference(self, name: str, split: str = "test") -> Mapping[Key, Estimate]:
        """Measures of a row less those of the reference; empty without any."""
        return self.measures.get(Subject(COMPARISON, name, split, self.notes.reference), {})

    @property
    def behind(self) -> str:
        """How many test images stand behind the numbers."""
        for name in self.measured:
            found = self.of(name).get(PRECISION)
            if found is not None:
                return f"{found.n:,} test images of {found.n_patients:,} patients, {found.n_positive:,} with a nodule"
        return "no test image"


def shown(key: Key, estimate: Estimate | None, *, signed: bool = False) -> Number:
    """Measure as it is shown, its interval on one line.

    >>> shown(Key("roc_auc"), Estimate(value=0.9, low=0.8, high=0.95)).interval == "[0.800,\N{NO-BREAK SPACE}0.950]"
    True
    """
    made = number(key, estimate, signed=signed)
    return replace(made, interval=made.interval.replace(", ", ",\N{NO-BREAK SPACE}", 1))


def unbroken(text: str) -> str:
    """A number and its unit on one line.

    >>> unbroken("78 MFLOP") == "78\N{NO-BREAK SPACE}MFLOP"
    True
    """
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def amount(value: float | None, unit: str = "") -> str:
    """A large number with three digits and its prefix.

    >>> amount(7.55e12, "FLOP"), amount(129), amount(0.0, "FLOP"), amount(None)
    ('7.55 TFLOP', '129', '0 FLOP', '—')
    """
    if value is None:
        return DASH
    for size, prefix in UNITS:
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".strip()


def duration(seconds: float | None) -> str:
    """A duration with three digits.

    >>> duration(0.0123), duration(75.0), duration(4000.0), duration(None)
    ('12.3 ms', '75 s', '1.1 h', '—')
    >>> duration(4.7e-7), duration(0.0)
    ('470 ns', '0 s')
    """
    if seconds is None:
        return DASH
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "\N{MICRO SIGN}s"), (1e-9, "ns")):
        if 0 < size * 0.9995 <= seconds < 600:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 3600:.1f} h" if seconds >= 600 else f"{1e9 * seconds:.3g} ns" if seconds else "0 s"
