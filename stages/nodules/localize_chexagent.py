"""Ask CheXagent-2, in the words that it was trained on, for boxes around nodules. Non-commercial use only.

in   fetched  results/fetch_chexagent.json; environment  results/environment_chexagent.json; the others as
     stages/lib/detect/driver.py
out  as stages/lib/detect/driver.py, and
     journals  folder of answers as they arrive, which an interrupted run goes on from
"""

from collections.abc import Iterator, Sequence

from stages.lib.core import cli
from stages.lib.detect import driver
from stages.lib.detect.chexagent import client
from stages.lib.detect.detection import Answer, Question

Params = client.ChexagentParams


def localizer(where: client.Setting, params: Params, journals: str) -> driver.Localizer:
    """Return a localizer that asks CheXagent-2 in a process of its own."""

    def ask(questions: Sequence[Question]) -> Iterator[Answer]:
        return map(client.read, client.answer(questions, params, where, journals))

    return ask


def main(argv: Sequence[str] | None = None) -> None:
    """Read the images of one part, ask, write the findings and the words."""
    args = driver.parse(__doc__, argv, {"chexagent": Params}, reads=["fetched", "environment"], writes=["journals"])
    section: Params = args.params.chexagent
    driver.run(
        args,
        section.requests,
        lambda: localizer(client.setting(args.fetched, args.environment), section, args.journals),
    )


if __name__ == "__main__":
    cli.run(main)
