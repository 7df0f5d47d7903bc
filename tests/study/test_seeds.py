"""A study with two seeds and external data: what is repeated, joined, measured and shown."""

import json
from pathlib import Path

import checkout as checkouts
import pytest
import yaml

from stages.lib.core import tables
from stages.lib.metrics import measures
from stages.lib.metrics.measures import Key, Subject

pytestmark = pytest.mark.slow

AREA = Key("roc_auc")


def elsewhere(folder: Path) -> None:
    """Other simulated images of other patients, in the layout of the challenge."""
    values = {**yaml.safe_load((folder / "params.yaml").read_text())["data"]["simulate"], "seed": 77}
    given = json.dumps({"data": {"simulate": values}})
    checkouts.run(folder, "python", "-m", "stages.data.simulate", "--params", given, "--out", "elsewhere")
    for image in sorted((folder / "elsewhere/nih_filtered_images").iterdir()):
        image.rename(image.with_name(f"9{image.name[1:]}"))
    for name in ("classification_labels.csv", "localization_labels.csv"):
        table = folder / "elsewhere" / name
        table.write_text(table.read_text().replace("\n0000", "\n9000").replace("IDRI-0", "IDRI-9"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study of one localizer, with two seeds and a folder of other data, that Snakemake has run."""
    changes = {
        **checkouts.SMALL,
        "nodules.localizers.medgemma": None,
        "zoo.localizer_cv": {"rivals": ["attribution"]},
        "data.external": {"roots": {"hospital_b": "elsewhere"}},
    }
    changes["study"] = {**changes["study"], "seeds": [0, 4]}
    folder = checkouts.copy(tmp_path_factory.mktemp("seeds") / "checkout", changes)
    elsewhere(folder)
    checkouts.run(folder, "python", "-m", "workflow.dvc_sync")
    checkouts.run(folder, "snakemake", "--cores", "2")
    checkouts.run(folder, "dvc", "commit", "-f")
    return folder


def test_both_engines_know_every_seed_and_have_nothing_to_do(study: Path) -> None:
    stages = yaml.safe_load((study / "dvc.yaml").read_text())["stages"]
    assert {"nodules_train", "seeded_nodules_train-4", "nodules_join", "nodules_calibrate_external-hospital_b"} <= set(
        stages
    )
    assert checkouts.planned(study) == set()
    assert json.loads(checkouts.run(study, "dvc", "status", "--json")) == {}


def test_a_seed_has_another_split_and_another_adapter(study: Path) -> None:
    splits = [tables.read(study / f"results/data/{place}split.parquet", tables.SPLIT) for place in ("", "seeds/4/")]
    assert splits[0]["image_id"] == splits[1]["image_id"]
    assert splits[0]["split"] != splits[1]["split"]
    weights = [
        (study / f"results/nodules/{place}train/adapter/adapter_model.safetensors").read_bytes()
        for place in ("", "seeds/4/")
    ]
    assert weights[0] != weights[1]


def test_the_joined_measures_are_those_of_both_seeds(study: Path) -> None:
    found = measures.by_seed(
        tables.read(study / "results/nodules/measure/over_seeds.parquet", tables.MEASURES), "nodules"
    )
    subject = Subject("comparison", "tuned", "test", "zero_shot")
    values = []
    for seed, place in ((0, ""), (4, "seeds/4/")):
        own = tables.read(study / f"results/nodules/{place}measure/measures.parquet", tables.MEASURES)
        assert found[seed] == measures.from_table(own)["nodules"]
        values.append(found[seed][subject][AREA].value)
    assert found[None][subject][AREA].value == pytest.approx(sum(values) / 2)
    assert found[None][subject][AREA].low < min(values)
    metrics = json.loads((study / "results/metrics.json").read_text())["nodules"]
    assert metrics["over_seeds"]["comparison"]["tuned"]["zero_shot"]["test"]["roc_auc"]["n_seeds"] == 2
    assert metrics["provenance"]["parameters"]["data"]["split"]["seed"] == 1
    assert "Do other seeds say the same?" in (study / "results/report.html").read_text()


def test_other_data_are_measured_with_what_the_study_chose(study: Path) -> None:
    metrics = json.loads((study / "results/metrics.json").read_text())["nodules"]["classification"]
    manifest = tables.read(study / "results/data/external/hospital_b/manifest.parquet", tables.MANIFEST).to_pylist()
    images = [row for row in manifest if row["source"] == "nih" and row["status"] == "ok"]
    for classifier in ("zero_shot", "tuned", "attribution_peak"):
        there = metrics[classifier]["external/hospital_b"]
        assert there["roc_auc"]["n"] == len(images) > 20
        calibration = json.loads((study / f"results/nodules/infer/{classifier}_calibration.json").read_text())
        assert there["sensitivity_at_youden"].get("threshold") == calibration["thresholds"]["youden"]
    assert "External data: Hospital b" in (study / "results/report.html").read_text()


def test_a_patient_of_the_study_among_the_other_data_stops_it(study: Path) -> None:
    split = tables.read(study / "results/data/split.parquet", tables.SPLIT).to_pylist()
    known = next(row for row in split if row["split"] == "train" and row["patient_id"].startswith("nih-"))
    labels = study / "elsewhere/classification_labels.csv"
    name = next(line for line in labels.read_text().splitlines() if line.startswith("9")).split(",")[0]
    other = f"{known['image_id'].split('_')[0]}_777.png"
    (study / "elsewhere/nih_filtered_images" / name).rename(study / "elsewhere/nih_filtered_images" / other)
    labels.write_text(labels.read_text().replace(name, other))
    said = checkouts.run(study, "snakemake", "--cores", "2", "results/report.html", fails=True)
    assert f"external/hospital_b: 1 patients are in training or validation ({known['patient_id']})" in said
