"""Verdict of a judge on one answer, whatever stands behind the judge."""

from dataclasses import dataclass
from typing import Literal

Rating = Literal["poor", "partial", "good"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How an answer compares with the gold text.

    Attributes:
        rating: From poor to good.
        primary_found: Whether the primary finding of the gold text is in the answer.
        present: Findings of the gold text that the answer has, in the order of the gold text.
        missed: Findings of the gold text that it has not.
        invented: Findings of the answer that the gold text has not, in the order of the answer.
        wrong_side: Findings that it has on another side.
        rationale: The judge's reason.
    """

    rating: Rating
    primary_found: bool
    present: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()
    wrong_side: tuple[str, ...] = ()
    rationale: str = ""

    @property
    def contradictions(self) -> tuple[str, ...]:
        """What in it cannot be true together, a sentence each.

        A good answer has the primary finding, and an answer that has it is at least partial.

        >>> Verdict(rating="good", primary_found=False).contradictions
        ('rating good, but the primary finding is not found',)
        """
        if self.rating == "good" and not self.primary_found:
            return ("rating good, but the primary finding is not found",)
        if self.rating == "poor" and self.primary_found:
            return ("rating poor, but the primary finding is found",)
        return ()
