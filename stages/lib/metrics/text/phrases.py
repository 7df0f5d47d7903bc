"""Phrases of several words in a text: a tree of words, and the longest phrase at each place."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
# A number with its decimals, a word, one mark, or a line break that ends a line: none within a sentence that goes on in
# small letters. Hyphens and apostrophes only part words, as spaces do.
TOKEN = re.compile(r"\d+(?:[.,]\d+)?(?![^\W_])|[^\W_]+|[^\w\s'\u2019\-\u2010\u2011\u2013]|[\r\n](?!\s*[a-z])")
LINE = "\n"


class Token(NamedTuple):
    """A word, number, mark or end of a line of a text: in small letters without accents, and its place there."""

    word: str
    start: int
    end: int


@dataclass(frozen=True)
class Span(Generic[T]):
    """A phrase in a text: what it stands for, its first token, and the token behind its last one."""

    value: T
    first: int
    last: int


def tokens(text: str) -> list[Token]:
    """Words, numbers, marks and ends of lines of a text, in order.

    >>> [token.word for token in tokens("Left-sided mass, 2.4 cm.")]
    ['left', 'sided', 'mass', ',', '2.4', 'cm', '.']
    """
    found = [
        Token(LINE if match[0][0] in "\r\n" else match[0].lower(), match.start(), match.end())
        for match in TOKEN.finditer(text)
    ]
    return found if text.isascii() else [one._replace(word=plain(one.word)) for one in found]


def plain(word: str) -> str:
    """A word without accents.

    >>> plain("épanchement")
    'epanchement'
    """
    if word.isascii():
        return word
    return "".join(mark for mark in unicodedata.normalize("NFKD", word) if not unicodedata.combining(mark))


@dataclass
class _Node(Generic[T]):
    below: dict[str, "_Node[T]"] = field(default_factory=dict)
    value: T | None = None


class Phrases(Generic[T]):
    """Phrases, each with a value, of which the longest is found at each place of a text.

    Args:
        phrases: Value of each phrase; a phrase is read as a text is.
    """

    def __init__(self, phrases: Mapping[str, T] | Iterable[tuple[str, T]]) -> None:
        self._root: _Node[T] = _Node()
        for phrase, value in phrases.items() if isinstance(phrases, Mapping) else phrases:
            node = self._root
            for token in tokens(phrase):
                node = node.below.setdefault(token.word, _Node())
            node.value = value

    def find(self, text: Sequence[Token]) -> Iterator[Span[T]]:
        """Phrases of a text from left to right, the longest at each place, none over another.

        >>> found = Phrases({"mass": 1, "mass effect": 2}).find(tokens("Mass effect of a mass"))
        >>> [(one.value, one.first, one.last) for one in found]
        [(2, 0, 2), (1, 4, 5)]
        """
        place, n = 0, len(text)
        top = self._root.below
        while place < n:
            node = top.get(text[place].word)
            if node is None:
                place += 1
                continue
            best: Span[T] | None = None
            behind = place + 1
            while node is not None:
                if node.value is not None:
                    best = Span(node.value, place, behind)
                node = node.below.get(text[behind].word) if behind < n else None
                behind += 1
            if best is None:
                place += 1
            else:
                yield best
                place = best.last
