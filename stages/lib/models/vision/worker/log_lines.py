"""The program's own lines of the log, which are told from those of a library by how they begin."""

from stages.lib.models import own_process

WHOSE = "vision"


def say(text: str) -> None:
    """Write a line to the log."""
    own_process.say(WHOSE, text)
