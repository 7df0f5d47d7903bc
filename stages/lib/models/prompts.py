"""Prompts: a question about an image, and its two answers."""

from typing import Any

from stages.lib.core import params


@params.section
class PromptParams:
    """The prompt of classification."""

    question: params.Text  # about each image
    answers: params.Text  # nodule/no nodule, a token each; in one text, since YAML 1.1 reads a bare Yes as true
    image_first: bool  # whether the image stands before the question, or after it

    def __post_init__(self) -> None:
        words = [word.strip() for word in self.answers.split("/")]
        if len(words) != 2 or not all(words) or words[0] == words[1]:
            raise ValueError(f"two different answers with a slash between, such as Yes/No, found {self.answers!r}")

    @property
    def positive_answer(self) -> str:
        """The answer that means a nodule."""
        return self.answers.split("/")[0].strip()

    @property
    def negative_answer(self) -> str:
        """The answer that means no nodule."""
        return self.answers.split("/")[1].strip()


def messages(text: str, *, image_first: bool) -> list[dict[str, Any]]:
    """Conversation of one turn with an image and a text, as a chat template takes it.

    Args:
        text: What the user says.
        image_first: Whether the image stands before the text.

    >>> [part["type"] for part in messages("Is there a nodule?", image_first=True)[0]["content"]]
    ['image', 'text']
    """
    parts: list[dict[str, Any]] = [{"type": "image"}, {"type": "text", "text": text}]
    return [{"role": "user", "content": parts if image_first else parts[::-1]}]
