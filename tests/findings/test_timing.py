"""Timing of answers as a document."""

from pathlib import Path

import pytest

from stages.findings.timing import Clocked, Timing
from stages.lib.core import documents
from stages.lib.core.errors import DocumentError


def test_a_timing_is_read_as_it_was_written_and_a_missing_clock_is_named(tmp_path: Path) -> None:
    one = Clocked(item="MPX1", sample=0, attempts=2, seconds=1.5, total_seconds=4.0, dollars=None)
    timing = Timing(name="base", clocked=(one,), price={"date": "2026-11-01"}, price_warning=None, ledger_sha256="ab")
    documents.write(tmp_path / "base_timing.json", timing)
    assert documents.read(tmp_path / "base_timing.json", Timing) == timing
    (tmp_path / "base_timing.json").write_text('{"name": "base"}')
    with pytest.raises(DocumentError, match=r"clocked: missing"):
        documents.read(tmp_path / "base_timing.json", Timing)
