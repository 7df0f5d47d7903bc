"""Audits of the chapter: what each is called, what it changes, and the document of their outcomes."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from stages.lib.core import params
from stages.lib.images.variants import BLANK, BORDER, CORRUPTION, LUNG_FIELD, MARKER, NODULE, PROMPT

SHUFFLED = "shuffled"
PROBE = "probe"
TASK = "audit"
EVERYWHERE = "data"  # system of an audit that asks no classifier
CHANGED: Mapping[str, str] = {
    NODULE: "marked nodules filled with what surrounds them; as control, as large a place elsewhere in the lungs",
    LUNG_FIELD: "all but the lung field made one grey",
    BORDER: "the lung field made one grey, so that only what lies around it is left",
    MARKER: "markers outside the lung field filled with what surrounds them",
    BLANK: "each image made flat, of its own mean grey",
    SHUFFLED: "trained as the study trains, on labels permuted by patient; before: on the true labels",
    "source": "a regression sees the histogram of grey values, size and bit depth, and says the source",
    "grey_values": "a regression sees the histogram of grey values, size and bit depth, and says the label",
    "metadata": "a regression sees size, bit depth, and sex, age and view where they are known, and says the label",
    "noise": "noise added",
    "blur": "blurred",
    "contrast": "contrast lowered",
    "exposure": "exposed otherwise (a power of the grey values)",
    "rotation": "turned",
    "jpeg": "compressed as JPEG",
}
TITLES: Mapping[str, str] = {
    NODULE: "Nodule filled",
    LUNG_FIELD: "Lung field only",
    BORDER: "Border only",
    MARKER: "Markers removed",
    BLANK: "Flat image",
    SHUFFLED: "Shuffled labels",
    CORRUPTION: "Corruption",
    PROMPT: "Other prompt",
    PROBE: "Probe without a model",
}


@params.section
class Audit:
    """One audit of one classifier.

    Attributes:
        audit: Its kind.
        variant: Which of its kind.
        system: Name of the classifier, or "data".
        title: What it is called.
        changed: What was changed.
        subset: Subset of its measures in measures.parquet.
        n_changed: Images whose change could be made.
        problems: Images whose change could not be made, by the reason.
        outcome: Whether it passes; null if that cannot be said.
        reason: Why.
    """

    audit: str
    variant: str
    system: str
    title: str
    changed: str
    subset: str
    n_changed: params.NonNegativeInt
    problems: Mapping[str, params.NonNegativeInt]
    outcome: Literal["pass", "fail", "null"]
    reason: str


@params.section
class Audits:
    """All audits of a study.

    Attributes:
        sample: What the images are.
        not_asked: Classifiers that are not asked about images: their score is of a localizer's points.
        audits: In the order of the page.
    """

    written_by: ClassVar[str] = "audit_measure"

    sample: str
    not_asked: tuple[str, ...]
    audits: tuple[Audit, ...]
