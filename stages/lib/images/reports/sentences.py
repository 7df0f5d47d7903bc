"""Sentences of a report, by rules that know what radiologists write: Dr., 10 a.m., 1.5 cm, numbered lists.

Used only where the data do not bring sentences of their own.

A sentence ends at a full stop, a question or an exclamation mark before a blank and something that begins a sentence,
at an empty line, and before a line that begins with the mark of a list. Nothing is lost: the sentences joined by blanks
are the text with its blanks made one. pysbd 0.3.4 was not taken: a dependency for forty lines of rules, and its rules
are of newspapers.
"""

import re

END = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)")
# An empty line, or a line that begins as that of a list: "2. ", "2) ", "- ".
BREAK = re.compile(r"\n\s*\n|\n(?=\s*(?:[0-9]{1,2}[.)]|[-*\u2022])\s)")
TITLES = ("dr", "drs", "mr", "mrs", "ms", "prof", "st")
NEVER_LAST = (*TITLES, "vs", "e.g", "i.e", "approx", "cf", "fig", "resp", "incl", "ca")
BEFORE_NUMBERS = ("no", "nos", "ser", "im", "se")  # "im. 12" is an image, "no. 3" a number
HOURS = ("a.m", "p.m")
MARK = re.compile(r"[0-9]{1,2}[.)]")  # of an entry of a list
BEGINS = re.compile(r"[\"'(\[]*[A-Z0-9_\u00c0-\u00de*\u2022-]")
BEGINS_LOWERED = re.compile(r"[\"'(\[]*\w")


def split(text: str) -> list[str]:
    """The sentences of a text in their order, each with its blanks made one.

    Args:
        text: A report, or a section of one. If it has no capital letter at all, small ones begin sentences.

    >>> split("Discussed with Dr. Smith at 10 a.m. 1. Stable 1.5 cm nodule. 2. No effusion.")
    ['Discussed with Dr. Smith at 10 a.m.', '1. Stable 1.5 cm nodule.', '2. No effusion.']
    >>> split("Heart normal vs. prior.  No change")
    ['Heart normal vs. prior.', 'No change']
    """
    begins = BEGINS_LOWERED if text == text.lower() else BEGINS
    return [sentence for block in BREAK.split(text) for sentence in _of_block(" ".join(block.split()), begins)]


def _of_block(block: str, begins: re.Pattern[str]) -> list[str]:
    found, start = [], 0
    for end in END.finditer(block):
        sentence, rest = block[start : end.end()], block[end.end() :].lstrip()
        if _ends(sentence, rest, begins):
            found.append(sentence.strip())
            start = end.end()
    if last := block[start:].strip():
        found.append(last)
    return found


def _ends(sentence: str, rest: str, begins: re.Pattern[str]) -> bool:
    """Whether a sentence may end here.

    Args:
        sentence: From its start to the mark.
        rest: What follows, without blanks before it.
        begins: What the next sentence begins with.
    """
    if not rest or not begins.match(rest):
        return not rest
    words = sentence.split()
    if MARK.fullmatch(words[-1]) and (len(words) == 1 or words[-2].endswith(":")):
        return False  # the mark of a list is no end
    if not sentence.endswith("."):
        return True
    last = words[-1].lstrip("\"'([").rstrip(".").casefold()
    digit = rest[0].isdigit()
    if last in HOURS:
        return not digit or bool(MARK.match(rest))
    if last in NEVER_LAST or (last in BEFORE_NUMBERS and digit) or re.fullmatch(r"[a-z](\.[a-z])+", last):
        return False
    initial = len(last) == 1 and last.isalpha()
    return not (initial and (len(words) == 1 or words[-2].rstrip(".").casefold() in TITLES))
