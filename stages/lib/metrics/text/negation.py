"""Presence of what a text names: present, absent or uncertain, by words before and after it.

A text is cut into clauses. In a clause, a trigger such as "no" reaches all that follows, and one such as "is absent"
all that goes before, through a list. The reach ends where the clause does: at ; . or the end of a line, at "but" and
its kin, at a new subject ("and the ...", ", a ..."), and at a new statement ("there is", "shows").

Of a trigger of absence and one of doubt that reach the same words the one of absence counts, but for those that
say that something is not ruled out. "Consistent with" and "representing" state, as radiologists mean them.

Source: after Chapman et al., Journal of Biomedical Informatics 34: 301, 2001 (NegEx): triggers before and after, words
that only look like triggers, words that end the reach. The lists and the ends of clauses are ours.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from enum import Enum
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Literal

import yaml

from stages.lib.metrics.text.phrases import LINE, Phrases, Span, Token

Presence = Literal["present", "absent", "uncertain"]


class Cue(Enum):
    """What a phrase does to the presence of what stands around it."""

    ABSENT_AFTER = "what follows is absent"
    ABSENT_NEXT = "what follows at once is absent"
    ABSENT_BEFORE = "what went before is absent"
    UNCERTAIN_AFTER = "what follows is uncertain"
    UNCERTAIN_BEFORE = "what went before is uncertain"
    OPEN_BEFORE = "what went before is not ruled out"
    NOTHING = "looks like a trigger and is none"
    END = "a new clause begins behind it"
    START = "a new clause begins with it"
    STATEMENT = "states what follows, and so ends the reach of what went before"


HARD = frozenset({".", ";", LINE, "?", "!", "•", "*", "|"})
ABBREVIATIONS = frozenset({"approx", "vs", "fig", "dr", "ca"})
VERBS = frozenset({"is", "are", "was", "were", "has", "have", "had", "seen", "appears", "appear", "shows", "reveals"})


@cache
def cues() -> Phrases[Cue]:
    """Phrases of negation.yaml, alternatives written out."""
    document = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return Phrases(
        (" ".join(words), cue)
        for cue in Cue
        for phrase in document[cue.name.lower()]
        for words in product(*(word.split("|") for word in phrase.split()))
    )


PARTS = frozenset({*HARD, ",", ":", "and"})
BETWEEN = frozenset({"versus", "vs"})  # between two that are in doubt
LAST_WORDS = frozenset({"resolved", "absent", "excluded"})  # that end a clause, and deny what went before


class Scopes:
    """Reach of the triggers of a text.

    Args:
        text: Its tokens.
        named: Phrases of what is asked about; a trigger is not looked for within one.
    """

    def __init__(self, text: Sequence[Token], named: Iterable[Span[Any]] = ()) -> None:
        inside = {place for span in named for place in range(span.first, span.last)}
        found = [cue for cue in _cues(text) if cue.first not in inside]
        self.cues = [cue for number, cue in enumerate(found) if not _denied(text, found, number, inside)]
        stops = _stops(text, self.cues)
        self._clauses = _spread([*stops, *_cuts(text, self.cues, stops)], len(text))
        self._sentences = _spread(stops, len(text))
        self._reaches = [reach for cue in self.cues if (reach := self._reach(text, cue)) is not None]

    def clause(self, place: int) -> tuple[int, int]:
        """First token of the clause of a token, and the token behind its last one."""
        return self._clauses[place]

    def sentence(self, place: int) -> tuple[int, int]:
        """The same of its sentence, or item of a list."""
        return self._sentences[place]

    def presence(self, place: int) -> Presence:
        """Presence of what the token names."""
        cues = {cue for cue, first, last in self._reaches if first <= place < last}
        if Cue.OPEN_BEFORE in cues:
            return "uncertain"
        if cues & {Cue.ABSENT_AFTER, Cue.ABSENT_NEXT, Cue.ABSENT_BEFORE}:
            return "absent"
        return "uncertain" if cues else "present"

    def _reach(self, text: Sequence[Token], cue: Span[Cue]) -> tuple[Cue, int, int] | None:
        """First token that a trigger reaches, and the token behind the last one; None of what is no trigger."""
        match cue.value:
            case Cue.ABSENT_AFTER | Cue.UNCERTAIN_AFTER:
                return cue.value, cue.last, self.clause(cue.last - 1)[1]
            case Cue.ABSENT_NEXT:
                return cue.value, cue.last, cue.last + 1
            case Cue.ABSENT_BEFORE | Cue.UNCERTAIN_BEFORE | Cue.OPEN_BEFORE:
                return cue.value, self._list_before(text, cue.first), cue.first
        return None

    def _list_before(self, text: Sequence[Token], behind: int) -> int:
        """First token of the list that ends before a token of the same sentence: its clause, or what follows its last
        comma where neither "and" nor "or" makes it one list.
        """
        if not behind or self.sentence(behind - 1) != self.sentence(behind):
            return behind
        first = self.clause(behind - 1)[0]
        commas = [place for place in range(first, behind - 1) if text[place].word == ","]
        if commas and not any(token.word in ("and", "or", "nor") for token in text[commas[-1] : behind]):
            return commas[-1] + 1
        return first


def _cues(text: Sequence[Token]) -> Iterator[Span[Cue]]:
    """Triggers of a text; "no" at the end of a clause, or as the answer to a question, denies what went before."""
    for cue in cues().find(text):
        alone = cue.last == len(text) or text[cue.last].word in HARD or text[cue.last].word == ","
        if alone and cue.last == cue.first + 1 and text[cue.first].word == "no":
            asked = cue.first > 0 and text[cue.first - 1].word == "?"
            yield Span(Cue.ABSENT_BEFORE, cue.first - asked, cue.last)
        else:
            yield cue
        if text[cue.first].word in BETWEEN:
            yield Span(Cue.UNCERTAIN_BEFORE, cue.first, cue.last)
    for place, token in enumerate(text):
        if token.word in LAST_WORDS and (place + 1 == len(text) or text[place + 1].word in HARD):
            before = {one.word for one in text[:place][-3:]}
            if not before & {"not", "cannot", "t", "un", "never"}:
                yield Span(Cue.ABSENT_BEFORE, place, place + 1)


def _denied(text: Sequence[Token], cues: Sequence[Span[Cue]], number: int, inside: Set[int]) -> bool:
    """Whether a verb that states what follows has a denied subject, as in "neither kidney shows a stone"."""
    cue = cues[number]
    if cue.value is not Cue.STATEMENT or number == 0 or text[cue.first].word == "there":
        return False
    last = cues[number - 1]
    between = range(last.last, cue.first)
    return last.value is Cue.ABSENT_AFTER and not any(p in inside or text[p].word in PARTS for p in between)


def _spread(cuts: Iterable[int], n: int) -> list[tuple[int, int]]:
    """For each token of n the place of the last cut up to it, and of the next one."""
    ordered = sorted({0, n, *cuts})
    return [(first, last) for first, last in pairwise(ordered) for _ in range(first, last)]


def _stops(text: Sequence[Token], cues: Sequence[Span[Cue]]) -> list[int]:
    """Places behind the marks that end a sentence."""
    within = {place for cue in cues for place in range(cue.first, cue.last)}
    return [place + 1 for place, token in enumerate(text) if token.word in HARD and _ends(text, place, within)]


def _cuts(text: Sequence[Token], cues: Sequence[Span[Cue]], stops: Sequence[int]) -> set[int]:
    """Places at which a clause begins within a sentence."""
    cuts = {cue.last for cue in cues if cue.value is Cue.END}
    cuts |= {cue.first for cue in cues if cue.value in (Cue.START, Cue.STATEMENT)}
    return cuts | set(_statements(text, sorted({0, len(text), *stops, *cuts})))


def _ends(text: Sequence[Token], place: int, within: Set[int]) -> bool:
    """Whether a mark ends a sentence: not within a trigger, and not as the stop of an abbreviation such as "i.e."."""
    if place in within:
        return False
    if text[place].word != "." or not 0 < place < len(text) - 1:
        return True
    before, after = text[place - 1], text[place + 1]
    letters = len(after.word) == 1 and after.start == text[place].end
    return not (before.word in ABBREVIATIONS or letters or (len(before.word) == 1 and text[place - 2].word == "."))


def _statements(text: Sequence[Token], cuts: Sequence[int]) -> Iterator[int]:
    """Commas of a clause between two parts that have a verb each, as in "a mass is seen, effusion is absent"."""
    for first, last in pairwise(cuts):
        begun = first
        for place in range(first, last):
            if text[place].word != ",":
                continue
            behind = next((after for after in range(place + 1, last) if text[after].word == ","), last)
            if _has_verb(text[begun:place]) and _has_verb(text[place + 1 : behind]):
                yield place
                begun = place + 1


def _has_verb(text: Sequence[Token]) -> bool:
    return any(token.word in VERBS for token in text)
