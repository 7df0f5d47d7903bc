"""Verdicts read from the responses of judges, as models write them.

Read are: an object in a fence or within prose, a comma before a closing bracket, NaN for nothing, keys in another case,
grades in capitals. Of several objects the last complete one counts, as a model may quote or draft before it decides.
Everything else, an object that contradicts itself included, is of the wrong form.
"""

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from stages.lib.core.case_tables import RATINGS
from stages.lib.core.errors import VerdictError
from stages.lib.models.judging.prompting import KEYS
from stages.lib.models.verdict import Verdict

LISTS = ("present", "missed", "invented", "wrong_side")
WORDS = {"true": True, "yes": True, "false": False, "no": False}
NOTHING = ("", "none", "n/a", "null", "nan", "[]")  # a text that stands for an empty list
START = re.compile(r'\{\s*["}]')
STRING_OR_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(\s*[}\]])', re.DOTALL)
MAX_MENDED = 50  # brackets of one response behind which commas are looked for
DECODER = json.JSONDecoder(strict=False)  # line breaks within a string are let pass


def verdict(response: str) -> Verdict:
    """Verdict of a response.

    Args:
        response: What a judge said, verbatim.

    Raises:
        VerdictError: If there is none, or it contradicts itself.

    >>> verdict('{"Rationale": "Seen.", "RATING": "GOOD", "primaryFound": true, "present": ["mass"], "missed": [],'
    ...         ' "invented": NaN, "wrong_side": [],}').rating
    'good'
    """
    found = last_object(response)
    if found is None:
        raise VerdictError("no text" if not response.strip() else "it holds no complete JSON object")
    values = {_key(name): value for name, value in found.items()}
    missing = [key for key in KEYS if key not in values]
    if missing:
        raise VerdictError(f"the object has no {', '.join(missing)}")
    problems: list[str] = []
    rating, primary = _rating(values["rating"], problems), _primary(values["primary_found"], problems)
    lists = {key: _texts(key, values[key], problems) for key in LISTS}
    rationale = values["rationale"]
    if not isinstance(rationale, str) or not rationale.strip():
        problems.append("rationale is no text")
    if problems:
        raise VerdictError("; ".join(problems))
    made = Verdict(rating=rating, primary_found=primary, rationale=str(rationale).strip(), **lists)
    if made.contradictions:
        raise VerdictError("; ".join(made.contradictions))
    return made


def last_object(text: str) -> Mapping[str, Any] | None:
    """Last complete JSON object of a text, which is not within another one; None if there is none.

    >>> last_object('{"a": 1} or rather {"a": [2,],} {"a":')
    {'a': [2]}
    """
    last, place, left = None, 0, MAX_MENDED
    while match := START.search(text, place):
        start = match.start()
        try:
            last, place = DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            place, left = start + 1, left - 1
            with suppress(ValueError, RecursionError):
                if left >= 0:
                    last, length = DECODER.raw_decode(_without_commas(text[start:]))
                    place = start + length
    return last


def _without_commas(text: str) -> str:
    """A text whose commas before a closing bracket are blanks; those within strings stay."""
    return STRING_OR_COMMA.sub(lambda match: match[1] or " " + match[2], text)


def _key(name: str) -> str:
    """Key as it should be written.

    >>> _key("Primary Found"), _key("primaryFound"), _key("WRONG-SIDE")
    ('primary_found', 'primary_found', 'wrong_side')
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[\s_-]+", "_", words).lower()


def _rating(value: Any, problems: list[str]) -> Any:
    found = value.strip().strip("*_\"'. ").lower() if isinstance(value, str) else None
    if found not in RATINGS:
        problems.append(f"rating is none of {', '.join(RATINGS)}")
    return found


def _primary(value: Any, problems: list[str]) -> bool:
    found = WORDS.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        problems.append("primary_found is neither true nor false")
        return False
    return found


def _texts(key: str, value: Any, problems: list[str]) -> tuple[str, ...]:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ()
    if isinstance(value, str):
        value = [] if value.strip().lower() in NOTHING else [value]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        problems.append(f"{key} is no list of texts")
        return ()
    return tuple(one.strip() for one in value if one.strip())
