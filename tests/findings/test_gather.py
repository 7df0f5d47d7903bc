"""Shards of answers and of their clocks become one."""

import pytest
from tiny_cases import arm

from stages.findings import gather
from stages.findings.answer import main as answer_main
from stages.findings.timing import Timing
from stages.lib.core import documents
from stages.lib.core.errors import DocumentError, ParamsError


def run(tiny_cases, out, shard, name="guess"):
    out.mkdir(exist_ok=True)
    options = tiny_cases.options(out, {name: arm("constant", text="A mass.")}, name)
    options[options.index("--shard") + 1] = shard
    answer_main(options)
    return str(out / f"{name}.parquet"), str(out / f"{name}_timing.json")


def gathered(parts, out):
    shards, clocks = zip(*parts, strict=True)
    named = ["--table", "answers", "--shards", *shards, "--timings", *clocks]
    gather.main([*named, "--out", str(out / "all.parquet"), "--timing", str(out / "all.json")])


def test_two_shards_are_the_bytes_of_one_and_their_clocks_are_in_the_order_of_the_items(tmp_path, tiny_cases):
    parts = [run(tiny_cases, tmp_path / shard, shard) for shard in ("1-of-2", "2-of-2")]
    whole = run(tiny_cases, tmp_path / "whole", "1-of-1")
    gathered(parts, tmp_path)
    assert (tmp_path / "all.parquet").read_bytes() == (tmp_path / "whole/guess.parquet").read_bytes()
    found, one = documents.read(tmp_path / "all.json", Timing), documents.read(whole[1], Timing)
    assert [clock.item for clock in found.clocked] == [clock.item for clock in one.clocked]
    assert len(found.clocked) == 4 and found.ledger_sha256 is None


def test_shards_of_two_arms_and_an_unknown_table_are_named(tmp_path, tiny_cases):
    parts = [run(tiny_cases, tmp_path / "a", "1-of-2", "one"), run(tiny_cases, tmp_path / "b", "2-of-2", "other")]
    with pytest.raises(DocumentError, match="found those of one, other"):
        gathered(parts, tmp_path)
    with pytest.raises(ParamsError, match="did you mean 'answers'"):
        gather.main(["--table", "answer", "--shards", "x", "--timings", "y", "--out", "z", "--timing", "t"])
