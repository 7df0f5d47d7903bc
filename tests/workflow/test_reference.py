"""README's figures of the demo are those of the reference run."""

import json
import re
from pathlib import Path

import pytest

from workflow import reference

ROOT = Path(__file__).parents[2]


def test_the_figures_in_readme_are_those_of_the_reference_run() -> None:
    document = json.loads((ROOT / reference.PATH).read_text())
    section = re.search(r"## What the demo finds\n(.*?)\n## ", (ROOT / reference.README).read_text(), re.DOTALL)[1]
    before, _, rest = section.partition(reference.BEGINS)
    shown, _, after = rest.partition(reference.ENDS)
    assert shown == reference.paragraph(document)
    assert shown.count("\n") >= 10
    assert not re.search(r"\d", before + after)


def test_the_reference_run_names_its_processor_and_gives_each_metric_its_interval_and_n() -> None:
    document = json.loads((ROOT / reference.PATH).read_text())
    assert document["processor"]
    assert document["cores"] >= 1
    for entry in document["metrics"].values():
        assert entry["low"] <= entry["value"] <= entry["high"]
        assert entry["n"] >= entry["n_patients"] > 0


def test_the_processor_is_the_one_that_the_system_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nprocessor\t: 1\nmodel name\t: Some CPU @ 2 GHz\n")
    monkeypatch.setattr(reference, "INFO", info)
    assert reference.processor() == "Some CPU @ 2 GHz"
    monkeypatch.setattr(reference, "INFO", tmp_path / "none")
    assert reference.processor()


def test_the_command_writes_the_record_and_only_the_figures_of_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auc = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 20, "n_patients": 7, "skipped_draws": 0}
    (tmp_path / "workflow").mkdir()
    (tmp_path / "metrics.json").write_text(
        json.dumps({"nodules": {"classification": {"tuned": {"test": {"roc_auc": auc}}}}})
    )
    (tmp_path / "README.md").write_text(f"before\n{reference.BEGINS}old\n{reference.ENDS}after\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["reference", "--metrics", "metrics.json", "--seconds", "9"])
    reference.main()
    document = json.loads((tmp_path / reference.PATH).read_text())
    assert document["metrics"] == {
        "tuned: ROC AUC": {name: auc[name] for name in ("value", "low", "high", "n", "n_patients")}
    }
    text = (tmp_path / "README.md").read_text()
    assert text == f"before\n{reference.BEGINS}{reference.paragraph(document)}{reference.ENDS}after\n"
