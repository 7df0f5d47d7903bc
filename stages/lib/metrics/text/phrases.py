"""Phrases of several words in a text: a tree of words, and the longest phrase at each place."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
# A number with its decimals, a word, a dash between spaces, one mark, or a line break that ends a line: none within a
# sentence that goes on in small letters. Hyphens and apostrophes only part words, as spaces do.
TOKEN = re.compile(
    r"\d+(?:[.,]\d+)?(?![^\W_])|[^\W_]+|(?<=\s)[\-\u2013\u2014](?=\s)|[^\w\s'\u2019\-\u2010\u2011\u2013\u2014]|[\r\n](?!\s*[a-z])"
)
LINE = "\n"
ANY = "*"  # in a phrase: any one word
DASH = "-"  # between spaces; within a word it is no token
MARKS = {"\r": LINE, "\n": LINE, "\u2013": DASH, "\u2014": DASH}


class Token(NamedTuple):
    """A word, number, mark or end of a line of a text: in small letters without accents, and its place there."""

    word: str
    start: int
    end: int


@dataclass(frozen=True)
class Span(Generic[T]):
    """A phrase in a text.

    Attributes:
        value: What it stands for.
        first: Its first token.
        last: The token behind its last one.
        free: Whether one of its words stands at a *.
    """

    value: T
    first: int
    last: int
    free: bool = False


def tokens(text: str) -> list[Token]:
    """Words, numbers, marks and ends of lines of a text, in order.

    >>> [token.word for token in tokens("Left-sided mass, 2.4 cm.")]
    ['left', 'sided', 'mass', ',', '2.4', 'cm', '.']
    """
    found = [
        Token(MARKS.get(match[0]) or match[0].lower(), match.start(), match.end()) for match in TOKEN.finditer(text)
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
        phrases: Value of each phrase; a phrase is read as a text is, and its * stands for any one word.
    """

    def __init__(self, phrases: Mapping[str, T] | Iterable[tuple[str, T]]) -> None:
        self._root: _Node[T] = _Node()
        for phrase, value in phrases.items() if isinstance(phrases, Mapping) else phrases:
            node = self._root
            for token in tokens(f" {phrase} "):
                node = node.below.setdefault(token.word, _Node())
            node.value = value

    def find(self, text: Sequence[Token]) -> Iterator[Span[T]]:
        """Phrases of a text from left to right, the longest at each place, none over another.

        Of two that are as long the one with fewer * counts.

        >>> found = Phrases({"mass": 1, "mass effect": 2}).find(tokens("Mass effect of a mass"))
        >>> [(one.value, one.first, one.last) for one in found]
        [(2, 0, 2), (1, 4, 5)]
        """
        place, top = 0, self._root.below
        while place < len(text):
            node = top.get(text[place].word)
            best = None if node is None or text[place].word == ANY else self._longest(node, text, place)
            if best is None:
                place += 1
            else:
                yield best
                place = best.last

    def _longest(self, node: _Node[T], text: Sequence[Token], first: int) -> Span[T] | None:
        best: Span[T] | None = None
        ways = [(node, first + 1, False)]
        while ways:
            node, behind, free = ways.pop()
            if node.value is not None and (best is None or behind > best.last):
                best = Span(node.value, first, behind, free)
            if behind < len(text) and node.below:
                word = text[behind].word
                if ANY in node.below and word[0].isalnum():
                    ways.append((node.below[ANY], behind + 1, True))
                if word != ANY and word in node.below:
                    ways.append((node.below[word], behind + 1, free))
        return best
