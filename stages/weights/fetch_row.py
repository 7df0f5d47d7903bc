"""Find the model of an arm or of a judge that runs in process, before any GPU is requested.

in   parameters alone: one row, of findings.arms or of findings.judges, of which the keys that name the model
out  out  JSON, as lib.models.snapshot.Snapshot
"""

import os
from collections.abc import Sequence

from stages.lib.core import cli, documents, params
from stages.lib.core.errors import ParamsError
from stages.weights import fetch


@params.section
class Params:
    """What of a row names its model."""

    model: params.Text  # a folder, or a repository on the hub
    revision: params.Text  # commit of the repository; none for a folder


def main(argv: Sequence[str] | None = None) -> None:
    """Find it and write its record."""
    sections = dict.fromkeys(("findings.arms", "findings.judges"), params.Rows({"local": Params}))
    args = cli.parse(__doc__, argv, params=sections, writes=["out"])
    given = {"findings.arms": args.params.arms, "findings.judges": args.params.judges}
    found = {f"{section}.{name}": row for section, rows in given.items() for name, row in rows.items()}
    if len(found) != 1:
        raise ParamsError("rows:", [f"found {', '.join(found)}, wanted one arm or judge of the kind local"])
    ((key, row),) = found.items()
    source = fetch.Source(row.params.model, row.params.revision, (f"{key}.model", f"{key}.revision"))
    token = fetch.read_token(os.environ) if source.on_hub else None
    documents.write(args.out, fetch.fetch(source, token, fetch.is_offline(os.environ)))


if __name__ == "__main__":
    cli.run(main)
