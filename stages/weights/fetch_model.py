"""Find a model that the parameters name, before any GPU is requested.

in   keys   dotted names of the two parameters that hold it: folder or id of the hub, and revision
     wants  what the model's folder has to have: config.json, weights, tokenizer
out  out    JSON, as lib.models.snapshot.Snapshot; with --missing, for a model that cannot be had, as its Missing
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from stages.lib.core import cli, documents, params
from stages.lib.core.errors import EnvironmentBuildError, ModelError, ParamsError, WorkerError
from stages.lib.core.log import LOG
from stages.lib.models.snapshot import Missing, Snapshot
from stages.weights import fetch


def source(document: Mapping[str, object], keys: Sequence[str], wants: Sequence[str]) -> fetch.Source:
    """The model to be found.

    Args:
        document: The parameters.
        keys: Dotted names of the parameters that hold folder or id, and revision.
        wants: What its folder has to have, of `fetch.WHOLE`.

    Raises:
        ParamsError: If there are not two keys, one of them is not in the parameters, or what is wanted is not known.

    >>> source({"lofi": {"base": "a/b", "revision": "main"}}, ["lofi.base", "lofi.revision"], ["weights"]).base
    'a/b'
    """
    problems = [f"--wants: {params.unknown(one, fetch.WHOLE)}" for one in wants if one not in fetch.WHOLE]
    values = named(document, keys, problems)
    try:
        given = fetch.Params(base=values[0], revision=values[1])
    except ValueError as error:
        raise ParamsError(f"{keys[0]}:", [str(error)]) from error
    return replace(given.source, keys=(keys[0], keys[1]), whole=tuple(wants))


def named(document: Mapping[str, object], keys: Sequence[str], problems: Sequence[str] = ()) -> tuple[str, str]:
    """What two parameters say of a model: which it is, and its revision.

    Args:
        document: The parameters.
        keys: Their dotted names.
        problems: What else is wrong, to be told along.

    Raises:
        ParamsError: If there are not two keys, one of them is not in the parameters, or there are other problems.
    """
    told = list(problems)
    if len(keys) != 2:
        told.append(f"--keys: found {len(keys)} names, wanted two, of the model and of its revision")
    values = [_value(document, key) for key in keys]
    told += [f"{key}: found {value!r}, wanted text" for key, value in zip(keys, values, strict=True) if not value]
    if told:
        raise ParamsError("model:", told)
    return values[0], values[1]


def _value(document: Mapping[str, object], key: str) -> str:
    """Text under a dotted name; empty if there is none."""
    found: object = document
    for name in key.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""


def main(argv: Sequence[str] | None = None) -> None:
    """Find it and write its record."""
    args = cli.parse(
        __doc__,
        argv,
        params={},
        reads=["params", "keys", "wants"],
        writes=["out"],
        many=["keys", "wants"],
        flags=["missing"],
    )
    wanted = source(params.document(args.params), args.keys, args.wants)
    token = fetch.read_token(os.environ) if wanted.on_hub else None
    record(
        args.out,
        (wanted.base, wanted.revision),
        lambda: fetch.fetch(wanted, token, fetch.is_offline(os.environ)),
        missing=args.missing,
    )


def record(out: str, model: tuple[str, str], find: Callable[[], Snapshot], *, missing: bool) -> None:
    """Write the record of a model, or why it cannot be had.

    Args:
        out: File.
        model: Which model and revision, as the parameters have them.
        find: Finds it.
        missing: Whether others go on without it.

    Raises:
        ModelError: If it cannot be had and they do not.
        WorkerError: If a process that should make it of another file failed, and they do not.
        EnvironmentBuildError: If there is no environment for that process, and they do not.
    """
    base, revision = model
    try:
        documents.write(out, find())
    except (ModelError, WorkerError, EnvironmentBuildError) as error:
        if not missing:
            raise
        LOG.error("%s", error)
        documents.write(out, Missing(base=base, revision=revision, missing=str(error)))


if __name__ == "__main__":
    cli.run(main)
