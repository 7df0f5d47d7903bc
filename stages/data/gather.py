"""Join the shards of a table.

in   shards  tables of one kind, each with rows of its own
out  out    the whole table, of the schema that --table names
"""

from collections.abc import Sequence

from stages.lib.core import cli, params, shards, tables
from stages.lib.core.errors import ParamsError


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args = cli.parse(__doc__, argv, reads=["table", "shards"], writes=["out"], many=["shards"])
    if args.table not in tables.SCHEMAS:
        raise ParamsError("--table:", [params.unknown(args.table, tables.SCHEMAS)])
    schema = tables.SCHEMAS[args.table]
    tables.write(args.out, shards.gather([tables.read(path, schema) for path in args.shards], schema), schema)


if __name__ == "__main__":
    cli.run(main)
