"""What all steps of a study agree on: the sources of its images, and how near a point must be to a nodule."""

from typing import Annotated

from pydantic import Field

from stages.lib.core import params

OpenFraction = Annotated[float, Field(gt=0, lt=1)]


@params.section
class CohortParams:
    """Which images classifiers are trained, calibrated and measured on."""

    # of the manifest; a source whose images are all of one class teaches to tell sources apart
    sources: Annotated[tuple[params.Text, ...], Field(min_length=1)]


@params.section
class ToleranceParams:
    """Greatest distance of a point and the nodule that it finds, as a fraction of the diagonal of the original."""

    tight_fraction: OpenFraction
    tolerant_fraction: OpenFraction  # the one that prompts and cutoffs are chosen by

    def __post_init__(self) -> None:
        if self.tight_fraction >= self.tolerant_fraction:
            raise ValueError(
                f"tight_fraction below tolerant_fraction (found {self.tight_fraction} and {self.tolerant_fraction})"
            )
