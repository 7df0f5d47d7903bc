"""Answers that repeat themselves to their end, as a model does that found no end of its own.

A model that runs away repeats a word, a sentence or a few sentences until its tokens are spent. Two forms are known:

* a cycle: the end of the text has a period. Its last words are the same stretch of words over and over, the last time
  perhaps cut.
* a churn: the last sentences are all sentences that the text has already, in whatever order.
"""

import re
from collections.abc import Sequence

from stages.lib.metrics.text.phrases import plain

MIN_WORDS = 24  # that are repeated
MIN_TIMES = 3  # that they are there
MIN_SENTENCES = 8  # of a churn
MAX_WORD = 40  # letters beyond which a word is taken letter by letter
WORD = re.compile(r"[^\W_]+")
LIST_MARK = re.compile(r"^[ \t]*(?:[-*•]+|\d+[.)])[ \t]*", re.MULTILINE)
SENTENCE = re.compile(r"[.!?;]+\s+|[.!?;]+$|[\r\n]+")


def is_looping(text: str) -> bool:
    """Whether a text repeats itself to its end.

    Small and capital letters, marks and the numbers of a list make no difference.

    >>> is_looping("There is a mass. " * 10), is_looping("There is a mass. There is no cyst.")
    (True, False)
    """
    bare = LIST_MARK.sub("", text)
    words = _words(bare)
    if len(words) < MIN_WORDS:
        return False
    # The last word may be cut.
    return any(cycle(words[: len(words) - cut]) >= MIN_WORDS for cut in (0, 1)) or _churns(bare)


def cycle(words: Sequence[str]) -> int:
    """Words at the end of a text that are one stretch, `MIN_TIMES` or more; 0 if there is none.

    Source: the longest match of a sequence with itself, shifted, at each place (the Z function; Gusfield, Algorithms on
    Strings, Trees and Sequences, 1997, section 1.4), here of the text from its end.

    >>> cycle("a b c b c b c b".split())
    7
    """
    backwards = words[::-1]
    alike = [0] * len(backwards)
    first = last = longest = 0
    for at in range(1, len(backwards)):
        same = min(last - at, alike[at - first]) if at < last else 0
        while at + same < len(backwards) and backwards[same] == backwards[at + same]:
            same += 1
        alike[at] = same
        if at + same > last:
            first, last = at, at + same
        if at + same >= MIN_TIMES * at:
            longest = max(longest, at + same)
    return longest


def _words(text: str) -> list[str]:
    found: list[str] = []
    for match in WORD.finditer(text):
        word = plain(match[0].lower())
        found += [word] if len(word) <= MAX_WORD else list(word)
    return found


def _churns(text: str) -> bool:
    """Whether the last sentences are all repeated ones; the very last may be cut."""
    sentences = [tuple(words) for part in SENTENCE.split(text) if (words := _words(part))]
    return any(_repeated(sentences[: len(sentences) - cut]) for cut in (0, 1))


def _repeated(sentences: Sequence[tuple[str, ...]]) -> bool:
    seen: set[tuple[str, ...]] = set()
    again = []
    for one in sentences:
        again.append(one in seen)
        seen.add(one)
    run = next((number for number, repeated in enumerate(reversed(again)) if not repeated), len(again))
    last = sentences[len(sentences) - run :]
    words = sum(len(one) for one in last)
    return run >= MIN_SENTENCES and words >= MIN_WORDS and run >= (MIN_TIMES - 1) * len(set(last))
