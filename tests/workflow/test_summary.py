"""The last lines of `make demo` and `make findings`: the numbers with their intervals, and where the report is."""

import json
import sys

import pytest

from workflow import summary

GOOD = {"value": 0.4, "low": 0.2, "high": 0.6, "n": 30}
SHOWN = {
    "findings": {
        "description": {"all_images": {"test": {"good_fraction": GOOD, "finding_f1": {**GOOD, "value": 0.5}}}},
        "warnings": ["none"],
        "verdicts": [{"first": "a"}],
        "costs": [],
        "counts": {"roles": {"test": 30}, "images": 52},
        "sample_sha256": "0" * 64,
        "vocabulary": {"own": "0" * 64, "licences": ["Apache-2.0"]},
    }
}


def test_a_chapter_s_summary_has_the_numbers_of_each_arm_and_the_path_of_its_own_page(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "results/findings"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(SHOWN))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["summary", "findings"])
    summary.main()
    lines = capsys.readouterr().out.splitlines()
    assert "  all_images: answers rated good  0.400  [0.200, 0.600]  n = 30" in lines
    assert any(line.startswith("  all_images: F1 of the findings") and "0.500" in line for line in lines)
    assert lines[-2] == f"  report  {folder.resolve() / 'report.html'}"
    assert len(lines) == 6


def test_a_chapter_that_has_not_run_names_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["summary", "findings"])
    with pytest.raises(SystemExit, match="snakemake --cores 2 findings"):
        summary.main()


def test_the_points_of_the_chapter_lofi_are_boxes(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "results/lofi"
    folder.mkdir(parents=True)
    entry = {**GOOD, "n_points": 31}
    shown = {"lofi": {"grounding": {"map": {"test": {"rodeo_localization": entry}}}}}
    (folder / "metrics.json").write_text(json.dumps(shown))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["summary", "lofi"])
    summary.main()
    assert "n = 30 with 31 boxes" in capsys.readouterr().out
