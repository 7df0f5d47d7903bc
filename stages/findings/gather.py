"""Join the shards of an arm's answers or of a judge's judgements, and what they took.

in   table    answers or judgements
     shards   tables of that kind, each with items of its own
     timings  JSON of each shard, as `timing.Timing`
out  out      the whole table
     timing   JSON of all shards together
"""

from collections.abc import Sequence

from stages.findings.timing import Timing
from stages.lib.core import cli, documents, files, params, shards, tables
from stages.lib.core.case_tables import ANSWERS, JUDGEMENTS
from stages.lib.core.errors import DocumentError, ParamsError

SCHEMAS = {schema.name: schema for schema in (ANSWERS, JUDGEMENTS)}


def joined(timings: Sequence[Timing]) -> Timing:
    """Timing of all shards of one arm or judge.

    Args:
        timings: That of each, one at least.

    Raises:
        DocumentError: If they are of several arms or judges.
    """
    names = sorted({one.name for one in timings})
    if len(names) > 1:
        raise DocumentError(f"timings: found those of {', '.join(names)}, wanted those of one; run the shards again")
    ledgers = sorted({one.ledger_sha256 for one in timings if one.ledger_sha256 is not None})
    warnings = [one.price_warning for one in timings if one.price_warning is not None]
    prices = [one.price for one in timings if one.price is not None]
    return Timing(
        name=names[0],
        clocked=tuple(
            sorted((one for timing in timings for one in timing.clocked), key=lambda one: (one.item, one.sample))
        ),
        price=prices[0] if prices else None,
        price_warning=warnings[0] if warnings else None,
        ledger_sha256=ledgers[0] if len(ledgers) == 1 else files.sha256_json(ledgers) if ledgers else None,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read the shards, join, write."""
    args = cli.parse(
        __doc__, argv, reads=["table", "shards", "timings"], writes=["out", "timing"], many=["shards", "timings"]
    )
    if args.table not in SCHEMAS:
        raise ParamsError("--table:", [params.unknown(args.table, SCHEMAS)])
    schema = SCHEMAS[args.table]
    tables.write(args.out, shards.gather([tables.read(path, schema) for path in args.shards], schema), schema)
    documents.write(args.timing, joined([documents.read(path, Timing) for path in args.timings]))


if __name__ == "__main__":
    cli.run(main)
