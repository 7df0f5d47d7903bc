"""One number of the bench, its provenance and its bounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

COUNTED: Literal["counted"] = "counted"
MEASURED: Literal["measured on this CPU"] = "measured on this CPU"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One number with its provenance.

    Attributes:
        value: The number; None if there is none, and `note` says why.
        unit: Its unit.
        label: Whether it was counted, and so is exact, or measured on a CPU, and so says nothing about a GPU.
        command: What reproduces it.
        low: Least of the runs; None if it was counted.
        high: Greatest of the runs.
        runs: What each run gave, if there were several.
        at_least: Bound from below that it has to keep; None if there is none.
        at_most: Bound from above.
        note: What is behind it, in a few words.
    """

    value: float | None
    unit: str
    label: Literal["counted", "measured on this CPU"]
    command: str
    low: float | None = None
    high: float | None = None
    runs: Sequence[float] = ()
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def kept(self) -> bool | None:
        """Whether the bounds are kept; None without a bound or a value."""
        if self.value is None or (self.at_least is None and self.at_most is None):
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def row(self) -> dict[str, Any]:
        """Document of results/bench.json."""
        known = {name: value for name, value in vars(self).items() if value is not None and value != "" and value != ()}
        return {"value": self.value, **known, **({} if self.kept is None else {"kept": self.kept})}


def table(results: dict[str, Result]) -> str:
    """Results as lines of text.

    >>> print(table({"a": Result(value=9.14, unit="TFLOP", label="counted", command="c", at_most=9.7)}))
    a  9.14 TFLOP  counted  at most 9.7: kept
    """
    width = max(map(len, results), default=0)
    return "\n".join(f"{name:{width}}  {_words(result)}" for name, result in results.items())


def _words(result: Result) -> str:
    if result.value is None:
        return f"none  {result.note}"
    spread = f" [{result.low:.4g}, {result.high:.4g}]" if result.low is not None and result.high is not None else ""
    words = [f"{result.value:.4g} {result.unit}{spread}", result.label]
    for bound, name in ((result.at_least, "at least"), (result.at_most, "at most")):
        if bound is not None:
            words.append(f"{name} {bound:g}: {'kept' if result.kept else 'NOT KEPT'}")
    return "  ".join([*words, *([result.note] if result.note else [])])
