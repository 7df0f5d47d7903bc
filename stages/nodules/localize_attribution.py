"""Take the peaks of the evidence for a nodule on the image: a localizer that writes no text, with confidences.

in   base  results/fetch.json; the others as stages/lib/detect/driver.py
out  as stages/lib/detect/driver.py
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.lib.core import cli
from stages.lib.detect import attribution, driver
from stages.lib.detect.detection import Answer, Question, batches
from stages.lib.models import gemma3

Params = attribution.AttributionParams


def localizer(base: Path, model: gemma3.ModelParams, params: Params) -> driver.Localizer:
    """Return a localizer that takes the peaks of the base model's evidence.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    loaded = gemma3.load(base, model)

    def ask(questions: Sequence[Question]) -> Iterator[Answer]:
        for batch in batches(questions, params.batch_size):
            images = [question.pixels() for question in batch]
            yield from attribution.answers(loaded, images, batch[0].request, params)

    return ask


def main(argv: Sequence[str] | None = None) -> None:
    """Read the images of one part, map the evidence, write its peaks."""
    args = driver.parse(__doc__, argv, {"attribution": Params, "model": gemma3.ModelParams}, reads=["base"])
    section: Params = args.params.attribution
    driver.run(
        args, section.requests, lambda: localizer(gemma3.read_base(args.base).folder, args.params.model, section)
    )


if __name__ == "__main__":
    cli.run(main)
