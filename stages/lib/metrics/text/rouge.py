"""ROUGE-L: longest common subsequence of the words of a gold text and an answer."""

from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class RougeL:
    """ROUGE-L of one answer, each part in [0, 1]."""

    precision: float
    recall: float
    f1: float


def rouge_l(gold: str, answer: str, *, stemmer: bool) -> RougeL:
    """ROUGE-L of an answer; 0 if either text has no word.

    Words are the runs of a-z and 0-9 of the text in small letters: "2.4-cm" is 2, 4 and cm, and a letter with an accent
    is none. It says next to nothing about findings: "no effusion" and "an effusion" share most of their words.

    Args:
        gold: The gold text.
        answer: The answer.
        stemmer: Whether words of more than three letters lose their endings, by Porter's rules.

    Source: Lin, ROUGE, Text Summarization Branches Out, 2004, section 3.1, with beta 1; the package rouge-score.

    >>> rouge_l("testing one two", "testing", stemmer=True).f1
    0.5
    """
    found = _scorer(stemmer).score(gold, answer)["rougeL"]
    return RougeL(float(found.precision), float(found.recall), float(found.fmeasure))


@cache
def _scorer(stemmer: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=stemmer)
