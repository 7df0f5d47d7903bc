"""What the page of the chapter is made of: its tables, its arms and judges, and how they were measured."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from stages.findings.notes import Cost, Notes
from stages.findings.page.sentences import p_value
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.report import numbers
from stages.lib.report.blocks import Number
from stages.lib.report.systems import System

DESCRIPTION, COMPARISON, AGREEMENT = "description", "comparison", "agreement"
CONSTANT = "constant"
SPACE = "\N{NO-BREAK SPACE}"


def constant(arm: System) -> bool:
    """Whether an arm says the same of every case."""
    return bool(arm.row.get("kind") == CONSTANT)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that the page is made of.

    Attributes:
        measures: What was measured.
        notes: What stands beside it.
        cases: Table `case_tables.CASES`.
        case_images: Table `case_tables.CASE_IMAGES`.
        sample: Table `case_tables.SAMPLE`.
        answers: Table `case_tables.ANSWERS` of each arm.
        judgements: Table `case_tables.JUDGEMENTS` of each judge.
        findings: Table `case_tables.FINDINGS`.
        arms: The arms.
        judges: The judges.
        parameters: The document of parameters.
    """

    measures: Mapping[Subject, Mapping[Key, Estimate]]
    notes: Notes
    cases: pa.Table
    case_images: pa.Table
    sample: pa.Table
    answers: Mapping[str, pa.Table]
    judgements: Mapping[str, pa.Table]
    findings: pa.Table
    arms: Mapping[str, System]
    judges: Mapping[str, System]
    parameters: Mapping[str, Any]

    @property
    def measured_by(self) -> Mapping[str, Any]:
        """Parameters of the measurement."""
        found: Mapping[str, Any] = self.parameters["findings"]["measure"]
        return found

    @property
    def primary(self) -> System:
        """The judge that was declared before the run."""
        return self.judges[self.measured_by["primary_judge"]]

    @property
    def simulated(self) -> bool:
        """Whether the cases are those that `findings_simulate` draws."""
        root = self.parameters["findings"].get("ingest", {}).get("root", "")
        return Path(root).parts[:3] == ("results", "findings", "simulate")

    @property
    def n_cases(self) -> int:
        """Cases of the test."""
        return self.notes.counts.roles.get("test", 0)

    @property
    def costs(self) -> Mapping[str, Cost]:
        """Cost of each arm, and of each judge that has clock readings."""
        return {cost.name: cost for cost in self.notes.costs}

    def of(self, arm: str, subset: str = "test") -> Mapping[Key, Estimate]:
        """Measures of an arm on a part of the sample; empty if there are none."""
        return self.measures.get(Subject(DESCRIPTION, arm, subset), {})

    def between(self, first: str, second: str) -> Mapping[Key, Estimate]:
        """Measures of two arms together."""
        return self.measures.get(Subject(COMPARISON, first, "test", second), {})


def number(key: Key, estimate: Estimate | None, *, signed: bool = False) -> Number:
    """Measure as the chapter shows it: what stands behind it are answers, and their cases.

    >>> number(Key("good_fraction"), Estimate(value=0.25, n=16, n_patients=20, wilson_low=0.1, wilson_high=0.5)).note
    '16 answers about 20 cases, Wilson [0.100, 0.500]'
    """
    if estimate is None or estimate.value is None:
        return numbers.number(key, estimate, signed=signed)
    shown = numbers.number(key, estimate, signed=signed)
    # A narrow column may break it between two intervals, not within one.
    interval = shown.interval.replace(", ", f",{SPACE}").replace(f"],{SPACE}Wilson ", f"], Wilson{SPACE}")
    shown = replace(shown, interval=interval)
    if key.metric.endswith(("_p", "_p_holm")):
        shown = replace(shown, text=p_value(estimate.value))
    behind = [f"{estimate.n:,} answers"] if estimate.n is not None else []
    if estimate.n_patients is not None:
        behind = [" about ".join([*behind, f"{estimate.n_patients:,} cases"])]
    rest = numbers.note(replace(estimate, n=None, n_patients=None))
    return replace(shown, note=", ".join([*behind, *([rest] if rest else [])]))
