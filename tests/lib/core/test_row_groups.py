"""Claims about stages.lib.core.row_groups."""

import numpy as np
import pyarrow as pa
import pytest

from stages.lib.core import row_groups, tables
from stages.lib.core.errors import TableError
from stages.lib.core.feature_tables import FEATURES

STATISTICS = ("mean", "largest", "smallest", "deviation", "prefix")


def rows(*ids: str) -> pa.Table:
    values = row_groups.halves(np.arange(3 * len(ids), dtype=np.float16).reshape(-1, 3))
    columns = {"image_id": ids, "place": [0] * len(ids), "preprocessing_hash": ["h"] * len(ids)}
    return pa.table({name: pa.array(found) for name, found in columns.items()} | dict.fromkeys(STATISTICS, values))


def test_a_table_in_groups_is_read_as_any_other(tmp_path):
    with row_groups.writing(tmp_path / "t.parquet", FEATURES) as add:
        add(rows("a", "b"))
        add(rows("c"))
    assert tables.read(tmp_path / "t.parquet", FEATURES)["image_id"].to_pylist() == ["a", "b", "c"]
    groups = row_groups.Groups(tmp_path / "t.parquet", FEATURES, "run again")
    assert groups.rows == [2, 1]
    assert groups.read(1, ["mean"])["mean"].to_pylist() == [[0.0, 1.0, 2.0]]


def test_a_table_without_rows_is_one_of_its_schema(tmp_path):
    with row_groups.writing(tmp_path / "t.parquet", FEATURES) as add:
        add(rows())
    assert tables.read(tmp_path / "t.parquet", FEATURES).num_rows == 0


def test_after_an_error_the_file_is_as_it_was(tmp_path):
    path = tmp_path / "t.parquet"

    def broken() -> None:
        with row_groups.writing(path, FEATURES) as add:
            add(rows("a"))
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        broken()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after", ["a", "b"])
def test_rows_out_of_order_are_refused(tmp_path, after):
    def broken() -> None:
        with row_groups.writing(tmp_path / "t.parquet", FEATURES) as add:
            add(rows("b"))
            add(rows(after))

    with pytest.raises(TableError, match="wanted them in the order of the key"):
        broken()


def test_a_file_that_is_missing_or_of_another_table_says_what_to_do(tmp_path):
    with pytest.raises(TableError, match=r"no such file.*run again"):
        row_groups.Groups(tmp_path / "t.parquet", FEATURES, "run again")
    tables.write(tmp_path / "s.parquet", tables.SPLIT.arrow.empty_table(), tables.SPLIT)
    with pytest.raises(TableError, match="wanted those of features; run again"):
        row_groups.Groups(tmp_path / "s.parquet", FEATURES, "run again")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(TableError, match=r"damaged or not Parquet.*run again"):
        row_groups.Groups(tmp_path / "x.parquet", FEATURES, "run again")
