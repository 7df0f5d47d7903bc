"""Findings of an answer against those of the gold text: right, missed, invented, on the wrong side.

Findings of one entity are paired, each with one at most: first those that agree in presence and side, then those that
agree in presence, then the others. So an answer's finding is

* right: presence and side agree. Sides agree if they are the same, or the gold text says none.
* wrong_side: the presence agrees; the side is another, or is not said where the gold text says one.
* wrong_presence: the gold text has the entity with another presence.
* invented: it is present, and the gold text does not speak of the entity.

An absent or uncertain finding of which the gold text does not speak has no outcome: a text need not say all that is
normal.

**Structured finding F1** counts present findings. tp are pairs that are present in both and right. Predicted are the
present findings of the answer, without those that the gold text is uncertain about. Actual are the present findings of
the gold text. F1 is 2 tp / (predicted + actual). In the strict variant a pair is right only if its sides are the same,
said or not, and its places are the same or one part of the other, or neither text says one.

A gold text that denies findings, or says normal, and has none that is present says that nothing is abnormal. F1 is then
1 if the answer says so too, and 0 if it does not, or says nothing at all; a finding in doubt may be said or not. So
"nothing abnormal" has 1 on normal cases and 0 on all others. A gold text of which the vocabulary knows no word says
nothing that could be matched: its case has no F1, and is left out and counted.

Source: the shape is that of entity and attribute matching in Jain et al., RadGraph, NeurIPS 2021; rules and counts are
ours.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from stages.lib.metrics import ratios
from stages.lib.metrics.text.extract import Finding, Reading
from stages.lib.metrics.text.vocabulary import Vocabulary

Outcome = Literal["right", "wrong_side", "wrong_presence", "invented"]
Agreement = Callable[[Finding, Finding], bool]  # of a gold text's and an answer's finding of one entity


@dataclass(frozen=True)
class Match:
    """An answer's findings, matched with those of the gold text.

    Attributes:
        gold: The gold text.
        answer: The answer.
        outcomes: Of each finding of the answer, in its order; None for one that the gold text does not speak of, and
            that is not present.
        pairs: Number of the gold text's finding that it was paired with; None without one.
    """

    gold: Reading
    answer: Reading
    outcomes: tuple[Outcome | None, ...]
    pairs: tuple[int | None, ...]

    @property
    def missed(self) -> tuple[Finding, ...]:
        """Present findings of the gold text whose entity the answer does not call present."""
        found = {pair for pair, one in self._paired() if one.presence == "present"}
        return tuple(
            one for number, one in enumerate(self.gold.findings) if one.presence == "present" and number not in found
        )

    @property
    def found(self) -> tuple[Finding, ...]:
        """Present findings of the gold text that the answer has, on whatever side."""
        missed = set(self.missed)
        return tuple(one for one in self.gold.present if one not in missed)

    @property
    def wrong_side(self) -> tuple[tuple[Finding, Finding], ...]:
        """Present findings on another side, or on none that is said: the gold text's, and the answer's."""
        return tuple(
            (self.gold.findings[pair], one)
            for one, outcome, pair in zip(self.answer.findings, self.outcomes, self.pairs, strict=True)
            if outcome == "wrong_side" and one.presence == "present" and pair is not None
        )

    @property
    def invented(self) -> tuple[Finding, ...]:
        """Present findings of the answer that the gold text denies, or does not speak of."""
        return tuple(
            one
            for one, outcome, pair in zip(self.answer.findings, self.outcomes, self.pairs, strict=True)
            if one.presence == "present"
            and (
                outcome == "invented"
                or (outcome == "wrong_presence" and pair is not None and self.gold.findings[pair].presence == "absent")
            )
        )

    def _paired(self) -> Iterable[tuple[int, Finding]]:
        return ((pair, one) for pair, one in zip(self.pairs, self.answer.findings, strict=True) if pair is not None)


@dataclass(frozen=True)
class Counts:
    """Present findings of one answer or of several together.

    Attributes:
        known: Whether the gold text says anything that the vocabulary knows; without it nothing else is told.
        tp: Right ones.
        predicted: Of the answers.
        actual: Of the gold texts.
        f1: Structured finding F1 of the answer, [0, 1].
        invented: Findings that the gold text denies, or does not speak of.
        wrong_side: Findings on another side, or on none that is said.
    """

    known: bool
    tp: int
    predicted: int
    actual: int
    f1: float
    invented: int
    wrong_side: int


def side_agrees(gold: Finding, answer: Finding) -> bool:
    """Whether the side is that of the gold text, or that says none."""
    return gold.side is None or gold.side == answer.side


def match(gold: Reading, answer: Reading, agrees: Agreement = side_agrees) -> Match:
    """Findings of an answer, matched with those of the gold text.

    Args:
        gold: The gold text.
        answer: The answer.
        agrees: When a pair of one entity and presence is right.
    """
    pairs: list[int | None] = [None] * len(answer.findings)
    free: set[int | None] = set(range(len(gold.findings)))
    rules: tuple[Agreement, ...] = (
        lambda first, second: first.presence == second.presence and agrees(first, second),
        lambda first, second: first.presence == second.presence,
        lambda first, second: True,
    )
    for rule in rules:
        for number, one in enumerate(answer.findings):
            if pairs[number] is not None:
                continue
            fits = (place for place, other in enumerate(gold.findings) if place in free and other.entity == one.entity)
            pairs[number] = next((place for place in fits if rule(gold.findings[place], one)), None)
            free -= {pairs[number]}
    outcomes = tuple(
        _outcome(one, None if pair is None else gold.findings[pair], gold, agrees)
        for one, pair in zip(answer.findings, pairs, strict=True)
    )
    return Match(gold, answer, outcomes, tuple(pairs))


def _outcome(one: Finding, pair: Finding | None, gold: Reading, agrees: Agreement) -> Outcome | None:
    if pair is None:
        # A second finding of an entity that the gold text has once is invented too.
        return "invented" if one.presence == "present" else None
    if pair.presence != one.presence:
        return "wrong_presence"
    return "right" if agrees(pair, one) else "wrong_side"


def counts(found: Match) -> Counts:
    """Counts of one answer."""
    gold, answer = found.gold, found.answer
    if not gold.says_anything:
        return Counts(known=False, tp=0, predicted=0, actual=0, f1=0.0, invented=0, wrong_side=0)
    doubted = sum(
        1
        for one, pair in zip(answer.findings, found.pairs, strict=True)
        if one.presence == "present" and pair is not None and gold.findings[pair].presence == "uncertain"
    )
    tp = sum(
        outcome == "right" and one.presence == "present"
        for one, outcome in zip(answer.findings, found.outcomes, strict=True)
    )
    predicted, actual = len(answer.present) - doubted, len(gold.present)
    if actual:
        f1 = ratios.f1_score(tp, predicted, actual)
    else:
        doubt = any(pair is not None and gold.findings[pair].presence == "uncertain" for pair in found.pairs)
        f1 = 1.0 if answer.says_normal or (doubt and not predicted) else 0.0
    return Counts(
        known=True,
        tp=tp,
        predicted=predicted,
        actual=actual,
        f1=f1,
        invented=len(found.invented),
        wrong_side=len(found.wrong_side),
    )


def strictly(vocabulary: Vocabulary) -> Agreement:
    """Agreement of sides and places: the same side, said or not, and places that are related, or both not said."""

    def agrees(gold: Finding, answer: Finding) -> bool:
        if gold.place is None or answer.place is None:
            return gold.side == answer.side and gold.place == answer.place
        return gold.side == answer.side and vocabulary.related(gold.place, answer.place)

    return agrees


def similarity(first: Reading, second: Reading) -> float:
    """Finding F1 of two answers, neither of which is gold: 1 if both have the same present findings, or none.

    Sides must be the same, said or not, so that it does not depend on their order.
    """
    found = match(first, second, lambda one, other: one.side == other.side)
    tp = sum(
        outcome == "right" and one.presence == "present"
        for one, outcome in zip(second.findings, found.outcomes, strict=True)
    )
    whole = len(first.present) + len(second.present)
    return 2 * tp / whole if whole else 1.0


def pooled(found: Sequence[Counts]) -> tuple[float, float, float]:
    """Precision, recall and F1 of the present findings of all answers together.

    Raises:
        UndefinedMetricError: If no answer, or no gold text, has a present finding.
    """
    tp, predicted, actual = (sum(getattr(one, name) for one in found) for name in ("tp", "predicted", "actual"))
    return (
        ratios.ratio(tp, predicted, "no answer has a finding that is present"),
        ratios.ratio(tp, actual, "no gold text has a finding that is present"),
        ratios.f1_score(tp, predicted, actual, "no answer and no gold text has a finding that is present"),
    )
