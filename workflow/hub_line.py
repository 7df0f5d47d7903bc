"""A line of doctor about one model: whether its folder is whole, or the hub would hand it out."""

import os
from collections.abc import Sequence

from stages.lib.core.errors import ModelError
from stages.weights import fetch
from workflow.chapters import Line

HUB_TIMEOUT_S = 5.0
SAID = {
    "unreachable": "not checked, the hub does not answer from here",
    "cached": "is in the local cache",
    "allowed": "may be fetched",
}


def model(
    name: str, model: str, revision: str, *, keys: tuple[str, str], asked: bool = True, whole: Sequence[str] = ()
) -> Line:
    """What stands in the way of a model that a row of the parameters names, of all its files.

    Args:
        name: Of the row.
        model: A folder, or an id of the hub.
        revision: Commit, tag or branch; "none" for a folder.
        keys: Parameters that hold model and revision, for what is said to be done.
        asked: Whether it is one of MedGemma's classes that is asked, so that its first use would refuse more.
        whole: What its folder has to have, of `fetch.WHOLE`; empty for what `asked` says.
    """
    return of(name, model, fetch.Source(model, revision, keys, whole=whole or (fetch.BASE if asked else fetch.WHOLE)))


def of(name: str, model: str, source: fetch.Source) -> Line:
    """What stands in the way of some files of a model.

    Args:
        name: Of the row.
        model: As the row names it.
        source: The files.
    """
    try:
        if not source.on_hub:
            fetch.check(source)
            return f"{name}: {model} is a folder here", None
        state = fetch.access(source, fetch.read_token(os.environ), fetch.is_offline(os.environ), HUB_TIMEOUT_S)
    except ModelError as error:
        return f"{name}: {model} may not be had", str(error)
    return f"{name}: {model} {SAID[state]}", None
