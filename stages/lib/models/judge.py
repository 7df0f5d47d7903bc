"""What every judge of the findings benchmark has, and what a kind of judges offers.

A kind is a module of `stages.lib.models.judges`: `Params`, made from `JudgeParams`, and either `verdict(params)`, which
returns a function of gold text and answer that asks no model, or `responder(params, setting)`, as a kind of arms does.
"""

from collections.abc import Callable

from stages.lib.core import params
from stages.lib.models.verdict import Verdict

NONE = "none"
Rules = Callable[[str, str], Verdict]  # verdict on an answer, given the gold text first


@params.section
class JudgeParams:
    """How answers are judged."""

    rubric: params.Text  # short, long, or the path of a file of that form
    repeats: params.Count  # judgements of the same answer, each asked for anew
    fallback: params.Text  # row of findings.judges that is asked where this one gives no verdict; none
    max_tokens: params.Count  # of a response, reasoning included
    max_reprompts: params.NonNegativeInt  # times that a response of the wrong form is asked for again
    max_answer_chars: params.NonNegativeInt  # of an answer that are judged; 0: all of them
    seed: params.Seed  # of the order in which answers are judged
    family: params.Text  # words of model names that are its family, with commas between: a warning for such arms; none

    @property
    def families(self) -> tuple[str, ...]:
        """Words of its family, in small letters."""
        words = (word.strip().lower() for word in self.family.split(","))
        return () if self.family == NONE else tuple(word for word in words if word)
