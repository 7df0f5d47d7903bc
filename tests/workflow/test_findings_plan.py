"""Plans of the chapter findings: it costs nothing where it is not wanted, and stands alone where it is all there is."""

from pathlib import Path

import checkout as checkouts
import medpix_folder
import pytest
import yaml

from workflow import dvc_sync

ROOT = Path(__file__).parents[2]


def test_outside_of_the_study_s_chapters_it_changes_neither_the_plan_nor_dvc_yaml(tmp_path: Path) -> None:
    """Every job of a dry run, with its inputs and command, is in what dvc.yaml is made of."""
    assert yaml.safe_load((ROOT / "params.yaml").read_text())["study"]["chapters"] == ["nodules"]
    folder = checkouts.copy(tmp_path / "without", {"findings": None})
    jobs, without = (dvc_sync.jobs(dvc_sync.dry_run(each)) for each in (ROOT, folder))
    assert len(jobs) > 10
    assert sorted(map(repr, without)) == sorted(map(repr, jobs))
    drawn = dvc_sync.dvc(without, yaml.safe_load((folder / "params.yaml").read_text()))
    assert drawn == yaml.safe_load((ROOT / "dvc.yaml").read_text())


@pytest.mark.parametrize("name", ["medpix", "medpix_published"])
def test_a_study_of_the_findings_alone_shows_its_plan_on_a_folder_in_the_layout_of_medpix(
    tmp_path: Path, name: str
) -> None:
    folder = checkouts.copy(tmp_path / "checkout", {})
    document = yaml.safe_load((ROOT / f"workflow/presets/{name}.yaml").read_text())
    assert not {"nodules", "data", "weights"} & set(document)
    root = medpix_folder.write(tmp_path / "medpix", [medpix_folder.Case(f"MPX{number}") for number in range(4)])
    document["findings"]["ingest"]["root"] = str(root)
    (folder / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    text = checkouts.run(folder, "snakemake", "-n", "--nocolor", "--", "all", "findings", "findings_audit")
    jobs = [line for line in text.splitlines() if line.startswith(("rule ", "localrule "))]
    rules = {line.split()[1].rstrip(":") for line in jobs}
    assert {"findings_ingest", "findings_sample", "findings_answer_shard", "findings_judge", "findings_report"} <= rules
    assert {rule for rule in rules if not rule.startswith("findings")} == {"all", "report"}
    assert "findings_simulate" not in rules
    arms = document["findings"]["arms"]
    assert jobs.count("rule findings_answer_shard:") == document["study"]["shards"] * len(arms)
    assert "findings, computed, not measured" in text  # what it takes on a GPU, behind the plan


def test_beside_another_chapter_its_section_is_on_the_study_s_page_and_its_own_page_is_a_stage(tmp_path: Path) -> None:
    folder = checkouts.copy(tmp_path / "both", {"study": {"chapters": ["nodules", "findings"]}})
    stages = yaml.safe_load(dvc_sync.render(folder))["stages"]
    sections = {f"results/{chapter}/section.json" for chapter in ("nodules", "findings")}
    assert sections <= set(stages["report"]["deps"])
    assert stages["report"]["params"] == ["report"]
    assert "results/nodules/report.html" in stages["report"]["outs"]
    own = stages["findings_report"]
    assert "results/findings/section.json" in own["deps"]
    assert own["params"] == ["findings.report"]
    assert {f"results/findings/{name}" for name in ("report.html", "metrics.json", "summary.json")} == set(own["outs"])
    made = [path for stage in stages.values() for path in (*stage["outs"], *stage.get("metrics", ()))]
    assert len(made) == len(set(made))
