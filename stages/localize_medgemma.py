"""Ask the base model, in words, for boxes around nodules.

in   base  results/fetch.json; the others as stages/lib/localizing.py
out  as stages/lib/localizing.py
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.lib import boxes, cli, localizing, models, params
from stages.lib.questions import Answer, Question, batches, boxed


@params.section
class Params:
    """What MedGemma is asked, and how."""

    requests: tuple[params.Text, ...]  # the bank: each is put to films that choose, the best to all; answers are boxes
    image_first: bool  # whether the film stands before the request, or after it
    max_new_tokens: params.Count  # the answer is cut there; about 45 per box
    batch_size: params.Count  # films per batch; changes the time, not the answers


def localizer(base: Path, model: models.ModelParams, params: Params) -> localizing.Localizer:
    """Return a localizer that asks the base model in `base` for boxes in MedGemma's format.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    loaded = models.load(base, model)

    def ask(questions: Sequence[Question]) -> Iterator[Answer]:
        for batch in batches(questions, params.batch_size):
            films = [question.pixels() for question in batch]
            request = batch[0].request
            words = models.generate(loaded, films, request, params.max_new_tokens, image_first=params.image_first)
            yield from map(read, words)

    return ask


def read(words: str) -> Answer:
    """Return an answer in MedGemma's format as findings; the point is the centre of the box.

    >>> read('[{"box_2d": [400, 300, 500, 350], "label": "nodule"}]').findings
    (Finding(u=0.325, v=0.45, box=(0.3, 0.4, 0.35, 0.5), confidence=None, phrase='nodule'),)
    """
    parsed = boxes.parse(words)
    findings = tuple(boxed((box.x0, box.y0, box.x1, box.y1), boxes.UNITS, box.label) for box in parsed.boxes)
    return Answer(words, parsed.status, findings)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the films of one part, ask the base model, write the findings and its words."""
    sections = {"medgemma": Params, "model": models.ModelParams}
    args = localizing.parse(__doc__, argv, sections, reads=["base"])
    section: Params = args.params.medgemma
    localizing.run(
        args, section.requests, lambda: localizer(models.read_base(args.base).folder, args.params.model, section)
    )


if __name__ == "__main__":
    cli.run(main)
