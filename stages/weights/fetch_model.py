"""Find a model that the parameters name, before any GPU is requested.

in   keys   dotted names of the two parameters that hold it: folder or id of the hub, and revision
     wants  what the model's folder has to have: config.json, weights, tokenizer
out  out    JSON, as lib.models.snapshot.Snapshot; with --missing, for a model that cannot be had, as its Missing
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from stages.lib.core import cli, documents, params
from stages.lib.core.errors import ModelError, ParamsError
from stages.lib.core.log import LOG
from stages.lib.models.snapshot import Missing
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
    if len(keys) != 2:
        problems.append(f"--keys: found {len(keys)} names, wanted two, of the model and of its revision")
    values = [_value(document, key) for key in keys]
    problems += [f"{key}: found {value!r}, wanted text" for key, value in zip(keys, values, strict=True) if not value]
    if problems:
        raise ParamsError("model:", problems)
    try:
        given = fetch.Params(base=values[0], revision=values[1])
    except ValueError as error:
        raise ParamsError(f"{keys[0]}:", [str(error)]) from error
    return replace(given.source, keys=(keys[0], keys[1]), whole=tuple(wants))


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
    try:
        documents.write(args.out, fetch.fetch(wanted, token, fetch.is_offline(os.environ)))
    except ModelError as error:
        if not args.missing:
            raise
        LOG.error("%s", error)
        documents.write(args.out, Missing(base=wanted.base, revision=wanted.revision, missing=str(error)))


if __name__ == "__main__":
    cli.run(main)
