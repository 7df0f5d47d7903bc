"""The sample of cases as a JSON that people read, with the hash that every later file carries."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from stages.lib.core import params

Role = Literal["test", "example", "train", "val"]


@params.section
class StratumCount:
    """What a role has of a stratum."""

    role: Role
    region: str
    modality: str
    cases: int
    images: int  # of that modality, which are sent


@params.section
class SampledCase:
    """A case with its role and stratum."""

    case_id: str
    role: Role
    region: str
    modality: str
    images: tuple[str, ...]  # names of its images of that modality, in the order in which they are sent


@params.section
class Sample:
    """Cases of each role, and how they came to it."""

    written_by: ClassVar[str] = "findings_sample"

    sample_sha256: str  # of the cases, their roles and strata, their texts and the bytes of their images
    parameters: Mapping[str, Any]  # findings.sample
    file_sha256: str | None  # of the file that decided it; null without one
    strata: tuple[StratumCount, ...]
    left_out: Mapping[str, int]  # cases without a role, by the reason
    cases: tuple[SampledCase, ...]
