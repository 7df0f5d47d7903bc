"""Reports to learn from: which sentences of an image are drawn together, and what its decoder is asked about it.

Everything that is drawn is a function of the seed and of the number of the sample, so a resumed run, and any number of
processes or workers, draws the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stages.lib.core import files
from stages.lib.core.errors import TrainingError
from stages.lib.models import box_text
from stages.lib.models.box_text import Rounding
from stages.lib.models.lofi import wording
from stages.lib.models.lofi.wording import Fitted, Task
from stages.lib.models.lofi.words import DecoderWords, TowerWords

# Of an image with boxes. One without is captioned alone.
FRACTIONS: Mapping[Task, float] = {"caption": 0.5, "ground": 0.25, "describe": 0.25}
SHOWN = 5  # problems in a message
COUNTED = 20_000  # samples of which doubles are counted: texts are drawn and cut into tokens for it once more


@dataclass(frozen=True)
class Sentence:
    """One sentence of a report.

    Attributes:
        text: The sentence.
        part: Number of the part of the report that it stands in; None if it does not, and is only told with its boxes.
        boxes: Where what it tells is seen, fractions of the padded square; none if that is not known.
    """

    text: str
    part: int | None
    boxes: tuple[box_text.Box, ...]


@dataclass(frozen=True)
class Report:
    """An image with its report.

    Attributes:
        image_id: The image.
        path: Its normalized PNG.
        sentences: In the order of the report, at least one that stands in it.
    """

    image_id: str
    path: Path
    sentences: tuple[Sentence, ...]

    @property
    def boxed(self) -> list[Sentence]:
        """Sentences with boxes."""
        return [sentence for sentence in self.sentences if sentence.boxes]

    @property
    def told(self) -> list[str]:
        """Sentences of the report itself."""
        return [sentence.text for sentence in self.sentences if sentence.part is not None]

    @property
    def parts(self) -> list[list[str]]:
        """Sentences of each part, in order."""
        numbers = sorted({sentence.part for sentence in self.sentences if sentence.part is not None})
        return [[one.text for one in self.sentences if one.part == number] for number in numbers]


@dataclass(frozen=True)
class Said:
    """A prompt and the answer to it.

    Attributes:
        task: What it teaches.
        prompt: The prompt.
        answer: The answer.
        weight: Of its loss.
    """

    task: Task
    prompt: str
    answer: str
    weight: float


@dataclass(frozen=True)
class Sample:
    """One image as it is shown once.

    Attributes:
        image: uint8 array of shape (side_px, side_px).
        ids: Tokens of its text, int array of shape (length,).
        asked: For each of its answers, the tokens of the prompt, those of the answer, and the weight of its loss.
    """

    image: np.ndarray
    ids: np.ndarray
    asked: tuple[tuple[list[int], list[int], float], ...]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How a sample is drawn of a report.

    Attributes:
        tower: Words of the text tower.
        decoder: Words of the decoder; None if nothing is to be written.
        tasks: What is written.
        every: Whether each image gets all of them, weighted by `FRACTIONS`, or one, drawn with these chances. The
            expected loss is the same.
        sentences: Fewest and most sentences of a text.
        rounding: Of boxes.
        max_answer_tokens: Tokens of an answer, that which ends it included.
        visual_tokens: Tokens of an image.
        seed: Decides all that is drawn.
    """

    tower: TowerWords
    decoder: DecoderWords | None
    tasks: tuple[Task, ...]
    every: bool
    sentences: tuple[int, int]
    rounding: Rounding
    max_answer_tokens: int
    visual_tokens: int
    seed: int

    def rng(self, number: int) -> np.random.Generator:
        """What decides a sample."""
        return np.random.default_rng([self.seed, number])

    def text(self, report: Report, rng: np.random.Generator) -> Fitted:
        """Some sentences of a report, as many as tower and decoder have room for.

        If there is room for none of those that were drawn, the first of the report that fits stands in.
        """
        found = wording.fit(self.sentences_of(report, rng), self.fits)
        if found.text:
            return found
        return replace(found, text=next(text for text in report.told if self.fits(text)))

    def sentences_of(self, report: Report, rng: np.random.Generator) -> list[str]:
        """Some sentences of a report."""
        return wording.sampled(report.told, *self.sentences, rng)

    def fits(self, text: str) -> bool:
        """Whether the tower, and the decoder's caption, have room for a text."""
        if len(self.tower.ids(text)) > self.tower.length:
            return False
        return self.decoder is None or len(self.decoder.answer(text)) <= self.max_answer_tokens

    def every_task(self, report: Report, text: str, rng: np.random.Generator) -> list[Said]:
        """What can be written of an image, with the chance of each as its weight.

        Args:
            report: The image's report.
            text: Sentences that are its caption.
            rng: Decides which sentence with boxes is taken.
        """
        boxed = report.boxed
        sentence = boxed[int(rng.integers(len(boxed)))] if boxed else None
        return [
            self.one(task, text, sentence, chance) for task, chance in fractions(self.tasks, boxed=bool(boxed)).items()
        ]

    def said(self, report: Report, text: str, rng: np.random.Generator) -> list[Said]:
        """What the decoder learns to write of an image: as `every_task`, or one of them, drawn, of weight 1."""
        found = self.every_task(report, text, rng)
        if self.every or not found:
            return found
        return [replace(found[int(rng.choice(len(found), p=[one.weight for one in found]))], weight=1.0)]

    def one(self, task: Task, text: str, sentence: Sentence | None, weight: float) -> Said:
        """Prompt and answer of a task."""
        if task == "caption" or sentence is None:
            return Said("caption", wording.CAPTION, text, weight)
        if task == "ground":
            answer = box_text.write(sentence.boxes, "lofi", self.rounding)
            return Said(task, wording.ground_prompt(sentence.text), answer, weight)
        listed = box_text.listed(sentence.boxes, self.rounding)
        return Said(task, wording.describe_prompt(listed), sentence.text, weight)

    def drawn(self, report: Report, number: int) -> tuple[Fitted, list[Said]]:
        """Text of a sample, and what is written of it.

        Args:
            report: The image's report.
            number: Of the sample; another one draws other sentences.
        """
        rng = self.rng(number)
        text = self.text(report, rng)
        return text, self.said(report, text.text, rng)

    def problems(self, report: Report) -> list[str]:
        """What of a report cannot be learned: nothing is ever cut."""
        found = []
        if not any(map(self.fits, report.told)):
            room = "" if self.decoder is None else f" and {self.max_answer_tokens} of an answer"
            found.append(f"no sentence fits {self.tower.length} tokens of the text tower{room}")
        if self.decoder is not None:
            asked = [
                self.one(task, "", sentence, 1.0)
                for sentence in report.boxed
                for task in self.tasks
                if task != "caption"
            ]
            found += [problem for said in asked for problem in self._too_long(self.decoder, said)]
        return [f"{report.image_id}: {problem}" for problem in found]

    def _too_long(self, words: DecoderWords, said: Said) -> list[str]:
        answer = len(words.answer(said.answer))
        if answer > self.max_answer_tokens:
            return [
                f"found an answer of {answer} tokens to {said.prompt[:60]!r}, wanted at most {self.max_answer_tokens}"
            ]
        whole = len(words.begin) + self.visual_tokens + len(words.asked(said.prompt)) + answer
        if whole > words.positions:
            return [
                f"image, prompt {said.prompt[:60]!r} and answer are {whole} tokens, the decoder reads {words.positions}"
            ]
        return []


