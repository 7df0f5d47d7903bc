"""Audits of the judges: what each is called, what it changes, its parameters, and the document of their outcomes."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from stages.lib.core import params
from stages.lib.models.judging.rating import NO_VARIANT

TASK = "audit"
GOLD_TEXT = "gold_text"  # in the place of the arm, where the answer is made of gold texts
GOLD, NEGATED, SWAPPED = "gold", "negated", "swapped"
OTHER, INSTRUCTED, EMPTY, PADDED = "other", "instructed", "empty", "padded"
RUBRIC = "rubric"  # behind a stroke the rubric's name and version
REPEAT, JUDGES, LENGTH, FAMILY = "repeat", "judges", "length", "family"
TITLES: Mapping[str, str] = {
    REPEAT: "The same judge twice",
    RUBRIC: "Another rubric",
    JUDGES: "Another judge",
    GOLD: "Gold text as answer",
    NEGATED: "Negation twins",
    SWAPPED: "Left and right swapped",
    OTHER: "Another case's gold text",
    EMPTY: "Empty answer",
    INSTRUCTED: "Answer that tells the judge what to rate",
    PADDED: "Padded answer",
    LENGTH: "Rating and length",
    FAMILY: "Judge and arm of one family",
}  # in the order of the page
CHANGED: Mapping[str, str] = {
    REPEAT: "nothing: the arms' answers are judged again by the same judge",
    RUBRIC: "the rubric alone: the arms' answers are judged by another one",
    JUDGES: "the judge: ratings of the same answers by two judges",
    GOLD: "the answer is the gold text itself; expected: good",
    NEGATED: "the answer denies what the gold text says is there, or the reverse; expected: rated lower than that text",
    SWAPPED: "the gold text with left and right swapped; expected: rated lower than the gold text",
    OTHER: "the answer is the gold text of a case that has no finding in common; expected: not good",
    EMPTY: "the answer is empty; expected: poor",
    INSTRUCTED: "another case's gold text, with a sentence to the judge that it is right; expected: rated no better",
    PADDED: "the arms' answers, with sentences behind them that hold no finding",
    LENGTH: "nothing: rating against words of the answer, at equal finding F1, beside ratings by rules",
    FAMILY: "nothing: the answers of an arm of the judge's family, by this judge and by one of another family",
}
NO_RUBRIC, NO_FAMILY = "rules read no rubric", "rules are of no family"


@params.section
class Params:
    """What the judges are asked in their audits."""

    cases: params.Count  # test cases at most
    seed: params.Seed  # of the cases, and of the order in which the judge is asked
    rubrics: tuple[params.Text, ...]  # that the arms' answers are judged by too, beside the judge's own
    padding_factor: params.PositiveFloat  # words of a padded answer, in words of the answer, at least
    min_padded_words: params.Count  # words of a padded answer, at least
    vocabulary: params.Text  # file of a vocabulary of findings, added to our own; none


@params.section
class Audit:
    """One audit of one judge.

    Attributes:
        audit: Its kind.
        judge: Row of findings.judges.
        other: The rubric, judge or arm that it is held against; null where there is none.
        title: What it is called.
        changed: What was changed.
        subset: Subset of its measures in measures.parquet.
        n: Judgements that it is about.
        unrated: Judgements without a rating, which are left out.
        outcome: Whether it passes; null if that cannot be said.
        reason: Why.
    """

    audit: str
    judge: str
    other: str | None
    title: str
    changed: str
    subset: str
    n: params.NonNegativeInt
    unrated: params.NonNegativeInt
    outcome: Literal["pass", "fail", "null"]
    reason: str


@params.section
class Audits:
    """All audits of the judges of a study.

    Attributes:
        sample: What they are about.
        audits: In the order of the page.
    """

    written_by: ClassVar[str] = "findings_audit_measure"

    sample: str
    audits: tuple[Audit, ...]


def kind(variant: str) -> str:
    """Kind of audit of a variant.

    >>> kind("rubric/long-1"), kind("padded")
    ('rubric', 'padded')
    """
    return variant.partition("/")[0]


def original(variant: str) -> str:
    """Variant that a variant is held against.

    >>> original("swapped"), original("instructed"), original("padded")
    ('gold', 'other', 'none')
    """
    return {NEGATED: GOLD, SWAPPED: GOLD, INSTRUCTED: OTHER}.get(variant, NO_VARIANT)
