"""Tables that are written and read in pieces, so that memory does not grow with the number of rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stages.lib.core import files
from stages.lib.core.errors import TableError
from stages.lib.core.tables import Schema, check


@contextmanager
def writing(path: str | Path, schema: Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that adds rows to a table: each call is a row group, with page checksums.

    The file is there, whole, when all rows were added; on any error it is as it was. Lists of numbers are written as
    they are, without a dictionary.

    Args:
        path: File.
        schema: Of the table. Rows are added in the order of its key.

    Raises:
        TableError: As `tables.check`, or if rows do not follow those that were added before.
    """
    last: list[tuple[object, ...]] = []
    words = [column.name for column in schema.columns if not pa.types.is_list(column.type)]

    with (
        files.replacing(path) as beside,
        pq.ParquetWriter(
            beside, schema.arrow, compression="zstd", use_dictionary=words, write_page_checksum=True, store_schema=True
        ) as writer,
    ):

        def add(rows: pa.Table) -> None:
            rows = check(rows, schema)
            if not rows.num_rows:
                return
            first, end = (tuple(rows[name][at].as_py() for name in schema.key) for at in (0, rows.num_rows - 1))
            if last and first <= last[0]:
                raise TableError(f"{path}: rows from {first} follow {last[0]}, wanted them in the order of the key")
            last[:] = [end]
            writer.write_table(rows, row_group_size=rows.num_rows)

        yield add


class Groups:
    """Row groups of a table that `writing` made, read one by one, checksums verified.

    Attributes:
        path: File.
        rows: Number of rows of each group.
    """

    def __init__(self, path: str | Path, schema: Schema, remedy: str) -> None:
        """Open a file.

        Args:
            path: File.
            schema: Of the table.
            remedy: What to do about a file that is damaged or not there, for the message.

        Raises:
            TableError: If the file is missing, damaged, or not a table of `schema`.
        """
        self.path, self._remedy, self._schema = path, remedy, schema
        if not Path(path).is_file():
            raise TableError(f"{path}: no such file; wanted the table {schema.name}: {remedy}")
        with self._damage():
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
            found = {field.name: field.type for field in self._file.schema_arrow}
            metadata = self._file.metadata
            self.rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        if found != {field.name: field.type for field in schema.arrow}:
            raise TableError(f"{path}: found the columns {sorted(found)}, wanted those of {schema.name}; {remedy}")

    def read(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of one row group.

        Raises:
            TableError: If the file is damaged there.
        """
        with self._damage():
            found = self._file.read_row_group(group, columns=list(columns))
            if found.num_rows != self.rows[group] or found.column_names != list(columns):
                raise ValueError(f"found {found.num_rows} rows of {found.column_names}, wanted {self.rows[group]}")
            found.validate(full=True)
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
            raise TableError(f"{self.path}: damaged or not Parquet ({error}); {self._remedy}") from error


def halves(values: NDArray[np.float16]) -> pa.Array:
    """Rows of half-precision numbers, float16 of shape (rows, numbers), as a column of lists.

    >>> halves(np.array([[1.5, 2.0], [0.0, 1.0]], np.float16)).type
    ListType(list<item: halffloat>)
    """
    found = np.ascontiguousarray(values, np.float16)
    rows, numbers = found.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1) * numbers, pa.int32()), pa.array(found.ravel()))
