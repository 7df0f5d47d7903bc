"""What a judge is asked about one answer, and what came of it, as rows of `case_tables.JUDGEMENTS`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.models.chat.request import Reply
from stages.lib.models.verdict import Verdict

RULES = "rules"  # `judged_by` where no model is asked
NO_VARIANT = "none"
Status = Literal["ok", "repaired", "fallback", "invalid", "timeout", "error"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One answer that is to be judged.

    Attributes:
        arm: Whose answer it is; the judge is not told.
        item: What it is about.
        case_id: Its case.
        variant: What was done to the answer; none for the answer itself.
        repeat: Number of the judgement of the same answer.
        gold: Text that it is measured against; None without one.
        answer: The answer; None without one.
        problem: Why there is nothing to judge; None if there is.
    """

    arm: str
    item: str
    case_id: str
    gold: str | None
    answer: str | None
    variant: str = NO_VARIANT
    repeat: int = 0
    problem: str | None = None

    @property
    def name(self) -> str:
        """What messages and the ledger call it."""
        return f"{self.arm}:{self.item}"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What came of a question.

    Attributes:
        status: Whether there is a verdict, and what it took.
        verdict: None without one.
        problem: Why there is none, or why the judge gave none where a fallback did.
        judged_by: The model as the server named it; rules without a model.
        asked: How often the judge was asked because of the form of its responses.
        request: Key of the request whose response was read last.
        response: That response, verbatim.
        replies: All replies of models, for what they took.
        paid: Dollars of each of them; None where that is not known.
    """

    status: Status
    verdict: Verdict | None = None
    problem: str | None = None
    judged_by: str | None = None
    asked: int = 0
    request: str | None = None
    response: str | None = None
    replies: tuple[Reply, ...] = ()
    paid: tuple[float | None, ...] = ()


Rater = Callable[[Sequence[Question]], list[Judged]]  # one per question, in their order


def by_rules(verdict: Callable[[str, str], Verdict]) -> Rater:
    """Rater that asks no model.

    Args:
        verdict: Takes gold text and answer; it raises `UndefinedMetricError` where rules cannot tell.
    """

    def rate(questions: Sequence[Question]) -> list[Judged]:
        return [judged(one) for one in questions]

    def judged(one: Question) -> Judged:
        try:
            return Judged(status="ok", verdict=verdict(one.gold or "", one.answer or ""), judged_by=RULES)
        except UndefinedMetricError as error:
            return Judged(status="invalid", problem=str(error), judged_by=RULES)

    return rate


def without_asking(question: Question) -> Judged | None:
    """What is known of an answer without a judge: there is none, or it is empty; None of any other.

    An answer that failed is not rated: it is not known what it would have been. An empty one is an answer, and poor.

    >>> without_asking(Question(arm="a", item="i", case_id="i", gold="A mass.", answer=" ")).verdict.rating
    'poor'
    """
    if question.answer is None:
        return Judged(status="error", problem=f"no answer: {question.problem or 'the arm gave none'}")
    if not (question.gold or "").strip():
        return Judged(status="error", problem="no gold text")
    if not question.answer.strip():
        verdict = Verdict(rating="poor", primary_found=False, rationale="The answer is empty.")
        return Judged(status="ok", verdict=verdict, judged_by=RULES)
    return None


def with_fallback(first: Rater, second: Rater) -> Rater:
    """Rater that asks a second one where the first gives no verdict; what then is from the second is marked."""

    def rate(questions: Sequence[Question]) -> list[Judged]:
        found = first(questions)
        failed = [number for number, one in enumerate(found) if one.verdict is None]
        for number, other in zip(failed, second([questions[number] for number in failed]), strict=True):
            one = found[number]
            took: dict[str, Any] = {"replies": (*one.replies, *other.replies), "paid": (*one.paid, *other.paid)}
            if other.verdict is None:
                problem = f"{one.problem}; the fallback: {other.problem}"
                found[number] = replace(one, problem=problem, **took)
            else:
                why = f"{one.status}: {one.problem}"
                asked = one.asked + other.asked
                found[number] = replace(other, status="fallback", problem=why, asked=asked, **took)
        return found

    return rate


def rate_all(questions: Sequence[Question], rater: Rater, order: Sequence[int], *, ask_empty: bool) -> list[Judged]:
    """What came of each question.

    Args:
        questions: The questions.
        rater: Who is asked.
        order: Numbers of the questions in the order in which they are asked.
        ask_empty: Whether an empty answer is put to the judge too.
    """
    found: dict[int, Judged] = {}
    for number in order:
        known = without_asking(questions[number])
        if known is not None and not (ask_empty and known.verdict is not None):
            found[number] = known
    asked = [number for number in order if number not in found]
    found |= dict(zip(asked, rater([questions[number] for number in asked]), strict=True))
    return [found[number] for number in range(len(questions))]


def row(question: Question, judged: Judged, judge: str, rubric: str) -> dict[str, Any]:
    """Row of `case_tables.JUDGEMENTS`.

    Args:
        question: What was judged.
        judged: What came of it.
        judge: Row of findings.judges.
        rubric: Name and version of its rubric.
    """
    verdict = judged.verdict
    lists = ("present", "missed", "invented", "wrong_side")
    return {
        "judge": judge,
        "rubric": rubric,
        "arm": question.arm,
        "item": question.item,
        "case_id": question.case_id,
        "variant": question.variant,
        "repeat": question.repeat,
        "rating": verdict.rating if verdict else None,
        "primary_found": verdict.primary_found if verdict else None,
        **{name: list(getattr(verdict, name)) if verdict else [] for name in lists},
        "rationale": (verdict.rationale or None) if verdict else None,
        "status": judged.status,
        "problem": judged.problem,
        "judged_by": judged.judged_by,
        "asked": judged.asked,
        "request": judged.request,
        "response": judged.response,
    }
