"""Notes of a measurement: what a reader must know before any number, counts, and provenance."""

from collections.abc import Mapping
from typing import Any, ClassVar

from stages.lib.core import params
from stages.lib.metrics.sources import Sources

CHAPTER = "nodules"


@params.section
class Division:
    """One way to divide the nodules that a localizer is measured on.

    Attributes:
        localizer: Name of the localizer.
        subset: Evaluation set.
        name: size, contrast, height or side.
        strata: Bounds of each stratum by its name, low inclusive and high exclusive; null where there is none.
        n_unknown: Nodules in no stratum, since it is not known what they are.
        reason: Why there is no stratum; null if there is one.
        note: What a reader must know of it.
    """

    localizer: str
    subset: str
    name: str
    strata: Mapping[str, tuple[float | None, float | None]]
    n_unknown: int
    reason: str | None
    note: str | None


@params.section
class Subgroups:
    """One way to divide the test images that classifiers are measured on.

    Attributes:
        name: sex, age, view, source or size.
        groups: Bounds of each subgroup by its name, low inclusive and high exclusive; null where there is none.
        n_unknown: Images in no subgroup, since it is not known of them; by size, positive images.
        reason: Why there is no subgroup; null if there is one.
        note: What a reader must know of it.
    """

    name: str
    groups: Mapping[str, tuple[float | None, float | None]]
    n_unknown: int
    reason: str | None
    note: str | None


@params.section
class SetSources:
    """Where the images of one evaluation set are from that a localizer is measured on."""

    localizer: str
    subset: str
    sources: Sources


@params.section
class Placement:
    """Where the random-placement baseline throws its points, in numbers of images with marked nodules.

    Attributes:
        lung_field: Into the lung field.
        body: Into the body, as the lung field did not pass its check.
        image: Anywhere on the image, as no body could be told either.
        problems: What the check said, and of how many images.
    """

    lung_field: int
    body: int
    image: int
    problems: Mapping[str, int]


@params.section
class Responses:
    """Responses of a localizer, and what its parser made of them."""

    n: int
    ok: int
    empty: int
    malformed: int
    cut: int


@params.section
class SplitCounts:
    """Images and patients of a split."""

    no_finding: int
    nodule: int
    unlabelled: int
    patients: int


@params.section
class Counts:
    """Images, patients and points of the study, and the responses of each localizer."""

    images: int
    rejected: int
    patients: int
    points: int
    images_with_points: int
    by_source: Mapping[str, int]
    by_split: Mapping[str, SplitCounts]
    responses: Mapping[str, Responses]


@params.section
class Notes:
    """What stands beside the measures of the study.

    Attributes:
        warnings: A sentence for everything that a reader must know before trusting a number.
        counts: What there is.
        divisions: How nodules are divided into strata.
        subgroups: How images are divided into subgroups.
        subgroup_tests: Tests of subgroups that the p values of each classifier are corrected for.
        sources: Where images with nodules and negative ones are from.
        placement: Where the random-placement baseline throws its points; null without a localizer.
        provenance: What decided the numbers, see `provenance.record`.
    """

    written_by: ClassVar[str] = "measure"

    warnings: tuple[str, ...]
    counts: Counts
    divisions: tuple[Division, ...]
    subgroups: tuple[Subgroups, ...]
    subgroup_tests: Mapping[str, int]
    sources: tuple[SetSources, ...]
    placement: Placement | None
    provenance: Mapping[str, Any]
