"""Put the parts of a table together.

in   parts  tables of one kind, each with rows of its own
out  out    the whole table, of the schema that --table names
"""

from collections.abc import Sequence

import pyarrow as pa

from stages.lib import cli, params, tables
from stages.lib.errors import ParamsError


def gather(parts: Sequence[pa.Table], schema: tables.Schema) -> pa.Table:
    """Return one table with the rows of all parts, sorted by key.

    Raises:
        TableError: If two parts have a row of the same key, or a part is not of `schema`.
    """
    return tables.check(pa.concat_tables([tables.check(part, schema) for part in parts]), schema)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args = cli.parse(__doc__, argv, reads=["table", "parts"], writes=["out"], many=["parts"])
    if args.table not in tables.SCHEMAS:
        raise ParamsError("--table:", [params.unknown(args.table, tables.SCHEMAS)])
    schema = tables.SCHEMAS[args.table]
    tables.write(args.out, gather([tables.read(part, schema) for part in args.parts], schema), schema)


if __name__ == "__main__":
    cli.run(main)
