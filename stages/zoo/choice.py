"""Document of the choice: the rule, where each row stands on validation, and the row that was taken."""

from typing import ClassVar

from stages.lib.core import params


@params.section
class Standing:
    """Where a row stands.

    Attributes:
        model: Its name.
        average_precision: On validation images; null if it failed or is undefined.
        low: Lower end of its interval over patients.
        high: Upper end.
        f1: F1 at the score 0.5, which is shown and chooses nothing.
        behind: Average precision of the best row that may be chosen less this one's.
        standard_error: Of that difference, paired over patients.
        tied: Whether it may be chosen and is tied with the best.
        operations: Floating-point operations of one image in all its passes; null if not known.
        choosable: Whether it may be chosen.
        reason: Why not; null if it may.
    """

    model: str
    average_precision: float | None
    low: float | None
    high: float | None
    f1: float | None
    behind: float | None
    standard_error: float | None
    tied: bool
    operations: float | None
    choosable: bool
    reason: str | None


@params.section
class Choice:
    """Outcome of the rule.

    Attributes:
        rule: The rule as a sentence.
        outcome: What it came to, in a sentence.
        images: Validation images.
        positive_images: Those with a nodule.
        patients: Their patients.
        best: Row with the highest average precision that may be chosen; null without any.
        chosen: Row that the rule takes; null likewise.
        rows: All rows, in the order of the parameters.
    """

    written_by: ClassVar[str] = "zoo.select"

    rule: str
    outcome: str
    images: params.NonNegativeInt
    positive_images: params.NonNegativeInt
    patients: params.NonNegativeInt
    best: str | None
    chosen: str | None
    rows: tuple[Standing, ...]
