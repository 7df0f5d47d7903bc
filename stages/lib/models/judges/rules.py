"""Judge by rules: findings of gold text and answer by the extractor, compared. No model is asked.

The primary finding is the first present finding of the gold text; without one its first uncertain finding; without
either it is that nothing is abnormal. It is found if the answer calls its entity present (an uncertain one: present or
uncertain), on whatever side; that nothing is abnormal, if the answer says so.

* good: the primary finding is found, on the side that the gold text says, and the answer has no more invented findings
  than `max_invented`.
* partial: it is found, on another side, or with more invented findings; or it is not found, but another present finding
  of the gold text is, on its side.
* poor: all else.

A gold text of which the vocabulary knows no word, and that does not say normal, cannot be judged by rules.

It is exact on texts drawn from the vocabulary, and on others the least that a model judge has to be better than.
"""

from collections.abc import Sequence

from stages.lib.core import params
from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics.text.extract import Finding, Reading, extractor
from stages.lib.metrics.text.finding_match import Match, match
from stages.lib.metrics.text.vocabulary import Vocabulary
from stages.lib.metrics.text.worded import worded
from stages.lib.models.judge import JudgeParams, Rules
from stages.lib.models.verdict import Rating, Verdict

NOTHING_ABNORMAL = "nothing abnormal"


@params.section
class Params(JudgeParams):
    """What the rules forgive, and what they know."""

    max_invented: params.NonNegativeInt  # findings of a good answer that the gold text denies, or does not speak of
    vocabulary: params.Text  # a file that adds to our own vocabulary of findings; none


def verdict(params: Params) -> Rules:
    """Verdict on an answer, given the gold text first.

    Raises:
        VocabularyError: If the file of the vocabulary cannot be used.
    """
    reader = extractor(params.vocabulary)

    def judge(gold: str, answer: str) -> Verdict:
        return of_match(match(reader.read(gold), reader.read(answer)), params.max_invented, reader.vocabulary)

    return judge


def of_match(found: Match, max_invented: int, vocabulary: Vocabulary) -> Verdict:
    """Verdict on an answer whose findings were matched with those of the gold text.

    Args:
        found: The findings.
        max_invented: Invented findings that a good answer may have.
        vocabulary: Names of entities and places.

    Raises:
        UndefinedMetricError: If the gold text has no finding that the vocabulary knows, and does not say normal.
    """
    gold = found.gold
    number = primary(gold)
    if number is None and not gold.says_normal:
        raise UndefinedMetricError("the vocabulary knows no word of the gold text, and it does not say normal")
    is_found, on_side = _found(found, number)
    others = [place for place, one in enumerate(gold.findings) if place != number and one.presence == "present"]
    secondary = any(_is_right(found, place) for place in others)
    rating, reason = _rated(is_found, on_side, len(found.invented), max_invented, secondary)
    name = NOTHING_ABNORMAL if number is None else worded(gold.findings[number], vocabulary)
    return Verdict(
        rating=rating,
        primary_found=is_found,
        present=_words(found.found, vocabulary),
        missed=_words(found.missed, vocabulary),
        invented=_words(found.invented, vocabulary),
        wrong_side=tuple(_sides(*pair, vocabulary) for pair in found.wrong_side),
        rationale=f"Primary finding: {name}. {reason}",
    )


def primary(gold: Reading) -> int | None:
    """Number of the primary finding of a gold text; None if it is that nothing is abnormal.

    >>> primary(extractor().read("No effusion. There is a mass.")), primary(extractor().read("No effusion."))
    (1, None)
    """
    for presence in ("present", "uncertain"):
        for number, one in enumerate(gold.findings):
            if one.presence == presence:
                return number
    return None


def _found(found: Match, number: int | None) -> tuple[bool, bool]:
    """Whether the answer has the primary finding, and whether on its side."""
    if number is None:
        return found.answer.says_normal, found.answer.says_normal
    wanted = found.gold.findings[number]
    for one, outcome, pair in zip(found.answer.findings, found.outcomes, found.pairs, strict=True):
        if pair == number and (one.presence == "present" or one.presence == wanted.presence):
            return True, outcome == "right" or (outcome == "wrong_presence" and wanted.side in (None, one.side))
    return False, False


def _is_right(found: Match, number: int) -> bool:
    return any(pair == number and outcome == "right" for pair, outcome in zip(found.pairs, found.outcomes, strict=True))


def _rated(is_found: bool, on_side: bool, invented: int, max_invented: int, secondary: bool) -> tuple[Rating, str]:
    if is_found and on_side and invented <= max_invented:
        return "good", "It is in the answer."
    if is_found:
        reasons = [] if on_side else ["on another side, or on none that is said"]
        if invented > max_invented:
            reasons.append(f"with {invented} findings that the gold text does not have, more than {max_invented}")
        return "partial", f"It is in the answer, {' and '.join(reasons)}."
    if secondary:
        return "partial", "It is not in the answer, but another finding of the gold text is."
    return "poor", "It is not in the answer."


def _words(findings: Sequence[Finding], vocabulary: Vocabulary) -> tuple[str, ...]:
    return tuple(worded(one, vocabulary) for one in findings)


def _sides(gold: Finding, answer: Finding, vocabulary: Vocabulary) -> str:
    return f"{vocabulary.name(gold.entity)}: {gold.side} in the gold text, {answer.side or 'no side'} in the answer"
