"""What LoFi's decoder is told and answers, and which sentences of a report are taken together.

The prompts of grounding and description are those of LoFi-MedG (arXiv 2608.00976); that of a caption is ours, as the
paper names none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Task = Literal["caption", "ground", "describe"]
CAPTION = "Describe the image."
GROUND = 'Detect all instances of "{sentence}".'
DESCRIBE = "Describe the regions: {boxes}"


@dataclass(frozen=True)
class Fitted:
    """Sentences put together as far as there is room.

    Attributes:
        text: Those that fit, in order, with a blank between.
        left_out: How many did not.
    """

    text: str
    left_out: int


def ground_prompt(sentence: str) -> str:
    """Prompt for the boxes of a sentence.

    >>> ground_prompt("Opacity in the left lung.")
    'Detect all instances of "Opacity in the left lung".'
    """
    return GROUND.format(sentence=sentence.removesuffix("."))


def describe_prompt(listed: str) -> str:
    """Prompt for the sentence of boxes.

    Args:
        listed: As `box_text.listed` writes them.

    >>> describe_prompt("[[200,200,400,450]]")
    'Describe the regions: [[200,200,400,450]]'
    """
    return DESCRIBE.format(boxes=listed)


def fit(sentences: Sequence[str], fits: Callable[[str], bool]) -> Fitted:
    """Sentences in their order, each whole or not at all.

    Args:
        sentences: In the order of the report.
        fits: Whether there is room for a text.

    >>> fit(["One.", "A long one.", "Two."], lambda text: len(text) < 10)
    Fitted(text='One. Two.', left_out=1)
    """
    text, left_out = "", 0
    for sentence in sentences:
        longer = f"{text} {sentence}" if text else sentence
        if fits(longer):
            text = longer
        else:
            left_out += 1
    return Fitted(text, left_out)


def sampled(sentences: Sequence[str], fewest: int, most: int, rng: np.random.Generator) -> list[str]:
    """Some sentences of a report, none twice, in the order of the report.

    Args:
        sentences: Of the report.
        fewest: Fewest to take; all if the report has no more.
        most: Most to take.
        rng: Decides how many, equally likely, and which.

    >>> sampled(["a", "b", "c"], 4, 8, np.random.default_rng(0))
    ['a', 'b', 'c']
    >>> len(sampled(list("abcdefgh"), 2, 2, np.random.default_rng(0)))
    2
    """
    number = min(int(rng.integers(fewest, most + 1)), len(sentences))
    return [sentences[index] for index in sorted(rng.choice(len(sentences), number, replace=False).tolist())]
