"""Notes of a measurement of the chapter: what a reader must know before any number, pools, verdicts, and provenance."""

from collections.abc import Mapping
from typing import Any, ClassVar

from stages.lib.core import params

CHAPTER = "lofi"


@params.section
class Pools:
    """What one encoder looked for, and among how many.

    Attributes:
        encoder: Row of lofi.encoders.
        reads: Whether it has a text side; if not, it is not ranked.
        images: Test images that a text looks for its own among.
        texts: Parts of test reports that an image looks for its own among.
        image_queries: Test images that look; those without a text do not.
        text_queries: Parts that look.
        patients: Patients of the queries.
        tied_fraction: Wrong items as similar as the first right one, of all wrong ones, both directions; null without.
        shortened: Parts that lost a sentence for want of room; null without the encoder's record.
        left_out: Parts that are not embedded, as not one sentence fits; null likewise.
        sentences_left_out: Sentences left out, in all; null likewise.
        identity: What decides its vectors; null likewise.
    """

    encoder: str
    reads: bool
    images: int
    texts: int
    image_queries: int
    text_queries: int
    patients: int
    tied_fraction: float | None
    shortened: int | None
    left_out: int | None
    sentences_left_out: int | None
    identity: str | None


@params.section
class Blind:
    """Whether a grounder does better with a sentence's own image than with one that says nothing of it.

    Attributes:
        grounder: Row of lofi.grounders.
        blind: What it was shown instead: shuffled or grey.
        metric: What decides, by its key in metrics.json.
        grounds: Whether the whole paired interval is above 0.
        sentence: The same in words, with the numbers.
    """

    grounder: str
    blind: str
    metric: str
    grounds: bool
    sentence: str


@params.section
class Notes:
    """What stands beside the measures of the chapter.

    Attributes:
        warnings: A sentence for everything that a reader must know before trusting a number.
        pools: Of each encoder.
        blind: Of each grounder and each blind row.
        statuses: Answers of each grounder to sentences with their own image, by what was read of them.
        examples: Training images with boxes, and the sentences with boxes on them: what is copied, or shown.
        test: Test images, sentences, and sentences with boxes.
        provenance: What decided the numbers: git, parameters, seeds, versions.
    """

    written_by: ClassVar[str] = "lofi.measure"

    warnings: tuple[str, ...]
    pools: tuple[Pools, ...]
    blind: tuple[Blind, ...]
    statuses: Mapping[str, Mapping[str, int]]
    examples: Mapping[str, int]
    test: Mapping[str, int]
    provenance: Mapping[str, Any]
