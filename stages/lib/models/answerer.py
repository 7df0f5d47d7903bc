"""Interface of models that are asked about an image: logits of two answers in one pass, never generated text.

A class of models is a module of `stages.lib.models.answering` that offers `load(params, setting) -> Answerer`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import Literal

import numpy as np

from stages.lib.core import params
from stages.lib.core.closure import ROOT, closure
from stages.lib.core.errors import ModelError
from stages.lib.images import shifts
from stages.lib.models import classify
from stages.lib.models.backbone import STUDY_BASE, Row
from stages.lib.models.gemma3 import ModelParams
from stages.lib.models.snapshot import Snapshot

ROOM = "stages/lib/models/"  # code of other rooms reaches logits by the bytes of an image, or not at all
CLASSES: Mapping[str, str] = {  # module of each class
    "Qwen2_5_VLForConditionalGeneration": "qwen25_vl",
    "Gemma3ForConditionalGeneration": "medgemma",
    "SiglipModel": "text_pairs",
}


@params.section
class AnswererParams(Row):
    """Which model, and how it is shown images."""

    source: params.Text  # hub id or folder; base: the study's base model
    revision: params.Text  # commit, tag or branch on the hub; none for a folder
    architecture: Literal[
        "Qwen2_5_VLForConditionalGeneration", "Gemma3ForConditionalGeneration", "SiglipModel"
    ]  # its class decides how it is asked
    dtype: Literal["bfloat16", "float32"]  # of its weights; of the study's base, nodules.model says it
    side_px: params.Count  # side of the square that it is shown, made from the original
    shifts: params.Count  # places along a side of an image token; logits are the mean over shifts x shifts passes

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        gemma = self.architecture == "Gemma3ForConditionalGeneration"
        if gemma != (self.source == STUDY_BASE):
            raise ValueError(
                f"architecture {self.architecture} with source {self.source!r}; wanted source {STUDY_BASE!r} for "
                "Gemma3ForConditionalGeneration, and for it alone"
            )


@dataclass(frozen=True)
class Wording:
    """A question with its two answers, or a pair of texts without a question.

    Attributes:
        question: None of a pair of texts.
        positive: Answer, or text, that means a nodule.
        negative: The one that means none.
    """

    question: str | None
    positive: str
    negative: str

    @property
    def name(self) -> str:
        """What it is called among those that were tried.

        >>> Wording("A nodule?", "Yes", "No").name
        'A nodule? Yes/No'
        """
        answers = f"{self.positive}/{self.negative}"
        return answers if self.question is None else f"{self.question} {answers}"


@dataclass(frozen=True, kw_only=True)
class AnswererSetting:
    """Inputs beside the parameters of a row.

    Attributes:
        row: Name of the row, for errors.
        found: The model's files.
        model: How MedGemma is held, `nodules.model`.
    """

    row: str
    found: Snapshot
    model: ModelParams | None


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """A model that is ready to be asked.

    Attributes:
        ask: Takes n normalized images, uint8 arrays of shape (side_px, side_px), and a wording; returns a float array
            of shape (n, 3): logit of the negative answer, of the positive one, and the probability of the two together
            among all tokens (1 where texts are compared).
        compares: Whether it compares texts, and takes pairs of texts in the place of questions.
        token_px: Side of the square of pixels that one image token stands for.
        identity: What decides the logits beside image and wording.
        parameters: Number of its parameters.
        operations: Floating-point operations of one image in one pass, counted on meta tensors.
        random_weights: Whether its folder says that its weights are random.
    """

    ask: Callable[[Sequence[np.ndarray], Wording], np.ndarray]
    compares: bool
    token_px: int
    identity: str
    parameters: int
    operations: float | None
    random_weights: bool


def identity(module: str, *facts: object) -> str:
    """Text of what decides the logits beside image and wording, for `Answerer.identity`.

    Answers are kept under it, so it has the versions of the libraries and the code that asks: what was asked by other
    code is never found again.

    Args:
        module: Name of the module that asks.
        facts: What else decides them: weights, how they are held, device, side.
    """
    versions = [f"{name} {version(name)}" for name in ("torch", "transformers", "numpy")]
    code = {path for path in (*closure(module), *closure(classify.__name__)) if path.startswith(ROOM)}
    code |= {*closure(shifts.__name__)}
    digest = sha256(b"\0".join((ROOT / path).read_bytes() for path in sorted(code))).hexdigest()
    return " ".join(map(str, (*facts, *versions, digest)))


def first_tokens(ids: Mapping[str, Sequence[int]], row: str) -> dict[str, int]:
    """First token of each answer.

    Args:
        ids: Tokens of each answer.
        row: Name of the row, for the error.

    Raises:
        ModelError: If an answer has no token, or two begin with the same.
    """
    empty = [answer for answer, tokens in ids.items() if not tokens]
    found = {answer: int(tokens[0]) for answer, tokens in ids.items() if tokens}
    if empty or len(set(found.values())) < len(ids):
        raise ModelError(
            f"{row}: the answers {', '.join(map(repr, ids))} begin with the tokens "
            f"{[list(tokens[:1]) for tokens in ids.values()]}, wanted two different ones: an answer is told by its "
            "first token; change zoo.bank.answers"
        )
    return found
