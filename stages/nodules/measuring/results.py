"""How a study is measured, and everything that was measured of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import params
from stages.lib.metrics import (
    binary_suite,
    localization_suite,
    probe,
)
from stages.lib.metrics.cohort import CohortParams, OpenFraction, ToleranceParams
from stages.lib.metrics.curves import Curve
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.metrics.outcomes import Row
from stages.nodules.notes import Division, SetSources, Subgroups
from stages.nodules.submission import Threshold

CLASSIFICATION, COMPARISON, LOCALIZATION, JOINT = "classification", "comparison", "localization", "joint"
RESPONSES = "responses"
VALIDATION, TEST = "val", "test"


@params.section
class MeasureParams:
    """How it is measured."""

    draws: params.Count  # resamples of patients for an interval, and throws of points for chance
    seed: params.Seed  # of the resamples and throws
    confidence: OpenFraction  # of the intervals
    ece_bins: params.Count  # bins of equal mass for the calibration error
    other_prevalence: OpenFraction  # fraction of images with a nodule that PPV and NPV are translated to
    size_edges_mm: tuple[params.PositiveFloat, ...]  # diameters between two strata of nodules; none for no strata
    # contrasts between two strata, in the unit of the data's table; none for no strata
    contrast_edges: tuple[float, ...]
    min_stratum_nodules: params.Count  # nodules below which a stratum has no recall
    comparisons: tuple[tuple[params.Text, params.Text], ...]  # pairs of classifiers: the first minus the second
    age_edges_years: tuple[params.PositiveFloat, ...]  # ages between two subgroups of images; none for no subgroups
    min_subgroup_images: params.Count  # images of a class below which a subgroup has no measure of that class

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = []
        for name in ("size_edges_mm", "contrast_edges", "age_edges_years"):
            edges = getattr(self, name)
            if list(edges) != sorted(set(edges)):
                problems.append(f"{name} {list(edges)} do not rise")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def of_probes(self) -> probe.Settings:
        """How the probes are measured."""
        return probe.Settings(draws=self.draws, seed=self.seed, confidence=self.confidence)

    @property
    def of_scores(self) -> binary_suite.Settings:
        """How the classification is measured."""
        return binary_suite.Settings(
            draws=self.draws,
            seed=self.seed,
            confidence=self.confidence,
            ece_bins=self.ece_bins,
            other_prevalence=self.other_prevalence,
        )


@params.section
class Params(MeasureParams, CohortParams, ToleranceParams):
    """How it is measured, on images of which sources, how near a point must be, and what calls an image."""

    threshold: Threshold  # of the joint score: that of the submission

    def __post_init__(self) -> None:
        MeasureParams.__post_init__(self)
        ToleranceParams.__post_init__(self)

    @property
    def of_points(self) -> localization_suite.Settings:
        """How the localization is measured."""
        return localization_suite.Settings(
            draws=self.draws,
            seed=self.seed,
            confidence=self.confidence,
            tolerances={"tight": self.tight_fraction, "tolerant": self.tolerant_fraction},
            size_edges_mm=self.size_edges_mm,
            contrast_edges=self.contrast_edges,
            min_stratum_nodules=self.min_stratum_nodules,
        )


@dataclass
class Results:
    """Everything that was measured."""

    measures: dict[Subject, Mapping[Key, Estimate]] = field(default_factory=dict)
    curves: dict[Subject, list[Curve]] = field(default_factory=dict)
    outcomes: dict[Subject, Sequence[Row]] = field(default_factory=dict)
    divisions: list[Division] = field(default_factory=list)
    redrawn: dict[str, Mapping[str, NDArray[np.float64]]] = field(default_factory=dict)  # thresholds by classifier
    subgroups: list[Subgroups] = field(default_factory=list)
    subgroup_tests: dict[str, int] = field(default_factory=dict)
    sources: list[SetSources] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
