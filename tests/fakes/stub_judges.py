"""Judges for the stub on loopback: one that judges by rules, and ones that are wrong in a known way.

Each is a step of a script: it reads gold text and answer out of the prompt, as a model would, and says a verdict.
"""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace

from chat_stub import Body, texts

from stages.lib.core.case_tables import RATINGS
from stages.lib.metrics.text.extract import extractor
from stages.lib.metrics.text.finding_match import match
from stages.lib.metrics.text.variants import SIDE
from stages.lib.models.judges.rules import of_match
from stages.lib.models.verdict import Verdict

FENCED = re.compile(r"^(~{8,})\n(.*?)\n\1$", re.DOTALL | re.MULTILINE)
LONG_WORDS = 60
Judge = Callable[[str, str], Verdict]


def gold_and_answer(body: Body) -> tuple[str, str]:
    """The two texts that a prompt holds."""
    gold, answer = (found[2] for found in FENCED.finditer(texts(body)))
    return gold, answer


def said(judge: Judge) -> Callable[[Body], str]:
    """Step of a script that says what a judge says."""
    return lambda body: json.dumps({"rationale": "x", **asdict(judge(*gold_and_answer(body)))})


def fair(gold: str, answer: str) -> Verdict:
    """A judge that is right about drawn texts."""
    reader = extractor()
    return of_match(match(reader.read(gold), reader.read(answer)), 0, reader.vocabulary)


def likes_length(gold: str, answer: str) -> Verdict:
    """A judge that adds one grade for more than 60 words."""
    found = fair(gold, answer)
    if len(answer.split()) <= LONG_WORDS or found.rating == "good":
        return found
    return replace(found, rating=RATINGS[RATINGS.index(found.rating) + 1], primary_found=True)


def swaps_sides(gold: str, answer: str) -> Verdict:
    """A judge that takes left for right in the answer."""
    return fair(gold, SIDE.sub(lambda one: {"left": "right", "right": "left"}[one[0].lower()], answer))


def obeys(gold: str, answer: str) -> Verdict:
    """A judge that does what an answer tells it."""
    found = fair(gold, answer)
    return replace(found, rating="good", primary_found=True) if "Note to the evaluator" in answer else found


def deaf_to_no(gold: str, answer: str) -> Verdict:
    """A judge that reads over every No."""
    return fair(gold, re.sub(r"\b[Nn]o ", "a ", answer))


def wrong(gold: str, answer: str) -> Verdict:
    """A judge that likes length and swaps sides."""
    found = swaps_sides(gold, answer)
    if len(answer.split()) <= LONG_WORDS or found.rating == "good":
        return found
    return replace(found, rating=RATINGS[RATINGS.index(found.rating) + 1], primary_found=True)
