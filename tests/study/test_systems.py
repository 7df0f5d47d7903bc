"""Systems are data: a new kind of localizer or classifier is one module and one row, under both engines."""

import json
import shutil
from pathlib import Path

import brightest
import brightness
import checkout as checkouts
import numpy as np
import pytest
import yaml

from stages.lib.core import documents, tables
from stages.lib.detect import detection
from stages.lib.report import blocks, palette

MEASURED = {"nodules_measure", "nodules_section", "report"}
STANDS_ON_ALL = {"nodules_calibrate", "nodules_cascade", "nodules_submit", *MEASURED}
FAKES = Path(__file__).parents[1] / "fakes"


def test_a_kind_offers_its_parameters_and_one_function() -> None:
    spot = brightest.localizer(brightest.Params(prompts=("where",)), None)
    image = np.zeros((4, 8), np.uint8)
    image[1, 6] = 255
    (response,) = spot([detection.Query("image", lambda: image, "where")])
    assert (response.detections[0].u, response.detections[0].v) == (6.5 / 8, 1.5 / 4)
    classifier = brightness.classifier(brightness.Params(scale=51.0), None)
    assert classifier.logits([np.full((2, 2), 255, np.uint8)]).tolist() == [[-5.0, 5.0, 1.0]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study, to which a classifier and a localizer of new kinds came, and `dvc repro` has run both."""
    folder = checkouts.finished(tmp_path_factory, tmp_path_factory.mktemp("systems") / "checkout")
    checkouts.change(folder, {"nodules.submit": {"localizer": "spot", "classifier": "brightness"}})
    shutil.copy(FAKES / "brightest.py", folder / "stages/lib/detect/kinds")
    shutil.copy(FAKES / "brightness.py", folder / "stages/lib/models/classifiers")
    document = yaml.safe_load((folder / "params.yaml").read_text())
    document["nodules"]["localizers"]["spot"] = {"kind": "brightest", "prompts": ["Where is it brightest?"]}
    document["nodules"]["classifiers"]["brightness"] = {"kind": "brightness", "scale": 64.0}
    (folder / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    checkouts.run(folder, "python", "-m", "workflow.dvc_sync")
    checkouts.run(folder, "dvc", "repro")
    return folder


@pytest.mark.slow
def test_both_engines_ran_all_of_them_and_have_nothing_to_do(study: Path) -> None:
    stages = yaml.safe_load((study / "dvc.yaml").read_text())["stages"]
    assert {"nodules_infer-brightness", "nodules_select-spot", "nodules_localize-spot"} <= set(stages)
    assert checkouts.planned(study) == set()
    assert json.loads(checkouts.run(study, "dvc", "status", "--json")) == {}


@pytest.mark.slow
def test_they_are_measured_and_on_the_page(study: Path) -> None:
    metrics = json.loads((study / "results/metrics.json").read_text())["nodules"]
    assert metrics["classification"]["brightness"]["test"]["roc_auc"]["n"] > 0
    assert metrics["localization"]["spot"]["test/negatives"]["false_points_per_image"]["value"] > 0
    page = (study / "results/report.html").read_text()
    assert "Brightness" in page
    assert "Spot" in page


@pytest.mark.slow
def test_they_can_be_submitted(study: Path) -> None:
    infer = tables.read(study / "results/nodules/infer/brightness.parquet", tables.INFER)
    rows = (study / "results/submission/classification_test_results.csv").read_text().splitlines()[1:]
    assert len(rows) == sum(split == "test" for split in infer["split"].to_pylist())
    scores = {f"{score:.6f}" for score in infer["score_calibrated"].to_pylist()}
    assert {f"{float(row.rsplit(',', 1)[1]):.6f}" for row in rows} <= scores


@pytest.mark.slow
def test_a_new_row_runs_itself_and_what_stands_on_it_alone(study: Path) -> None:
    before = (study / "params.yaml").read_text()
    try:
        document = yaml.safe_load(before)
        document["nodules"]["classifiers"]["darker"] = {"kind": "brightness", "scale": 128.0}
        (study / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        text = checkouts.run(study, "snakemake", "-n", "--nocolor")
        assert checkouts.planned(study) == {"nodules_infer_shard", "nodules_infer", *STANDS_ON_ALL}
        assert text.count("wildcards: classifier=") == 2
        assert text.count("wildcards: classifier=darker") == 2
    finally:
        (study / "params.yaml").write_text(before)


@pytest.mark.slow
def test_what_a_row_is_called_reruns_no_model(study: Path) -> None:
    before = (study / "params.yaml").read_text()
    try:
        document = yaml.safe_load(before)
        document["nodules"]["localizers"]["spot"]["label"] = "Brightest spot"
        (study / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        assert checkouts.planned(study) == MEASURED
    finally:
        (study / "params.yaml").write_text(before)


@pytest.mark.slow
def test_eight_localizers_and_eight_classifiers_are_measured_each_with_a_look_of_its_own(study: Path) -> None:
    """Last of the file, since it changes the study."""
    document = yaml.safe_load((study / "params.yaml").read_text())
    rows = document["nodules"]
    for number in range(8 - len(rows["localizers"])):
        rows["localizers"][f"spot_{number}"] = {**rows["localizers"]["spot"], "label": f"Spot {number}"}
    for number in range(8 - len(rows["classifiers"])):
        rows["classifiers"][f"glow_{number}"] = {"kind": "brightness", "label": f"Glow {number}", "scale": 32.0}
    rows["submit"] |= {"localizer": "spot_3", "classifier": "glow_1"}
    (study / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    checkouts.run(study, "python", "-m", "workflow.dvc_sync")
    checkouts.run(study, "snakemake", "--cores", "2")
    metrics = json.loads((study / "results/metrics.json").read_text())["nodules"]
    assert len(metrics["classification"]) == 8
    assert len(metrics["localization"]) == 8 + 2  # combined and cascade
    looks = {}
    for part in documents.read(study / "results/nodules/section.json", blocks.Section).parts:
        for block in part.blocks:
            for column in block.columns if isinstance(block, blocks.Table) else ():
                if column.look is not None:
                    looks[column.title] = column.look
    assert len(looks) == len(set(looks.values())) == 8 + 8 + 2
    assert len({(palette.style(look).split()[0], palette.mark(5, 5, look)) for look in looks.values()}) == len(looks)
    page = (study / "results/report.html").read_text()
    assert all(label in page for label in looks)
    rows_ = (study / "results/submission/classification_test_results.csv").read_text().splitlines()
    assert len(rows_) > 10
    checkouts.run(study, "dvc", "commit", "-f")
    assert json.loads(checkouts.run(study, "dvc", "status", "--json")) == {}
