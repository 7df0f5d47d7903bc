"""Timing of the answers of an arm, or of the ratings of a judge: clock readings and dollars, which no Parquet holds."""

from collections.abc import Mapping
from typing import ClassVar

from stages.lib.core import params


@params.section
class Clocked:
    """What one answer or rating took.

    Attributes:
        item: What was asked about; of a judge, the arm and the item behind a colon.
        sample: Number of the answer to the same request, or of the repeat of a rating.
        attempts: Tries, the last one included.
        seconds: Of the good try.
        total_seconds: Of all tries and the waits between them.
        dollars: What the good try cost; null where a price or the tokens are not known.
    """

    item: str
    sample: int
    attempts: int
    seconds: float
    total_seconds: float
    dollars: float | None


@params.section
class Timing:
    """What the answers of an arm, or the ratings of a judge, took.

    Attributes:
        name: Row of findings.arms or of findings.judges.
        clocked: One entry per request that got an answer.
        price: The row of the price table that dollars were counted by, with its date, as text; null without a price.
        price_warning: What a reader must know of it, such as that it is older than a year; null if nothing.
        ledger_sha256: Of the lines of the ledger that the answers are from; null without a ledger.
    """

    written_by: ClassVar[str] = "answer or judge"

    name: str
    clocked: tuple[Clocked, ...]
    price: Mapping[str, str | float | None] | None
    price_warning: str | None
    ledger_sha256: str | None
