"""Prompts: a question about an image, and its two answers."""

from collections.abc import Sequence
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


def others(prompt: PromptParams, questions: Sequence[str], answers: Sequence[str]) -> dict[str, PromptParams]:
    """Other prompts for what a prompt asks, by name: other wordings, and both answers named in both orders.

    Args:
        prompt: The prompt.
        questions: Other wordings of its question.
        answers: The answers of each.

    >>> prompt = PromptParams(question="A nodule?", answers="Yes/No", image_first=True)
    >>> for one in others(prompt, ["Are the lungs clear?"], ["No/Yes"]).values():
    ...     print(one.question)
    Are the lungs clear?
    A nodule? Answer Yes or No.
    A nodule? Answer No or Yes.
    """
    found = {
        f"reworded_{number}": PromptParams(question=question, answers=pair, image_first=prompt.image_first)
        for number, (question, pair) in enumerate(zip(questions, answers, strict=True), 1)
    }
    words = (prompt.positive_answer, prompt.negative_answer)
    for name, order in {"positive_first": words, "negative_first": words[::-1]}.items():
        question = f"{prompt.question} Answer {' or '.join(order)}."
        found[name] = PromptParams(question=question, answers=prompt.answers, image_first=prompt.image_first)
    return found


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
