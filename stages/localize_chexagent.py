"""Ask CheXagent-2, in the words that it was trained on, for boxes around nodules. Non-commercial use only.

in   fetched  results/fetch_chexagent.json; environment  results/environment_chexagent.json; the others as
     stages/lib/localizing.py
out  as stages/lib/localizing.py, and
     journals  folder of answers as they arrive, which an interrupted run goes on from
"""

from collections.abc import Iterator, Sequence

from stages.lib import chexagent, cli, localizing
from stages.lib.questions import Answer, Question

Params = chexagent.ChexagentParams


def localizer(where: chexagent.Setting, params: Params, journals: str) -> localizing.Localizer:
    """Return a localizer that asks CheXagent-2 in a process of its own."""

    def ask(questions: Sequence[Question]) -> Iterator[Answer]:
        return map(chexagent.read, chexagent.answer(questions, params, where, journals))

    return ask


def main(argv: Sequence[str] | None = None) -> None:
    """Read the films of one part, ask, write the findings and the words."""
    args = localizing.parse(__doc__, argv, {"chexagent": Params}, reads=["fetched", "environment"], writes=["journals"])
    section: Params = args.params.chexagent
    localizing.run(
        args,
        section.requests,
        lambda: localizer(chexagent.setting(args.fetched, args.environment), section, args.journals),
    )


if __name__ == "__main__":
    cli.run(main)
