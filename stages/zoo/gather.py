"""Join the records of shards, and the scores if there are any.

in   kind     embedded or inferred
     records  records.Embedded or records.Inferred of each shard
     shards   tables.INFER of each shard, of kind inferred
out  record   one record of all
     infer    tables.INFER of all; empty if a shard failed
"""

from collections.abc import Sequence
from dataclasses import replace

from stages.lib.core import cli, documents, shards, tables
from stages.lib.core.errors import MismatchError, ParamsError
from stages.zoo.records import Embedded, Inferred

KINDS = ("embedded", "inferred")


def embedded(found: Sequence[Embedded]) -> Embedded:
    """One record of all shards: that of the first failure, or the sums of what was done.

    Raises:
        MismatchError: If the shards are not of one backbone and one preprocessing.
    """
    failed = next((one for one in found if one.failure), None)
    if failed:
        return failed
    for name in ("identity", "preprocessing_hash", "features", "rows", "places"):
        different = {getattr(one, name) for one in found if one.images}
        if len(different) > 1:
            raise MismatchError(f"found shards of features whose {name} differs: {sorted(map(str, different))}")
    first = next((one for one in found if one.images), found[0])
    computed = sum(one.computed for one in found)
    timed = [(one.seconds_per_image, one.computed) for one in found if one.seconds_per_image is not None]
    if not computed:  # all was found: each shard tells what was kept
        timed = [(value, 1) for value, _ in timed]
    return replace(
        first,
        images=sum(one.images for one in found),
        bytes=sum(one.bytes for one in found),
        computed=computed,
        seconds=sum(one.seconds for one in found),
        seconds_per_image=_mean(timed),
    )


def inferred(found: Sequence[Inferred]) -> Inferred:
    """One record of all shards: that of the first failure, or the sums of what was done."""
    failed = next((one for one in found if one.failure), None)
    if failed:
        return failed
    return replace(
        found[0],
        images=sum(one.images for one in found),
        seconds=sum(one.seconds for one in found),
        seconds_per_image=_mean([(one.seconds_per_image, one.images) for one in found]),
        answer_mass=_mean([(one.answer_mass, one.images) for one in found]),
    )


def _mean(values: Sequence[tuple[float | None, int]]) -> float | None:
    """Mean of what is known, weighted by the images behind it."""
    known = [(value, n) for value, n in values if value is not None]
    weight = sum(n for _, n in known)
    return sum(value * n for value, n in known) / weight if weight else None


def main(argv: Sequence[str] | None = None) -> None:
    """Read, join, write."""
    args = cli.parse(
        __doc__,
        argv,
        reads=["kind", "records", "shards"],
        writes=["record", "infer"],
        many=["records", "shards"],
        optional=["shards", "infer"],
    )
    if args.kind not in KINDS:
        raise ParamsError("--kind:", [f"found {args.kind!r}, wanted one of {', '.join(KINDS)}"])
    if args.kind == "embedded":
        documents.write(args.record, embedded([documents.read(path, Embedded) for path in args.records]))
        return
    whole = inferred([documents.read(path, Inferred) for path in args.records])
    infer = shards.gather([tables.read(path, tables.INFER) for path in args.shards or ()], tables.INFER)
    tables.write(args.infer, infer.slice(0, 0) if whole.failure else infer, tables.INFER)
    documents.write(args.record, whole)


if __name__ == "__main__":
    cli.run(main)
