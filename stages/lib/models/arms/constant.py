"""A text that is the same for every case: the guess that a model has to beat."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from stages.lib.core import params
from stages.lib.core.errors import ParamsError
from stages.lib.models.arm import NONE, Setting
from stages.lib.models.chat.request import Reply, Request

MOST_FREQUENT = "most_frequent"
HAS_MODEL = False  # nothing is asked, so there is no ledger and no price


@params.section
class Params:
    """The text, and what each one is about; a constant is asked nothing, so it has none of the keys of `ArmParams`."""

    text: params.Text  # the answer; most_frequent: the most frequent finding of the cases that are not tested
    unit: Literal["case", "image"]  # what an answer is about; an image's gold text is its own caption

    prompt: ClassVar[str] = "brief"
    system: ClassVar[bool] = False
    image_first: ClassVar[bool] = True
    images: ClassVar[str] = "none"
    max_images: ClassVar[int] = 1
    choose_images: ClassVar[str] = "first"
    pixels: ClassVar[str] = "file"
    temperature: ClassVar[float] = 0.0
    top_p: ClassVar[float] = 1.0
    max_tokens: ClassVar[int] = 1
    seed: ClassVar[int] = 0
    samples: ClassVar[int] = 1
    consensus: ClassVar[str] = NONE
    after: ClassVar[str] = NONE
    examples: ClassVar[str] = NONE
    n_examples: ClassVar[int] = 0
    example_images: ClassVar[bool] = False
    retriever: ClassVar[str] = NONE
    min_similarity: ClassVar[float] = 0.0


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
