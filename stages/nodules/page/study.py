"""What the page of the chapter is made of: its tables, its systems, and how it was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from stages.lib.core.errors import ParamsError
from stages.lib.detect.choice import Choice
from stages.lib.detect.cutoff import Cutoff
from stages.lib.learn.train_log import TrainLog
from stages.lib.metrics.calibration import Calibration
from stages.lib.metrics.curves import Curve
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.models.snapshot import Snapshot
from stages.lib.report.systems import System
from stages.nodules.notes import Notes


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it was measured, and what is shown.

    Attributes:
        tight: Tolerance of a hit, fraction of the diagonal.
        tolerant: The wider one.
        confidence: Of the intervals.
        other_prevalence: Prevalence that predictive values are translated to.
        split_unit: What was split: patient or image.
        split_from: How the test split came about, where it is no fraction of the images; else empty.
        root: Folder of the images.
        percentiles: Grey values that became 0 and 255.
        examples: Images shown per group.
        image_px: Width and height of an image on the page, pixels.
        threshold: Name of the threshold that calls an image, beside 0.5.
        submitted: Name of the threshold that calls an image in the submission, and in the joint score.
        report_mined_labels: Sources whose labels were mined from reports.
        test_images_in_base: Test images that the base model was trained on: none, some or unknown.
        own_models: Models that localizers bring beside the base.
        tuned_localizers: Those with an adapter.
    """

    tight: float
    tolerant: float
    confidence: float
    other_prevalence: float
    split_unit: str
    split_from: str
    root: str
    percentiles: tuple[float, float]
    examples: int
    image_px: int
    threshold: str
    submitted: str
    report_mined_labels: tuple[str, ...]
    test_images_in_base: str
    own_models: tuple[str, ...]
    tuned_localizers: tuple[str, ...]

    @property
    def simulated(self) -> bool:
        """Whether the images are those that `data_simulate` makes."""
        return Path(self.root).parts[:3] == ("results", "data", "simulate")


def settings(document: Mapping[str, Any]) -> Settings:
    """Settings in a document of parameters, nested as params.yaml is.

    Raises:
        ParamsError: If one is missing.
    """
    try:
        data, own = document["data"], document["nodules"]
        return Settings(
            tight=own["tolerance"]["tight_fraction"],
            tolerant=own["tolerance"]["tolerant_fraction"],
            confidence=own["measure"]["confidence"],
            other_prevalence=own["measure"]["other_prevalence"],
            split_unit=data["split"]["unit"],
            split_from=split_from(data["split"]),
            root=data["ingest"]["root"],
            percentiles=(data["normalize"]["low_percentile"], data["normalize"]["high_percentile"]),
            examples=own["section"]["examples"],
            image_px=own["section"]["image_px"],
            threshold=own["section"]["operating_point"],
            submitted=own["submit"]["threshold"],
            report_mined_labels=tuple(own["section"]["report_mined_labels"]),
            test_images_in_base=own["section"]["test_images_in_base"],
            own_models=tuple(row["model"] for row in own["localizers"].values() if "model" in row),
            tuned_localizers=tuple(
                name for name, row in own["localizers"].items() if row.get("adapter", "none") != "none"
            ),
        )
    except KeyError as error:
        raise ParamsError("parameters of the section:", [f"{error}: missing"]) from error


def split_from(section: Mapping[str, Any]) -> str:
    """A sentence on a split that is read from a file, or is a fold; nothing on one by fractions.

    >>> split_from({"file": "none", "folds": 5, "fold": 2, "unit": "patient"})
    'The test split is fold 2 (from 0) of 5 folds by patient.'
    """
    if section["file"] != "none":
        fold = f", fold {section['fold']} of {section['folds']}" if section["folds"] else ""
        return f"The split is that of the file {section['file']}{fold}."
    if section["folds"]:
        return f"The test split is fold {section['fold']} (from 0) of {section['folds']} folds by {section['unit']}."
    return ""


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that the page is made of; mappings go from the name of a classifier or localizer to its part.

    `of_seeds` has the measures of each of several seeds, and under None their means; it is empty with one seed.
    """

    measures: Mapping[Subject, Mapping[Key, Estimate]]
    of_seeds: Mapping[int | None, Mapping[Subject, Mapping[Key, Estimate]]]
    curves: Mapping[Subject, Sequence[Curve]]
    outcomes: pa.Table
    notes: Notes
    manifest: pa.Table
    points: pa.Table
    files: pa.Table | None
    normalized: pa.Table
    split: pa.Table
    infer: Mapping[str, pa.Table]
    calibration: Mapping[str, Calibration]
    localize: Mapping[str, pa.Table]
    responses: Mapping[str, pa.Table]
    choice: Mapping[str, Choice]
    cutoff: Mapping[str, Cutoff]
    train: TrainLog | None
    training_curve: Sequence[Mapping[str, float | None]]
    fetch: Snapshot | None
    classifiers: Mapping[str, System]
    localizers: Mapping[str, System]
    settings: Settings

    @property
    def chosen(self) -> System | None:
        """Classifier whose examples are shown: the last one."""
        return list(self.classifiers.values())[-1] if self.classifiers else None

    def of(self, task: str, system: str, subset: str = "test", other: str | None = None) -> Mapping[Key, Estimate]:
        """Measures of a system on an evaluation set, empty if there are none."""
        return self.measures.get(Subject(task, system, subset, other), {})

    def across(self, subset: str = "test") -> bool:
        """Whether images with marked nodules and negative ones of an evaluation set are from different sources."""
        return any(one.sources.across for one in self.notes.sources if one.subset == subset)

    def compared(self, subset: str) -> dict[str, Mapping[Key, Estimate]]:
        """Differences of two classifiers on an evaluation set, by what they are called."""
        return {
            f"{self.classifiers[subject.system].label} - {self.classifiers[subject.other].label}": measured
            for subject, measured in self.measures.items()
            if subject.task == "comparison" and subject.subset == subset and subject.other is not None
        }
