"""Ask the base model, in words, for boxes around nodules.

in   base  results/fetch.json; the others as stages/lib/detect/driver.py
out  as stages/lib/detect/driver.py
"""

from collections.abc import Sequence

from stages.lib.core import cli
from stages.lib.detect import driver, medgemma
from stages.lib.models import gemma3

Params = medgemma.Params


def main(argv: Sequence[str] | None = None) -> None:
    """Read the images of one part, ask the base model, write the findings and its words."""
    sections = {"medgemma": Params, "model": gemma3.ModelParams}
    args = driver.parse(__doc__, argv, sections, reads=["base"])
    section: Params = args.params.medgemma
    base = gemma3.read_base(args.base).folder
    driver.run(args, section.requests, lambda: medgemma.localizer(base, args.params.model, section))


if __name__ == "__main__":
    cli.run(main)
