"""Vectors in a column of a table, as arrays and back."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.lib.core.errors import TableError


def matrix(table: pa.Table, column: str = "vector") -> NDArray[np.float32]:
    """Vectors of the rows of a table, float32 of shape (n, d); (0, 0) without rows.

    Args:
        table: With a column of lists of numbers.
        column: Its name.

    Raises:
        TableError: If the vectors are of several widths.

    >>> matrix(pa.table({"vector": [[1.0, 0.0], [0.0, 1.0]]})).shape
    (2, 2)
    """
    lists = table[column].combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], lists.type)
    widths = sorted(set(lists.value_lengths().to_pylist()))
    if len(widths) > 1:
        raise TableError(f"{column}: found vectors of the widths {widths}, wanted those of one encoder")
    values = np.asarray(lists.flatten().to_numpy(zero_copy_only=False), np.float32)
    return values.reshape(len(lists), widths[0] if widths else 0)


def column(vectors: NDArray[np.float32]) -> pa.Array:
    """Vectors, float32 of shape (n, d), as a column of lists.

    >>> column(np.eye(2, dtype=np.float32)).to_pylist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    n, d = vectors.shape
    values = pa.array(np.ascontiguousarray(vectors, np.float32).ravel(), pa.float32())
    return pa.ListArray.from_arrays(pa.array(np.arange(n + 1) * d, pa.int32()), values)
