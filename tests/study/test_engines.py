"""Both engines on a small study: the same DAG, clean after each other, and rerunning just what a change asks for."""

import json
import shutil
from pathlib import Path

import checkout as checkouts
import pytest
import yaml

from stages.lib.core import tables

pytestmark = pytest.mark.slow

MEASURE = {"metrics", "report"}
TUNED = {"infer_tuned_part", "infer_tuned", "infer_twin_part", "infer_twin", "cascade"}
LOCALIZED = {
    *("localize_medgemma_choice_part", "localize_medgemma_choice", "localize_medgemma_part", "localize_medgemma"),
    *(
        "localize_attribution_choice_part",
        "localize_attribution_choice",
        "localize_attribution_part",
        "localize_attribution",
    ),
    *("combine", "cascade", "submit"),
}
ALL_FROM_NORMALIZED = {
    *("normalize_part", "normalize", "train", "infer_zero_shot_part", "infer_zero_shot"),
    *LOCALIZED,
    *TUNED,
    *MEASURE,
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study that `dvc repro` has run."""
    folder = checkouts.copy(tmp_path_factory.mktemp("study") / "checkout")
    checkouts.run(folder, "dvc", "repro")
    return folder


def test_snakemake_has_nothing_to_do_after_dvc_repro(study: Path) -> None:
    assert checkouts.planned(study) == set()


def test_dvc_is_clean_after_snakemake_and_what_contributing_says_to_type(study: Path) -> None:
    checkouts.run(study, "snakemake", "--cores", "2", "--forcerun", "split", "--until", "split")
    checkouts.run(study, "dvc", "commit", "-f")
    assert "up to date" in checkouts.run(study, "dvc", "status")


def test_every_artifact_is_there_and_every_table_reads(study: Path) -> None:
    results = study / "results"
    for path, schema in (
        ("manifest.parquet", tables.MANIFEST),
        ("points.parquet", tables.POINTS),
        ("normalized.parquet", tables.NORMALIZED),
        ("split.parquet", tables.SPLIT),
        ("infer/zero_shot.parquet", tables.INFER),
        ("infer/tuned.parquet", tables.INFER),
        ("localize/medgemma.parquet", tables.LOCALIZE),
        ("localize/medgemma_answers.parquet", tables.ANSWERS),
        ("localize/attribution.parquet", tables.LOCALIZE),
        ("localize/combined.parquet", tables.LOCALIZE),
        ("localize/cascade.parquet", tables.LOCALIZE),
        ("infer/tuned_twin.parquet", tables.INFER),
    ):
        table = tables.read(results / path, schema)
        assert table.num_rows or schema is tables.LOCALIZE, path
    files = ("report.html", "train/adapter/adapter_model.safetensors", "submission/classification_test_results.csv")
    for path in files:
        assert (results / path).stat().st_size
    assert json.loads((results / "metrics.json").read_text())["classification"]["tuned"]["test"]


@pytest.mark.parametrize(
    ("section", "values", "rules"),
    [
        ("normalize", {"high_percentile": 99.0}, ALL_FROM_NORMALIZED),
        ("train", {"learning_rate": 1.0e-5}, {"train", "submit", *TUNED, *MEASURE}),
        ("metrics", {"draws": 90}, MEASURE),
        ("attribution", {"steps": 3}, {rule for rule in LOCALIZED if "medgemma" not in rule} | MEASURE),
        ("combine", {"link_fraction": 0.1}, {"combine", "cascade", "submit", *MEASURE}),
        ("cascade", {"threshold": "half"}, {"cascade", *MEASURE}),
        ("submit", {"threshold": "half"}, {"submit"}),
        ("report", {"examples": 1}, {"report"}),
        ("pretrain", {"seed": 99}, set()),
        ("predict", {"root": "nowhere"}, set()),
    ],
)
def test_a_changed_parameter_reruns_what_depends_on_it(study: Path, section: str, values: dict, rules: set) -> None:
    before = (study / "params.yaml").read_text()
    try:
        checkouts.change(study, {section: values})
        assert checkouts.planned(study) == rules
        changed = checkouts.run(study, "dvc", "status", "--json")
        stages = {rule.removesuffix("_part") for rule in rules}
        assert set(json.loads(changed)) <= stages
        assert bool(json.loads(changed)) == bool(rules)
    finally:
        (study / "params.yaml").write_text(before)


@pytest.mark.parametrize(
    ("module", "rules", "stages"),
    [
        ("stages/nodules/submit.py", {"submit"}, {"submit"}),
        ("stages/lib/metrics/thresholds.py", None, {"infer_zero_shot", "infer_tuned", "metrics"}),
        ("stages/report.py", {"report"}, {"report"}),
    ],
)
def test_a_changed_line_of_a_module_reruns_what_imports_it(
    study: Path, module: str, rules: set | None, stages: set
) -> None:
    path = study / module
    before = path.read_text()
    try:
        path.write_text(before + "\nCHANGED = True\n")
        plan = checkouts.planned(study)
        assert plan == rules if rules is not None else stages <= plan and "train" not in plan
        changed = set(json.loads(checkouts.run(study, "dvc", "status", "--json")))
        assert stages <= changed
        assert "train" not in changed
    finally:
        path.write_text(before)


def test_a_changed_image_outside_of_the_pipeline_reruns_ingest_under_both_engines(tmp_path: Path) -> None:
    folder, images = checkouts.copy(tmp_path / "checkout"), tmp_path / "images"
    checkouts.run(folder, "snakemake", "--cores", "1", "results/simulate")
    shutil.move(folder / "results" / "simulate", images)
    checkouts.change(folder, {"ingest": {"root": str(images)}})
    checkouts.run(folder, "snakemake", "--cores", "1", "results/manifest.parquet")
    checkouts.run(folder, "dvc", "commit", "-f", "ingest")
    assert checkouts.planned(folder, "results/manifest.parquet") == set()
    assert json.loads(checkouts.run(folder, "dvc", "status", "--json", "ingest")) == {}
    one, other = sorted((images / "nih_filtered_images").glob("*.png"))[:2]
    one.write_bytes(other.read_bytes())
    assert checkouts.planned(folder, "results/manifest.parquet") == {"ingest"}
    assert set(json.loads(checkouts.run(folder, "dvc", "status", "--json", "ingest"))) == {"ingest"}


def test_an_experiment_changes_what_it_should_and_both_engines_stay_clean(study: Path) -> None:
    """Last of the file, since it changes the results: `dvc exp run -S`, and the comparison of it with what was."""
    before = (study / "results" / "split.parquet").read_bytes()
    text = checkouts.run(study, "dvc", "exp", "run", "-n", "weighty", "-S", "metrics.draws=120")
    assert "'metrics'" in text
    assert "Running stage 'train'" not in text
    assert checkouts.planned(study) == set()
    assert (study / "results" / "split.parquet").read_bytes() == before
    assert "weighty" in checkouts.run(study, "dvc", "exp", "list", "--name-only")
    checkouts.run(study, "git", "add", "-A")
    checkouts.run(study, "git", "commit", "-qm", "results")
    checkouts.run(study, "dvc", "exp", "run", "-n", "weightier", "-S", "metrics.draws=130")
    table = checkouts.run(study, "python", "-m", "workflow.compare", "HEAD", "weightier")
    assert "metrics.draws" in table
    assert "roc_auc" in table


def test_the_same_seed_gives_the_same_bytes(study: Path, tmp_path: Path) -> None:
    """A second run, by Snakemake instead of DVC and in another folder: every Parquet file is the same."""
    again = checkouts.copy(tmp_path / "again")
    targets = ("results/infer/tuned_twin.parquet", "results/localize/cascade.parquet")
    checkouts.run(again, "snakemake", "--cores", "1", "--", *targets)
    found = sorted(path.relative_to(again) for path in again.rglob("results/**/*.parquet"))
    assert len(found) >= 7
    for path in found:
        assert (again / path).read_bytes() == (study / path).read_bytes(), path


def test_predict_writes_both_files_and_touches_no_training_artifact(study: Path) -> None:
    watched = [path for path in (study / "results" / "train").rglob("*") if path.is_file()]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in watched}
    checkouts.run(study, "snakemake", "--cores", "2", "predict")
    rows = (study / "results/predict/submission/classification_test_results.csv").read_text().splitlines()
    images = list((study / "results/simulate/unlabelled").glob("*.png"))
    assert rows[0] == "file_name,label,confidence"
    assert len(rows) == 1 + len(images)
    points = (study / "results/predict/submission/localization_test_results.csv").read_text().splitlines()
    assert points[0] == "file_name,x,y,confidence"
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in watched}


def test_the_number_of_jobs_does_not_grow_with_the_number_of_images(study: Path, tmp_path: Path) -> None:
    """A manifest of 63,179 rows and one of 60 give the same plan."""
    plans = []
    for rows in (60, 63_179):
        folder = checkouts.copy(tmp_path / str(rows))
        shutil.copytree(study / "results" / "simulate", folder / "results" / "simulate")
        manifest = tables.from_rows([_image(index) for index in range(rows)], tables.MANIFEST)
        tables.write(folder / "results" / "manifest.parquet", manifest, tables.MANIFEST)
        tables.write(folder / "results" / "points.parquet", tables.from_rows([], tables.POINTS), tables.POINTS)
        plans.append(checkouts.run(folder, "snakemake", "-n", "--quiet", "host").count("\nrule "))
    assert plans[0] == plans[1] > 10


def _image(index: int) -> dict:
    name = f"{index:08d}_000"
    image = {"image_id": name, "file_name": f"{name}.png", "path": f"images/{name}.png", "source": "nih"}
    return image | {"patient_id": name, "label": index % 2, "status": "ok"}


def test_the_presets_show_their_plan_without_data_or_gpu(tmp_path: Path) -> None:
    for name in ("nodulocc", "nodulocc_published"):
        folder = checkouts.copy(tmp_path / name, {})
        checkouts.run(folder, "python", "-m", "workflow.preset", name)
        plan = checkouts.planned(folder)
        assert {"ingest", "train", "report"} <= plan
        assert "simulate" not in plan
        assert "simulate" not in yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
