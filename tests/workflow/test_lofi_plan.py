"""Plans of the chapter lofi: it costs nothing where it is not wanted, and each of its targets makes what it says."""

from pathlib import Path

import checkout as checkouts
import pytest
import yaml

from workflow import dvc_sync

ROOT = Path(__file__).parents[2]


def rules(folder: Path, *targets: str) -> list[str]:
    """Rules of the jobs of a dry run, one for each job."""
    text = checkouts.run(folder, "snakemake", "-n", "--nocolor", "--", *targets)
    return [line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith(("rule ", "localrule "))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkouts.copy(tmp_path_factory.mktemp("lofi") / "checkout", {"study": {"chapters": ["nodules", "lofi"]}})


def test_outside_of_the_study_s_chapters_it_changes_neither_the_plan_nor_dvc_yaml(tmp_path: Path) -> None:
    """Every job of a dry run, with its inputs and command, is in what dvc.yaml is made of."""
    assert yaml.safe_load((ROOT / "params.yaml").read_text())["study"]["chapters"] == ["nodules"]
    without = dvc_sync.jobs(dvc_sync.dry_run(checkouts.copy(tmp_path / "without", {"lofi": None})))
    jobs = dvc_sync.jobs(dvc_sync.dry_run(ROOT))
    assert len(jobs) > 10
    assert sorted(map(repr, without)) == sorted(map(repr, jobs))


def test_each_target_has_its_jobs_and_no_others(folder: Path) -> None:
    document = yaml.safe_load((ROOT / "params.yaml").read_text())["lofi"]
    runs = len(document["ablations"]["seeds"]) * (len(document["ablations"]["variants"]) + 1)
    retrieval, ablations = rules(folder, "lofi_retrieval"), rules(folder, "lofi_ablations")
    assert retrieval.count("lofi_embed") == retrieval.count("lofi_retrieve") == len(document["encoders"])
    assert not {"lofi_ground", "lofi_tune", "lofi_alike", "data_ingest"} & {*retrieval}
    for step in ("train", "embed", "retrieve", "tune", "ground", "measure"):
        assert ablations.count(f"lofi_ablation_{step}") == runs
    assert "lofi_train" not in ablations


def test_beside_the_nodules_similar_cases_are_in_its_section_and_every_step_is_a_stage_of_dvc(folder: Path) -> None:
    stages = yaml.safe_load(dvc_sync.render(folder))["stages"]
    assert {"results/lofi/alike.parquet", "results/data/split.parquet"} <= set(stages["lofi_section"]["deps"])
    assert "results/lofi/section.json" in stages["report"]["deps"]
    assert {"lofi_train", "lofi_embed-lofi", "lofi_ground-tuned_lofi", "lofi_alike", "lofi_report"} <= set(stages)
    assert stages["lofi_embed-base"]["params"] == ["lofi.embed", "lofi.encoders.base"]
    made = [path for stage in stages.values() for path in (*stage["outs"], *stage.get("metrics", ()))]
    assert len(made) == len(set(made))


def test_without_a_grounder_and_with_one_encoder_the_page_and_the_ablations_have_their_jobs(tmp_path: Path) -> None:
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text())["lofi"]
    given = checkouts.copy(
        tmp_path / "checkout",
        {
            "study": {"chapters": ["lofi"]},
            "lofi": {"grounders": {}, "encoders": {"mine": shipped["encoders"]["lofi"]}},
            "lofi.measure": {"compared_encoders": [], "compared_grounders": []},
            "lofi.ablations": {"grounder": "none", "seeds": [0], "variants": {"fast": {"learning_rate": 0.5}}},
        },
    )
    made = rules(given, "lofi", "lofi_ablations")
    assert made.count("lofi_ablation_measure") == 2
    assert {"lofi_train", "lofi_embed", "lofi_retrieve", "lofi_report", "lofi_ablation_report"} <= {*made}
    assert not [name for name in made if "tune" in name or "ground" in name]


def test_a_variant_changes_how_the_encoder_is_trained_and_not_how_it_is_tuned(tmp_path: Path) -> None:
    given = checkouts.copy(
        tmp_path / "checkout",
        {"lofi.ablations": {"seeds": [0], "variants": {"fast": {"learning_rate": 0.5, "max_steps": 7}}}},
    )
    text = checkouts.run(given, "snakemake", "-n", "-p", "--nocolor", "--", "lofi_ablations")
    lines = [line for line in text.splitlines() if "ablations/fast/0" in line and "python -m stages.lofi." in line]
    [train], [tune] = ([line for line in lines if f"stages.lofi.{name} " in line] for name in ("train", "tune"))
    assert '"learning_rate": 0.5' in train
    assert '"learning_rate": 0.5' not in tune
    assert '"max_steps": 7,' not in tune
