"""Both engines on a small study: the same DAG, clean after each other, and rerunning just what a change asks for."""

import json
import shutil
from pathlib import Path

import checkout as checkouts
import pytest
import yaml

from stages.lib.core import tables

pytestmark = pytest.mark.slow

MEASURE = {"nodules_measure", "nodules_section", "report"}
CLASSIFIED = {
    "nodules_infer_shard",
    "nodules_infer",
    "nodules_calibrate",
    "nodules_infer_other_form_shard",
    "nodules_infer_other_form",
    "nodules_cascade",
}
COMBINED = {"nodules_combine", "nodules_cascade", "nodules_submit"}
RANKED = {"nodules_infer_points", "nodules_calibrate"}  # a classifier that stands on a localizer
MERGED = {"nodules_localize_shard", "nodules_localize"}  # detections of shards are not kept
LOCALIZED = {"nodules_select_shard", "nodules_select", *MERGED, *COMBINED, *RANKED}
ALL_FROM_NORMALIZED = {
    *("data_normalize_shard", "data_normalize", "nodules_train"),
    *LOCALIZED,
    *CLASSIFIED,
    *MEASURE,
}


SYSTEMS = (
    *("zero_shot", "tuned", "medgemma", "attribution", "attribution_tuned"),
    *("attribution_peak", "attribution_tuned_peak", "combined_peak"),
)


