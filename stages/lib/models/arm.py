"""What every arm of the findings benchmark has: how a model is asked, whatever stands behind it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stages.lib.core import params
from stages.lib.core.errors import ParamsError

NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a kind of arms or judges may want beside the parameters of its row; None where it was not given.

    Attributes:
        fetched: Record of the model's files, by fetch.
        adapter: Folder of a trained adapter.
        guess: The most frequent finding of cases that are not tested, as a sentence.
    """

    fetched: Path | None = None
    adapter: Path | None = None
    guess: str | None = None

    def path(self, name: str) -> Path:
        """A path that the kind cannot do without.

        Raises:
            ParamsError: If it was not given.
        """
        found: Path | None = getattr(self, name)
        if found is None:
            raise ParamsError(f"--{name}:", ["found none, wanted a path: this kind reads it"])
        return found


@params.section
class ArmParams:
    """How a model is asked about a case."""

    prompt: params.Text  # prompt family: a name of stages/lib/models/families, or the path of such a file
    system: bool  # whether the family's system message is sent
    image_first: bool  # whether the images stand before the text
    images: Literal["all", "first", "none"]  # which of the case's images are sent
    max_images: params.Count  # of a request, its examples' included
    choose_images: Literal["first", "spread"]  # of more images than that: the first, or evenly over the case
    pixels: params.Text  # what is done to an image before: file (its own bytes), or see stages/lib/images/pictures.py
    unit: Literal["case", "image"]  # what a request is about; an image's gold text is its own caption
    temperature: params.NonNegativeFloat  # 0 for greedy decoding
    top_p: params.Fraction
    max_tokens: params.Count  # of an answer, reasoning included
    seed: params.Seed
    samples: params.Count  # answers to the same request, each drawn anew
    consensus: Literal["none", "findings", "medoid"]  # how several answers become one
    after: params.Text  # arm whose answer is put into the prompt, as {findings}; none
    examples: Literal["none", "few_shot", "retrieved"]  # cases with their gold text before the question
    n_examples: params.NonNegativeInt  # of them at most
    example_images: bool  # whether their images are sent too
    retriever: params.Text  # row of findings.retrievers that finds them; none
    min_similarity: float  # of a retrieved case, below which it is no example

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = []
        if self.samples > 1 and self.temperature == 0:
            problems.append(f"samples {self.samples} at temperature 0 are one answer {self.samples} times")
        if (self.consensus == NONE) != (self.samples == 1):
            problems.append(f"consensus {self.consensus!r} with {self.samples} sample(s), wanted one for several")
        if (self.retriever == NONE) != (self.examples != "retrieved"):
            problems.append(f"retriever {self.retriever!r} with examples {self.examples!r}")
        if (self.n_examples == 0) != (self.examples == NONE):
            problems.append(f"n_examples {self.n_examples} with examples {self.examples!r}")
        if self.unit == "image" and self.images != "first":
            problems.append(f"images {self.images!r} with unit 'image', wanted first: the one image")
        if problems:
            raise ValueError("; ".join(problems))
