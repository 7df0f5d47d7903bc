"""What became of an answer: whole, cut, repeating itself, empty, or refused."""

import re
from typing import Literal

from stages.lib.metrics.text.extract import Extractor
from stages.lib.metrics.text.looping import is_looping

Status = Literal["ok", "truncated", "looping", "empty", "refused"]
CUT = frozenset({"length", "max_tokens"})  # reasons to end by which a server says that tokens were spent
FILTERED = frozenset({"content_filter", "safety", "refusal"})
BEGINNING = 400  # characters in which a refusal is said
VERBS = "help|assist|provide|interpret|analy[sz]e|diagnose|describe|view|see|process|comply|answer|fulfill"
REFUSAL = re.compile(
    r"\b(?:i|we)(?: am|['\u2019]m)? (?:sorry|apologi[sz]e)|\bas an ai\b"
    r"|\b(?:can ?not|can['\u2019]t|unable to|not able to|won['\u2019]t|will not) (?:\w+ )?(?:" + VERBS + r")"
    r"|\bnot a (?:doctor|medical professional|radiologist)\b",
    re.IGNORECASE,
)


def status(text: str, finish_reason: str | None, reader: Extractor) -> Status:
    """What became of an answer.

    Empty if it has no word; looping if it repeats itself to its end, cut or not; refused if the server filtered it, or
    if it begins with a refusal and names no finding; truncated if its tokens were spent.

    Args:
        text: The answer, verbatim.
        finish_reason: Why the model ended, as the server said; None if it did not.
        reader: Reader of findings.

    >>> from stages.lib.metrics.text.extract import extractor
    >>> status("I'm sorry, I cannot interpret medical images.", "stop", extractor())
    'refused'
    """
    reason = (finish_reason or "").lower()
    if reason in FILTERED:
        return "refused"
    if not any(mark.isalnum() for mark in text):
        return "empty"
    if is_looping(text):
        return "looping"
    if REFUSAL.search(text[:BEGINNING]):
        read = reader.read(text)
        if not read.says_normal and all(one.presence == "absent" for one in read.findings):
            return "refused"
    return "truncated" if reason in CUT else "ok"
