"""Find the frozen encoder of a retriever before any GPU is requested.

in   retriever  name of the row of findings.retrievers
out  out        JSON, as lib.models.snapshot.Snapshot
"""

import os
from collections.abc import Sequence

from stages.lib.core import cli, documents, kinds
from stages.lib.core.errors import ParamsError
from stages.lib.models.encoder import EncoderParams
from stages.weights import fetch


def source(name: str, params: EncoderParams) -> fetch.Source:
    """The model to be found; an encoder needs no tokenizer."""
    keys = (f"findings.retrievers.{name}.model", f"findings.retrievers.{name}.revision")
    return fetch.Source(params.model, params.revision, keys, whole=("config.json", "weights"))


def main(argv: Sequence[str] | None = None) -> None:
    """Find it and write its record."""
    rows = {"findings.retrievers": kinds.rows(kinds.RETRIEVERS)}
    args = cli.parse(__doc__, argv, params=rows, reads=["retriever"], writes=["out"])
    row = args.params.retrievers.get(args.retriever)
    if row is None or not isinstance(row.params, EncoderParams):
        raise ParamsError("--retriever:", [f"found {args.retriever!r}, wanted a retriever by images"])
    wanted = source(args.retriever, row.params)
    token = fetch.read_token(os.environ) if wanted.on_hub else None
    documents.write(args.out, fetch.fetch(wanted, token, fetch.is_offline(os.environ)))


if __name__ == "__main__":
    cli.run(main)
