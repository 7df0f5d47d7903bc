"""What a model is asked about a film, and which two answers it chooses from."""

from typing import Any

from stages.lib import params


@params.section
class PromptParams:
    """The question whether a film shows a nodule."""

    question: params.Text  # put to the model with each film
    positive_answer: params.Text  # one token of the model: a nodule
    negative_answer: params.Text  # one token of the model: no nodule
    image_first: bool  # whether the film stands before the question, or after it

    def __post_init__(self) -> None:
        if self.positive_answer == self.negative_answer:
            raise ValueError(f"two different answers (both are {self.positive_answer!r})")


def messages(text: str, *, image_first: bool) -> list[dict[str, Any]]:
    """Return the conversation of one turn that shows a film and asks `text`, as a chat template takes it.

    Args:
        text: What the user says.
        image_first: Whether the film stands before the text.

    >>> [part["type"] for part in messages("Is there a nodule?", image_first=True)[0]["content"]]
    ['image', 'text']
    """
    parts: list[dict[str, Any]] = [{"type": "image"}, {"type": "text", "text": text}]
    return [{"role": "user", "content": parts if image_first else parts[::-1]}]
