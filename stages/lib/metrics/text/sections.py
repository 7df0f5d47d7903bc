"""The part of an answer that is measured: its findings, by JSON, by a header, or all of it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

How = Literal["whole", "header", "json", "none"]
WANTED = ("findings", "impression")  # the first of them that has a text
HEADERS = (
    *WANTED,
    *("technique", "comparison", "history", "clinical history", "clinical information", "indication", "exam"),
    *(
        "examination",
        "conclusion",
        "recommendation",
        "recommendations",
        "diagnosis",
        "differential diagnosis",
        "summary",
    ),
    *("limitations", "disclaimer", "answer", "assessment", "discussion", "procedure", "plan", "key findings"),
)
# A header is a line of its own, or begins one and has a colon; marks of Markdown may stand round it.
HEADER = re.compile(
    rf"^[ \t]*(?:[#>*_\-]+[ \t]*|\d+[.)][ \t]*)*(?P<name>{'|'.join(sorted(HEADERS, key=len, reverse=True))})"
    r"[ \t]*(?:[*_]*[ \t]*:[ \t]*[*_]*|[*_#]*[ \t\r]*$)",
    re.IGNORECASE | re.MULTILINE,
)
THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)|<unused94>.*?(?:<unused95>|\Z)", re.DOTALL)
DENIED = frozenset({"absent", "no", "none", "negative", "false", "not present"})
DOUBTED = frozenset({"uncertain", "possible", "probable", "suspected", "equivocal"})
PRESENCE = ("presence", "present", "status")  # keys of a structured finding that say whether it is there


@dataclass(frozen=True)
class Section:
    """The findings of an answer, and how they were found."""

    text: str
    how: How


def findings(text: str) -> Section:
    """The part of an answer that is measured.

    What a model shows of its thinking is left out. Of the rest it is, in this order: the findings, or else the
    impression, of the last JSON object that has them; what stands below the first header FINDINGS, or else IMPRESSION,
    up to the next header; the whole text.

    Args:
        text: The answer, verbatim.

    >>> findings("TECHNIQUE: CT.\\nFINDINGS: A mass.\\nIMPRESSION: Tumor.")
    Section(text='A mass.', how='header')
    >>> findings('```json\\n{"findings": [{"finding": "mass", "side": "left"}, "No cyst"]}\\n```')
    Section(text='Mass left. No cyst.', how='json')
    """
    said = THOUGHT.sub("", text).strip()
    if (listed := _json(said)) is not None:
        return Section(listed, "json")
    if (below := _below_header(said)) is not None:
        return Section(below, "header")
    return Section(said, "whole") if said else Section("", "none")


def _below_header(text: str) -> str | None:
    headers = list(HEADER.finditer(text))
    ends = [match.start() for match in headers[1:]]
    for name in WANTED:
        for match, end in zip(headers, [*ends, len(text)], strict=False):
            below = text[match.end() : end].strip()
            if match["name"].lower().removeprefix("key ") == name and below:
                return below
    return None


def _json(text: str) -> str | None:
    """Findings of the last JSON object that has them."""
    found, decoder, at = None, json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            found = _of_object(value) or found
        at = text.find("{", end)
    return found


def _of_object(value: Any) -> str | None:
    """Findings of a JSON object as sentences; None if it has none."""
    if not isinstance(value, Mapping):
        return None
    named = {str(key).strip().lower(): one for key, one in value.items()}
    return next((text for name in WANTED if (text := _sentences(named.get(name)))), None)


def _sentences(value: Any) -> str:
    parts = value if isinstance(value, list) else [value]
    said = [text for one in parts if (text := _sentence(one))]
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in said)


def _sentence(value: Any) -> str:
    """One finding as a sentence: a text as it is, of an object its values with its presence in front."""
    if isinstance(value, str):
        return value.strip()
    if not isinstance(value, Mapping):
        return ""
    said = {str(key).strip().lower(): one for key, one in value.items()}
    presence = next((said.pop(key) for key in PRESENCE if key in said), "")
    words = " ".join(
        str(one).strip() for one in said.values() if isinstance(one, str | int | float) and str(one).strip()
    )
    if not words:
        return ""
    state = str(presence).strip().lower()
    text = f"no {words}" if state in DENIED else f"possible {words}" if state in DOUBTED else words
    return text[0].upper() + text[1:]
