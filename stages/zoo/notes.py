"""Notes of a measurement of the chapter: the rows, what each cost and tried, failures, and what rows alone find."""

from collections.abc import Mapping
from typing import Any, ClassVar

from stages.lib.core import params
from stages.lib.learn.candidate import Tried
from stages.zoo.records import CHAPTER, Failure
from stages.zoo.rows import Cost

__all__ = ["CHAPTER", "Alone", "Notes", "RowNotes", "Step"]


@params.section
class RowNotes:
    """What stands behind the numbers of a row.

    Attributes:
        model: Its name.
        kind: Its kind.
        failure: Why it has no numbers; null if it has.
        random_weights: Whether it starts from random weights.
        constant: Whether it gives every test image the same score.
        side_px: Side of the images that it sees; null if it sees none.
        images: Training images.
        chosen: What was chosen on validation; empty without a choice.
        tried: All that was tried there.
        notes: Sentences of its fit.
        answer_mass: Mean probability of its two answers together; null without two.
        cost: What it costs; null without a fit.
    """

    model: str
    kind: str
    failure: Failure | None
    random_weights: bool
    constant: bool
    side_px: int | None
    images: int
    chosen: str
    tried: tuple[Tried, ...]
    notes: tuple[str, ...]
    answer_mass: float | None
    cost: Cost | None


@params.section
class Step:
    """A row on the front of operations and average precision, and what it takes to get there from the one before.

    Attributes:
        model: Its name.
        operations: Floating-point operations of one image in all its passes.
        average_precision: On test images.
        gain: Average precision above that of the row before; null of the first.
        gain_low: Lower end of its interval, paired over patients.
        gain_high: Upper end.
        price: Further operations per image for each step of average precision; null where it is not defined.
        reason: Why not.
    """

    model: str
    operations: float
    average_precision: float
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    price: float | None
    reason: str | None


@params.section
class Alone:
    """Positive test images that one row alone calls positive at its threshold."""

    model: str
    threshold: float
    found: int  # positive images that it calls positive
    false_alarms: int  # negative ones that it calls positive
    images: tuple[str, ...]  # positive ones that no other row calls positive


@params.section
class Notes:
    """What stands beside the measures of the chapter.

    Attributes:
        warnings: A sentence for everything that a reader must know before trusting a number.
        rows: Of each row, in the order of the parameters.
        reference: Row that the others are compared with.
        compared: Rows that were compared with it, for whose number p values are corrected.
        tried: Options, wordings and checkpoints that were tried on validation, over all rows.
        front: Rows that may be chosen and that none of these beats in operations and average precision, cheapest first.
        step: Average precision that is priced.
        off_the_front: Rows that may be chosen and stand on no front, as their operations are not known.
        agreement_at: Name of the threshold behind `alone`.
        alone: Of each row that has such a threshold and tells images apart.
        found_by: Positive test images by the number of rows that call them positive; the first is by none.
        found_by_none: Positive test images that no row calls positive.
        provenance: What decided the numbers: git, parameters, seeds, versions.
    """

    written_by: ClassVar[str] = "zoo.measure"

    warnings: tuple[str, ...]
    rows: tuple[RowNotes, ...]
    reference: str
    compared: tuple[str, ...]
    tried: int
    front: tuple[Step, ...]
    step: float
    off_the_front: tuple[str, ...]
    agreement_at: str
    alone: tuple[Alone, ...]
    found_by: tuple[int, ...]
    found_by_none: tuple[str, ...]
    provenance: Mapping[str, Any]
