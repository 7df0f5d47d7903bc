"""Words that describe a finding: on which side it is said to be, and in which part of the body.

In the order in which they are asked: the words right before the entity ("left renal cyst"), those behind it up to the
next item ("cyst in the left kidney"), those behind the list that it is in ("cyst and stone in the left kidney"), and
the beginning of its sentence ("Left kidney: cyst").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from stages.lib.metrics.text.negation import HARD, VERBS, Scopes
from stages.lib.metrics.text.phrases import DASH, Span, Token

T = TypeVar("T")
Window = tuple[int, int]  # its first token, and the one behind its last
EMPTY: Window = (0, 0)
JOINING = frozenset({"and", "or", "nor", ",", "/"})  # between the items of a list
ARTICLES = frozenset({"a", "an", "the"})
PARTING = frozenset(
    {*JOINING, *HARD, *VERBS, DASH, ":", "with", "without", "but", "which", "while", "than", "compared"}
)
PREPOSITIONS = frozenset({"of", "in", "on", "at", "within", "to", "from", "into", "by"})
LEADING = frozenset({*ARTICLES, *PREPOSITIONS, "no", "any", "this", "that", "there"})  # before a name


@dataclass(frozen=True)
class Windows:
    """Where the description of a finding is looked for, in this order.

    Attributes:
        windows: Before the entity, behind it, behind its list, at the beginning of its sentence.
        own: The words that name it, if a side or place may be one of them: "enlarged axillary node".
    """

    windows: tuple[Window, ...]
    own: Window

    def first_with(self, marks: Sequence[Span[T]]) -> list[Span[T]]:
        """Marks of the first window that has any, the name's own first."""
        return next((found for window in (self.own, *self.windows) if (found := _in(window, marks))), [])

    def all_of(self, marks: Sequence[Span[T]]) -> list[Span[T]]:
        """Marks of the entity's name and the words before and behind it; or else of the next window that has any."""
        near = [one for window in (self.own, *self.windows[:2]) for one in _in(window, marks)]
        return near or self.first_with(marks)


def windows(
    words: Sequence[Token], entities: Sequence[Span[T]], normal: Sequence[Span[T]], scopes: Scopes
) -> list[Windows]:
    """Windows of each entity of a text.

    Args:
        words: Its tokens.
        entities: Where entities are named, in order.
        normal: Where it says normal; what is called so describes no finding.
        scopes: Its clauses and sentences.
    """
    before = [_before(words, entities, number, scopes) for number in range(len(entities))]
    behind = [_behind(words, entities, before, number, scopes) for number in range(len(entities))]
    lists = _of_lists(words, entities, before, behind, scopes)
    made = []
    for number, span in enumerate(entities):
        begun, _ = scopes.sentence(span.first)
        first = next(other for other in range(number + 1) if entities[other].first >= begun)
        lead = (begun, before[first][0])
        called_normal = any(lead[0] <= one.first < span.first for one in normal)
        around = (before[number], behind[number], lists[number], EMPTY if called_normal else lead)
        made.append(Windows(around, (span.first, span.last) if span.free else EMPTY))
    return made


def _in(window: Window, marks: Sequence[Span[T]]) -> list[Span[T]]:
    return [mark for mark in marks if window[0] <= mark.first < window[1]]


def _before(words: Sequence[Token], entities: Sequence[Span[T]], number: int, scopes: Scopes) -> Window:
    """Words right before an entity, without one that leads a name or parts two."""
    last = entities[number].first
    least = max(scopes.sentence(last)[0], entities[number - 1].last if number else 0)
    first = last
    while first > least and words[first - 1].word not in PARTING and words[first - 1].word not in LEADING:
        first -= 1
    return first, last


def _behind(
    words: Sequence[Token], entities: Sequence[Span[T]], before: Sequence[Window], number: int, scopes: Scopes
) -> Window:
    """Words behind an entity up to the next item; over all of its clause if no other entity follows there."""
    first = entities[number].last
    end = scopes.clause(entities[number].first)[1]
    alone = number + 1 == len(entities) or entities[number + 1].first >= end
    if not alone:
        end = before[number + 1][0]
    last = first
    while last < end and (words[last].word not in PARTING or (alone and words[last].word in (*JOINING, *VERBS))):
        last += 1
    return first, max(first, last)


def _of_lists(
    words: Sequence[Token],
    entities: Sequence[Span[T]],
    before: Sequence[Window],
    behind: Sequence[Window],
    scopes: Scopes,
) -> list[Window]:
    """For each entity what stands behind the list that it is an item of; an item of another presence is in no list."""
    made: list[Window] = [EMPTY] * len(entities)
    for number in reversed(range(len(entities) - 1)):
        between = words[entities[number].last : before[number + 1][0]]
        alike = scopes.presence(entities[number].first) == scopes.presence(entities[number + 1].first)
        if alike and between and all(token.word in JOINING or token.word in ARTICLES for token in between):
            made[number] = behind[number + 1] if behind[number + 1][0] < behind[number + 1][1] else made[number + 1]
    return made