def refuse(drawing: Drawing, reports: Sequence[Report]) -> None:
    """Refuse reports that would have to be cut, all at once, before anything is trained.

    Raises:
        TrainingError: If an answer is too long, or an image has no sentence that fits.
    """
    problems = [problem for report in reports for problem in drawing.problems(report)]
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise TrainingError(
            f"{'; '.join(problems[:SHOWN])}{more}. Raise lofi.train.max_answer_tokens, or leave these images out"
        )


def fractions(tasks: Sequence[Task], *, boxed: bool) -> dict[Task, float]:
    """Chance of each task for an image; they add up to 1, or there is none.

    >>> fractions(("caption", "ground", "describe"), boxed=True)
    {'caption': 0.5, 'ground': 0.25, 'describe': 0.25}
    >>> fractions(("ground", "describe"), boxed=True), fractions(("ground", "describe"), boxed=False)
    ({'ground': 0.5, 'describe': 0.5}, {})
    """
    named = {name: value for name, value in FRACTIONS.items() if name in tasks and (boxed or name == "caption")}
    return {name: value / sum(named.values()) for name, value in named.items()}


@dataclass(frozen=True)
class Counted:
    """What drawing came to.

    Attributes:
        samples: Samples that were counted.
        doubles: Of them, with a text that another of the same step has too.
        drawn: Sentences that were drawn for them.
        left_out: Of these, for which there was no room.
    """

    samples: int
    doubles: int
    drawn: int
    left_out: int


def count(drawing: Drawing, reports: Sequence[Report], order: np.ndarray, step: int) -> Counted:
    """How often texts of a step were equal, and sentences had no room, in the first steps of a training.

    Args:
        drawing: How samples are drawn.
        reports: Of n images.
        order: Numbers of samples, see `lofi.LofiTask.order`.
        step: Samples of a step.
    """
    doubles = drawn = left_out = 0
    order = order[: max(COUNTED // step, 1) * step]
    for first in range(0, len(order), step):
        texts = []
        for number in order[first : first + step].tolist():
            report = reports[number % len(reports)]
            text = drawing.text(report, drawing.rng(number))
            texts.append(text.text.lower())
            drawn += len(drawing.sentences_of(report, drawing.rng(number)))
            left_out += text.left_out
        doubles += sum(texts.count(text) > 1 for text in texts)
    return Counted(len(order), doubles, drawn, left_out)


def digest(reports: Sequence[Report]) -> str:
    """Hash of images, sentences and boxes."""
    return files.sha256_json(
        [[one.image_id, [[said.text, said.part, said.boxes] for said in one.sentences]] for one in reports]
    )
