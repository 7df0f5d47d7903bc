"""Static shards: shard k of n has every n-th row, so the number of jobs does not grow with the number of images."""

import re
from collections.abc import Sequence

import pyarrow as pa

from stages.lib.core import tables
from stages.lib.core.errors import ParamsError


def take(table: pa.Table, part: str) -> pa.Table:
    """Rows of one shard of `table`, in order.

    Args:
        table: Any table in key order.
        part: Name of the shard, "k-of-n", k from 1.

    Raises:
        ParamsError: If `part` is not of that form, or k is not in 1..n.

    >>> take(pa.table({"a": [1, 2, 3]}), "1-of-2")["a"].to_pylist()
    [1, 3]
    """
    match = re.fullmatch(r"(\d+)-of-(\d+)", part)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ParamsError("part:", [f"found {part!r}, wanted k-of-n with k in 1..n"])
    return table.take(pa.array(range(int(match[1]) - 1, table.num_rows, int(match[2])), pa.int64()))


def gather(shards: Sequence[pa.Table], schema: tables.Schema) -> pa.Table:
    """One table with the rows of all shards, sorted by key.

    Raises:
        TableError: If two shards have a row of the same key, or a shard is not of `schema`.
    """
    return tables.check(pa.concat_tables([tables.check(shard, schema) for shard in shards]), schema)
