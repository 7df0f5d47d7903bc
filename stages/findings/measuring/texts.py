"""Texts of the answers of an arm against those of the gold: ROUGE-L, and structured findings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stages.findings.measuring.study import Asked, Item, Row
from stages.lib.metrics.measures import Key
from stages.lib.metrics.parts import Part, mean
from stages.lib.metrics.text.extract import Extractor, Reading
from stages.lib.metrics.text.finding_match import Counts, Match, counts, match, strictly
from stages.lib.metrics.text.rouge import RougeL, rouge_l

MOST_NAMED = 5  # gold texts of a warning


@dataclass(frozen=True)
class Compared:
    """The measured part of one answer against its gold text.

    Attributes:
        rouge: ROUGE-L.
        match: Findings of both, matched; sides must agree where the gold text says one.
        counts: Counts of the match.
        strict: Counts where side and place must agree.
    """

    rouge: RougeL
    match: Match
    counts: Counts
    strict: Counts


class Reader:
    """Reads texts of a study, each once.

    Args:
        extractor: Reads findings.
        stemmer: Whether ROUGE-L compares stems.
    """

    def __init__(self, extractor: Extractor, *, stemmer: bool) -> None:
        self._extractor = extractor
        self._stemmer = stemmer
        self._strictly = strictly(extractor.vocabulary)
        self._kept: dict[str, Reading] = {}

    def read(self, text: str) -> Reading:
        """Findings of a text."""
        if text not in self._kept:
            self._kept[text] = self._extractor.read(text)
        return self._kept[text]

    def compare(self, asked: Asked) -> tuple[Compared, ...]:
        """Each answer of an arm against its gold text; one that is missing is an empty text."""
        return tuple(self._one(item, row["findings"]) for item, row in zip(asked.items, asked.answers, strict=True))

    def _one(self, item: Item, answer: str) -> Compared:
        gold, said = self.read(item.gold), self.read(answer)
        found = match(gold, said)
        rouge = rouge_l(item.gold, answer, stemmer=self._stemmer)
        return Compared(rouge, found, counts(found), counts(match(gold, said, self._strictly)))


def parts(found: Sequence[Compared]) -> dict[Key, Part]:
    """Measures of the texts of an arm.

    Precision, recall and the pooled F1 count the findings of all cases together; the F1 is the mean of that of each
    case, so that a normal case counts as much as another. A case whose gold text the vocabulary does not know is left
    out of all of them, see `unread`.
    """
    names = ("tp", "predicted", "actual", "f1", "invented", "wrong_side", "known")
    tp, predicted, actual, f1, invented, wrong_side, known = (
        np.array([getattr(one.counts, name) for one in found], np.float64) for name in names
    )
    strict = np.array([one.strict.f1 for one in found], np.float64)
    unread = "the vocabulary knows no word of any gold text"
    no_answer, no_gold = "no answer names a finding", "no gold text has a finding that is present"
    return {
        Key("finding_f1"): mean(f1, known, unread),
        Key("finding_f1_strict"): mean(strict, known, unread),
        Key("finding_f1_pooled"): Part(2 * tp, predicted + actual, f"{no_answer}, and {no_gold}"),
        Key("finding_precision"): Part(tp, predicted, no_answer),
        Key("finding_recall"): Part(tp, actual, no_gold),
        Key("invented_per_case"): mean(invented, known, unread),
        Key("wrong_side_per_case"): mean(wrong_side, known, unread),
        Key("rouge_l_precision"): mean([one.rouge.precision for one in found]),
        Key("rouge_l_recall"): mean([one.rouge.recall for one in found]),
        Key("rouge_l_f1"): mean([one.rouge.f1 for one in found]),
    }


def unread(items: Sequence[Item], reader: Reader) -> Iterator[str]:
    """A sentence about gold texts of which the vocabulary knows no word."""
    lost = [item.item for item in items if not reader.read(item.gold).says_anything]
    if lost:
        named = ", ".join(lost[:MOST_NAMED]) + (", ..." if len(lost) > MOST_NAMED else "")
        yield (
            f"the vocabulary knows no word of {len(lost):,} of {len(items):,} gold texts ({named}): they have no "
            "finding F1, and the rules judge cannot rate their answers"
        )


def rows(asked: Asked, found: Sequence[Compared]) -> Iterator[Row]:
    """Findings of the answers of an arm, as `case_tables.FINDINGS` has them."""
    for item, one in zip(asked.items, found, strict=True):
        outcomes = zip(one.match.outcomes, one.match.pairs, strict=True)
        for row, (outcome, pair) in zip(_rows(asked.arm, item, one.match.answer), outcomes, strict=True):
            yield {**row, "outcome": outcome, "pair": pair}


def gold_rows(items: Sequence[Item], reader: Reader) -> Iterator[Row]:
    """Findings of gold texts."""
    for item in items:
        yield from _rows(None, item, reader.read(item.gold))


def _rows(arm: str | None, item: Item, reading: Reading) -> Iterator[Row]:
    for number, one in enumerate(reading.findings):
        yield {
            "arm": arm,
            "item": item.item,
            "case_id": item.case["case_id"],
            "number": number,
            "entity": one.entity,
            "presence": one.presence,
            "side": one.side,
            "place": one.place,
            "start": one.start,
            "end": one.end,
        }