def stages_of(rules: set[str], systems: tuple[str, ...] = ()) -> set[str]:
    """The stages of DVC that rules may belong to."""
    names = {rule.removesuffix("_shard") for rule in rules}
    return names | {f"{name}-{system}" for name in names for system in systems}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study that `dvc repro` has run."""
    return checkouts.finished(tmp_path_factory, tmp_path_factory.mktemp("study") / "checkout")


def test_snakemake_has_nothing_to_do_after_dvc_repro(study: Path) -> None:
    assert checkouts.planned(study) == set()


def test_dvc_is_clean_after_snakemake_and_what_contributing_says_to_type(study: Path) -> None:
    checkouts.run(study, "snakemake", "--cores", "2", "--forcerun", "data_split", "--until", "data_split")
    checkouts.run(study, "dvc", "commit", "-f")
    assert "up to date" in checkouts.run(study, "dvc", "status")


def test_every_artifact_is_there_and_every_table_reads(study: Path) -> None:
    results = study / "results"
    for path, schema in (
        ("data/manifest.parquet", tables.MANIFEST),
        ("data/points.parquet", tables.POINTS),
        ("data/normalized.parquet", tables.NORMALIZED),
        ("data/split.parquet", tables.SPLIT),
        ("nodules/infer/zero_shot.parquet", tables.INFER),
        ("nodules/infer/tuned.parquet", tables.INFER),
        ("nodules/localize/medgemma.parquet", tables.LOCALIZE),
        ("nodules/localize/medgemma_responses.parquet", tables.RESPONSES),
        ("nodules/localize/attribution.parquet", tables.LOCALIZE),
        ("nodules/localize/combined.parquet", tables.LOCALIZE),
        ("nodules/localize/cascade.parquet", tables.LOCALIZE),
        ("nodules/infer/tuned_other_form.parquet", tables.INFER),
    ):
        table = tables.read(results / path, schema)
        assert table.num_rows or schema is tables.LOCALIZE, path
    files = (
        "report.html",
        "nodules/train/adapter/adapter_model.safetensors",
        "submission/classification_test_results.csv",
    )
    for path in files:
        assert (results / path).stat().st_size
    assert json.loads((results / "metrics.json").read_text())["nodules"]["classification"]["tuned"]["test"]


@pytest.mark.parametrize(
    ("section", "values", "rules"),
    [
        ("data.normalize", {"high_percentile": 99.0}, ALL_FROM_NORMALIZED),
        ("nodules.train", {"learning_rate": 1.0e-5}, {"nodules_train", *CLASSIFIED, *LOCALIZED, *MEASURE}),
        ("nodules.measure", {"draws": 90}, MEASURE),
        ("nodules.localizers.attribution", {"steps": 3}, LOCALIZED | MEASURE),
        ("nodules.link", {"link_fraction": 0.1}, {*MERGED, *COMBINED, *RANKED, *MEASURE}),
        ("nodules.cascade", {"threshold": "half"}, {"nodules_cascade", *MEASURE}),
        ("nodules.submit", {"threshold": "half"}, {"nodules_submit", *MEASURE}),
        ("nodules.section", {"examples": 1}, {"nodules_section", "report"}),
        ("report", {"title": "Another"}, {"report"}),
        ("weights.pretrain.chest", {"seed": 99}, set()),
        ("predict", {"root": "nowhere"}, set()),
    ],
)
def test_a_changed_parameter_reruns_what_depends_on_it(study: Path, section: str, values: dict, rules: set) -> None:
    before = (study / "params.yaml").read_text()
    try:
        checkouts.change(study, {section: values})
        assert checkouts.planned(study) == rules
        changed = set(json.loads(checkouts.run(study, "dvc", "status", "--json")))
        assert changed <= stages_of(rules, SYSTEMS)
        assert bool(changed) == bool(rules)
        if section == "nodules.localizers.attribution":
            assert not any("medgemma" in name for name in changed), "another row runs again"
    finally:
        (study / "params.yaml").write_text(before)


@pytest.mark.parametrize(
    ("module", "rules", "stages"),
    [
        ("stages/nodules/submit.py", {"nodules_submit"}, {"nodules_submit"}),
        (
            "stages/lib/metrics/thresholds.py",
            None,
            {"nodules_calibrate", "nodules_measure"},
        ),
        ("stages/lib/models/box_2d.py", None, {"nodules_select-medgemma", "nodules_localize-medgemma"}),
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
        assert plan == rules if rules is not None else stages_of(plan, ("zero_shot", "tuned", "medgemma")) >= stages
        assert "nodules_train" not in plan
        changed = set(json.loads(checkouts.run(study, "dvc", "status", "--json")))
        assert stages <= changed
        assert "nodules_train" not in changed
        if "box_2d" in module:
            assert not any("attribution" in name for name in changed), "another kind runs again"
    finally:
        path.write_text(before)


def test_a_changed_image_outside_of_the_pipeline_reruns_ingest_under_both_engines(tmp_path: Path) -> None:
    folder, images = checkouts.copy(tmp_path / "checkout"), tmp_path / "images"
    checkouts.run(folder, "snakemake", "--cores", "1", "results/data/simulate")
    shutil.move(folder / "results" / "data" / "simulate", images)
    checkouts.change(folder, {"data.ingest": {"root": str(images)}})
    checkouts.run(folder, "snakemake", "--cores", "1", "results/data/manifest.parquet")
    checkouts.run(folder, "dvc", "commit", "-f", "data_ingest")
    assert checkouts.planned(folder, "results/data/manifest.parquet") == set()
    assert json.loads(checkouts.run(folder, "dvc", "status", "--json", "data_ingest")) == {}
    one, other = sorted((images / "nih_filtered_images").glob("*.png"))[:2]
    one.write_bytes(other.read_bytes())
    assert checkouts.planned(folder, "results/data/manifest.parquet") == {"data_ingest"}
    assert set(json.loads(checkouts.run(folder, "dvc", "status", "--json", "data_ingest"))) == {"data_ingest"}


def test_an_experiment_changes_what_it_should_and_both_engines_stay_clean(study: Path) -> None:
    """Last of the file, since it changes the results: `dvc exp run -S`, and the comparison of it with what was."""
    before = (study / "results" / "data" / "split.parquet").read_bytes()
    text = checkouts.run(study, "dvc", "exp", "run", "-n", "weighty", "-S", "nodules.measure.draws=120")
    assert "'nodules_measure'" in text
    assert "Running stage 'nodules_train'" not in text
    assert checkouts.planned(study) == set()
    assert (study / "results" / "data" / "split.parquet").read_bytes() == before
    assert "weighty" in checkouts.run(study, "dvc", "exp", "list", "--name-only")
    checkouts.run(study, "git", "add", "-A")
    checkouts.run(study, "git", "commit", "-qm", "results")
    checkouts.run(study, "dvc", "exp", "run", "-n", "weightier", "-S", "nodules.measure.draws=130")
    table = checkouts.run(study, "python", "-m", "workflow.compare", "HEAD", "weightier")
    assert "nodules.measure.draws" in table
    assert "roc_auc" in table


def test_the_same_seed_gives_the_same_bytes(study: Path, tmp_path: Path) -> None:
    """A second run, by Snakemake instead of DVC and in another folder: every Parquet file is the same."""
    again = checkouts.copy(tmp_path / "again")
    targets = ("results/nodules/infer/tuned_other_form.parquet", "results/nodules/localize/cascade.parquet")
    checkouts.run(again, "snakemake", "--cores", "1", "--", *targets)
    found = sorted(path.relative_to(again) for path in again.rglob("results/**/*.parquet"))
    assert len(found) >= 7
    for path in found:
        assert (again / path).read_bytes() == (study / path).read_bytes(), path


def test_predict_writes_both_files_and_touches_no_training_artifact(study: Path) -> None:
    watched = [path for path in (study / "results" / "nodules" / "train").rglob("*") if path.is_file()]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in watched}
    checkouts.run(study, "snakemake", "--cores", "2", "predict")
    rows = (study / "results/predict/submission/classification_test_results.csv").read_text().splitlines()
    images = list((study / "results/data/simulate/unlabelled").glob("*.png"))
    assert rows[0] == "file_name,label,confidence"
    assert len(rows) == 1 + len(images)
    points = (study / "results/predict/submission/localization_test_results.csv").read_text().splitlines()
    assert points[0] == "file_name,x,y,confidence"
    assert (study / "results/predict/unanswered.csv").read_text() == "file_name,reason\n"
    parameters = (study / "params.yaml").read_text()
    try:
        changes = {"max_rejected": 3, "accept": ["view"], "outputs": ["csv", "json", "sr"], "list_rejected": True}
        checkouts.change(study, {"predict": changes})
        assert checkouts.planned(study) == set()
        checkouts.run(study, "snakemake", "--cores", "2", "predict")
        assert checkouts.planned(study) == set()
    finally:
        (study / "params.yaml").write_text(parameters)
    told = [json.loads(path.read_text()) for path in (study / "results/predict/objects/json").iterdir()]
    again = (study / "results/predict/submission/classification_test_results.csv").read_text().splitlines()
    assert again == rows
    assert sorted(f"{one['image_id']}.png,{one['decision']},{one['confidence']}" for one in told) == sorted(rows[1:])
    assert not (study / "results/predict/objects/sr").exists()  # the images are no DICOM images
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in watched}


def test_the_number_of_jobs_does_not_grow_with_the_number_of_images(study: Path, tmp_path: Path) -> None:
    """A manifest of 63,179 rows and one of 60 give the same plan."""
    plans = []
    for rows in (60, 63_179):
        folder = checkouts.copy(tmp_path / str(rows))
        shutil.copytree(study / "results" / "data" / "simulate", folder / "results" / "data" / "simulate")
        manifest = tables.from_rows([_image(index) for index in range(rows)], tables.MANIFEST)
        tables.write(folder / "results" / "data" / "manifest.parquet", manifest, tables.MANIFEST)
        tables.write(folder / "results" / "data" / "points.parquet", tables.from_rows([], tables.POINTS), tables.POINTS)
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
        assert {"data_ingest", "nodules_train", "report"} <= plan
        assert "data_simulate" not in plan
        assert "data_simulate" not in yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
