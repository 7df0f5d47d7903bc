"""Take the peaks of the evidence for a nodule on the film: a localizer that writes no text, with confidences.

in   base  results/fetch.json; the others as stages/lib/localizing.py
out  as stages/lib/localizing.py
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.lib import cli, localizing, models, relevance
from stages.lib.questions import Answer, Question, batches

Params = relevance.RelevanceParams


def localizer(base: Path, model: models.ModelParams, params: Params) -> localizing.Localizer:
    """Return a localizer that takes the peaks of the base model's evidence.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    loaded = models.load(base, model)

    def ask(questions: Sequence[Question]) -> Iterator[Answer]:
        for batch in batches(questions, params.batch_size):
            films = [question.pixels() for question in batch]
            yield from relevance.answers(loaded, films, batch[0].request, params)

    return ask


def main(argv: Sequence[str] | None = None) -> None:
    """Read the films of one part, map the evidence, write its peaks."""
    args = localizing.parse(__doc__, argv, {"relevance": Params, "model": models.ModelParams}, reads=["base"])
    section: Params = args.params.relevance
    localizing.run(
        args, section.requests, lambda: localizer(models.read_base(args.base).folder, args.params.model, section)
    )


if __name__ == "__main__":
    cli.run(main)
