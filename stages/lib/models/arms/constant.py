"""A text that is the same for every case: the guess that a model has to beat."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stages.lib.core import params
from stages.lib.core.errors import ParamsError
from stages.lib.models.arm import ArmParams, Setting
from stages.lib.models.chat.request import Reply, Request

MOST_FREQUENT = "most_frequent"
HAS_MODEL = False  # nothing is asked, so there is no ledger and no price


@params.section
class Params(ArmParams):
    """The text; how a model would be asked decides the items alone."""

    text: params.Text  # the answer; most_frequent: the most frequent finding of the cases that are not tested


@dataclass(frozen=True)
class Constant:
    """A responder that says one thing.

    Attributes:
        text: What it says.
    """

    text: str
    name: str = "constant"
    revision: str = "none"

    def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """Number and reply of each request."""
        for number in range(len(requests)):
            yield number, Reply("ok", text=self.text, finish_reason="stop")


def responder(params: Params, setting: Setting) -> Constant:
    """The text of a row.

    Raises:
        ParamsError: If the most frequent finding is wanted and there is none.
    """
    if params.text != MOST_FREQUENT:
        return Constant(params.text)
    if setting.guess is None:
        raise ParamsError(
            "text: most_frequent:", ["found no gold text with a finding among the cases that are not tested"]
        )
    return Constant(setting.guess)
