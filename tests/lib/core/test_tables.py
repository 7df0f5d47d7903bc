"""The Parquet artifacts keep what they promise."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.core import files, tables
from stages.lib.core.errors import TableError


def row(name: str, **changes: Any) -> dict[str, Any]:
    plain = {"image_id": name, "png": f"normalized/{name}.png", "low": 1.0, "high": 2.0, "scale": 0.5}
    return {
        **plain,
        "pad_x_px": 0,
        "pad_y_px": 3,
        "side_px": 8,
        "preprocessing_hash": "c",
        "histogram": [1] * 64,
        **changes,
    }


def normalized(*ids: str) -> pa.Table:
    return tables.from_rows([row(i) for i in ids], tables.NORMALIZED)


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    rows = [row("b", low=0.1 + 0.2), row("a")]
    tables.write(tmp_path / "t.parquet", tables.from_rows(rows, tables.NORMALIZED), tables.NORMALIZED)
    assert tables.read(tmp_path / "t.parquet", tables.NORMALIZED).to_pylist() == [rows[1], rows[0]]


def test_a_table_without_rows_is_a_table(tmp_path: Path) -> None:
    tables.write(tmp_path / "t.parquet", normalized(), tables.NORMALIZED)
    assert tables.read(tmp_path / "t.parquet", tables.NORMALIZED).num_rows == 0


@pytest.mark.parametrize("where", ["pages", "footer"])
def test_a_flipped_bit_is_found_or_harmless_wherever_it_is(tmp_path: Path, where: str) -> None:
    table = normalized(*(f"image{i}" for i in range(20)))
    whole, broken = tmp_path / "whole.parquet", tmp_path / "broken.parquet"
    tables.write(whole, table, tables.NORMALIZED)
    content = whole.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    places = range(0, footer, 7) if where == "pages" else range(footer, len(content), 19)
    found = 0
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        broken.write_bytes(flipped)
        try:
            assert tables.read(broken, tables.NORMALIZED).equals(table)
        except TableError as error:
            found += 1
            assert "broken.parquet" in str(error)
    assert found > len(places) // 3


def test_a_truncated_and_a_missing_table_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    tables.write(path, normalized("a"), tables.NORMALIZED)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(TableError, match=r"t\.parquet: damaged"):
        tables.read(path, tables.NORMALIZED)
    with pytest.raises(TableError, match="no such file"):
        tables.read(tmp_path / "none.parquet", tables.NORMALIZED)


@settings(deadline=None, max_examples=25)
@given(st.permutations(["007", "NA", "7", "a b", "é", "Z"]))
def test_equal_content_is_equal_bytes_in_whatever_order_it_came(tmp_path_factory: Any, order: list[str]) -> None:
    folder = tmp_path_factory.mktemp("order")
    tables.write(folder / "a.parquet", normalized(*order), tables.NORMALIZED)
    tables.write(folder / "b.parquet", normalized(*sorted(order)), tables.NORMALIZED)
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()
    assert tables.read(folder / "a.parquet", tables.NORMALIZED)["image_id"].to_pylist() == sorted(order)


@pytest.mark.parametrize("column", [c.name for c in tables.NORMALIZED.columns if not c.nullable])
def test_a_null_is_refused_where_none_may_be(column: str) -> None:
    with pytest.raises(TableError, match=rf"{column}.* null"):
        tables.from_rows([row("a"), row("b", **{column: None})], tables.NORMALIZED)


def test_a_null_is_kept_where_it_may_be(tmp_path: Path) -> None:
    image = {"image_id": "a", "split": None, "label": None, "logit_negative": 0.0, "logit_positive": 0.0}
    image |= {"score": 0.5, "score_calibrated": None, "answer_mass": 1.0}
    tables.write(tmp_path / "t.parquet", tables.from_rows([image], tables.INFER), tables.INFER)
    assert tables.read(tmp_path / "t.parquet", tables.INFER).to_pylist() == [image]


def test_a_repeated_key_an_unknown_column_and_an_unknown_word_are_refused() -> None:
    with pytest.raises(TableError, match="repeat the key"):
        normalized("a", "b", "a")
    with pytest.raises(TableError, match=r"unknown columns \['colour'\]"):
        tables.from_rows([row("a", colour="red")], tables.NORMALIZED)
    image = {"image_id": "a", "patient_id": "p", "label": 1, "split": "training"}
    with pytest.raises(TableError, match="training"):
        tables.from_rows([image], tables.SPLIT)
    with pytest.raises(TableError, match="found columns"):
        tables.check(normalized("a").drop_columns(["png"]), tables.NORMALIZED)


def test_a_number_where_text_is_wanted_is_refused() -> None:
    with pytest.raises(TableError):
        tables.from_rows([row("a", side_px="many")], tables.NORMALIZED)
    with pytest.raises(TableError):
        tables.from_rows([row("a", image_id=7)], tables.NORMALIZED)


def test_a_table_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    tables.write(tmp_path / "t.parquet", normalized("a"), tables.NORMALIZED)
    with pytest.raises(TableError, match=r"t\.parquet: split: found columns"):
        tables.read(tmp_path / "t.parquet", tables.SPLIT)


def test_a_failed_write_leaves_the_old_table_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.parquet"
    tables.write(path, normalized("a"), tables.NORMALIZED)
    before = path.read_bytes()

    def full(table: pa.Table, where: Path, **_: Any) -> None:
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tables.pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        tables.write(path, normalized("b"), tables.NORMALIZED)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_leaves_nothing_when_interrupted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), files.replacing(tmp_path / "a") as beside:
        beside.write_text("half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_every_column_of_every_table_has_a_meaning_and_every_key_a_column() -> None:
    assert len(tables.SCHEMAS) >= 7
    for schema in tables.SCHEMAS.values():
        assert set(schema.key) <= set(schema.names)
        for column in schema.columns:
            assert column.meaning
            assert schema.arrow.field(column.name).metadata[b"meaning"].decode() == column.meaning
