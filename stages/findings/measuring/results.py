"""Everything that was measured of the arms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stages.findings.notes import Agreement, Cost, Counts, Verdict
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.metrics.outcomes import Row
from stages.lib.metrics.parts import Measured

DESCRIPTION, COMPARISON = "description", "comparison"


@dataclass(kw_only=True)
class Results:
    """Everything that was measured of the arms."""

    counts: Counts
    measures: dict[Subject, Mapping[Key, Estimate]] = field(default_factory=dict)
    of_arms: dict[str, Measured] = field(default_factory=dict)  # on all items, with their values on the resamples
    outcomes: dict[Subject, Sequence[Row]] = field(default_factory=dict)
    findings: list[Row] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
