"""Parts become one table."""

from pathlib import Path

import pytest

from stages.data import gather
from stages.lib.core import shards, tables
from stages.lib.core.errors import ParamsError, TableError

ROWS = [{"image_id": f"image{i}", "patient_id": "p", "label": i % 2, "split": "test"} for i in range(5)]


def test_the_parts_become_the_whole_table_to_the_byte(tmp_path: Path) -> None:
    parts = []
    for k in (0, 1, 2):
        parts.append(str(tmp_path / f"{k}.parquet"))
        tables.write(parts[-1], tables.from_rows(ROWS[k::3] if k < 2 else [], tables.SPLIT), tables.SPLIT)
    parts.append(str(tmp_path / "rest.parquet"))
    tables.write(parts[-1], tables.from_rows(ROWS[2::3], tables.SPLIT), tables.SPLIT)
    gather.main(["--table", "split", "--shards", *parts, "--out", str(tmp_path / "all.parquet")])
    tables.write(tmp_path / "whole.parquet", tables.from_rows(ROWS, tables.SPLIT), tables.SPLIT)
    assert (tmp_path / "all.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_an_image_in_two_parts_is_refused() -> None:
    parts = [tables.from_rows(ROWS[:3], tables.SPLIT), tables.from_rows(ROWS[2:], tables.SPLIT)]
    with pytest.raises(TableError, match="1 rows repeat the key"):
        shards.gather(parts, tables.SPLIT)


def test_an_unknown_table_and_a_part_of_another_kind_are_named(tmp_path: Path) -> None:
    part = str(tmp_path / "part.parquet")
    tables.write(part, tables.from_rows(ROWS, tables.SPLIT), tables.SPLIT)
    with pytest.raises(ParamsError, match="did you mean 'split'"):
        gather.main(["--table", "splits", "--shards", part, "--out", str(tmp_path / "out.parquet")])
    with pytest.raises(TableError, match=r"part\.parquet: points"):
        gather.main(["--table", "points", "--shards", part, "--out", str(tmp_path / "out.parquet")])
    assert not (tmp_path / "out.parquet").exists()
