"""Systems are data: a new kind of localizer or classifier is one module and one row, under both engines."""

import json
from pathlib import Path

import checkout as checkouts
import pytest
import yaml

from stages.lib.core import tables

pytestmark = pytest.mark.slow

BRIGHTEST = '''"""The brightest place of a view, as a localizer."""

from collections.abc import Iterator, Sequence

import numpy as np

from stages.lib.core import params
from stages.lib.detect import driver
from stages.lib.detect.detection import Answer, Finding, Question


@params.section
class Params:
    """Nothing to choose but the prompts, which are not looked at."""

    prompts: tuple[params.Text, ...]


def localizer(params: Params, setting: driver.Setting) -> driver.Localizer:
    """Return a localizer that finds one point per view."""

    def ask(questions: Sequence[Question]) -> Iterator[Answer]:
        for question in questions:
            pixels = question.pixels().astype(float)
            v, u = np.unravel_index(pixels.argmax(), pixels.shape)
            place = ((u + 0.5) / pixels.shape[1], (v + 0.5) / pixels.shape[0])
            yield Answer("", "ok", (Finding(*place, box=None, confidence=pixels.max() / 255, phrase=None),))

    return ask
'''
BRIGHTNESS = '''"""Mean brightness, as a classifier."""

import numpy as np

from stages.lib.core import params
from stages.lib.images import normalized
from stages.lib.models.classify import Classifier, Setting


@params.section
class Params:
    """Nothing but a scale."""

    scale: params.PositiveFloat


def classifier(params: Params, setting: Setting) -> Classifier:
    """Return a classifier whose margin is the mean grey value."""

    def logits(images: list[np.ndarray]) -> np.ndarray:
        margin = np.array([image.mean() / params.scale for image in images])
        return np.stack([-margin, margin, np.ones(len(images))], axis=1)

    return Classifier(logits=logits, load=normalized.load)
'''


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study with a third classifier and a third localizer, both of new kinds, that `dvc repro` has run."""
    changes = {**checkouts.SMALL, "nodules.submit": {"localizer": "spot", "classifier": "brightness"}}
    folder = checkouts.copy(tmp_path_factory.mktemp("systems") / "checkout", changes)
    (folder / "stages/lib/detect/kinds/brightest.py").write_text(BRIGHTEST)
    (folder / "stages/lib/models/classifiers/brightness.py").write_text(BRIGHTNESS)
    document = yaml.safe_load((folder / "params.yaml").read_text())
    document["nodules"]["localizers"]["spot"] = {"kind": "brightest", "prompts": ["Where is it brightest?"]}
    document["nodules"]["classifiers"]["brightness"] = {"kind": "brightness", "scale": 64.0}
    (folder / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    checkouts.run(folder, "python", "-m", "workflow.dvc_sync")
    checkouts.run(folder, "dvc", "repro")
    return folder


def test_both_engines_ran_all_of_them_and_have_nothing_to_do(study: Path) -> None:
    stages = yaml.safe_load((study / "dvc.yaml").read_text())["stages"]
    assert {"nodules_infer-brightness", "nodules_select-spot", "nodules_localize-spot"} <= set(stages)
    assert checkouts.planned(study) == set()
    assert json.loads(checkouts.run(study, "dvc", "status", "--json")) == {}


def test_they_are_measured_and_on_the_page(study: Path) -> None:
    metrics = json.loads((study / "results/metrics.json").read_text())
    assert metrics["classification"]["brightness"]["test"]["roc_auc"]["n"] > 0
    assert metrics["localization"]["spot"]["test"]["negatives"]["false_points_per_image"]["value"] > 0
    page = (study / "results/report.html").read_text()
    assert "Brightness" in page
    assert "Spot" in page


def test_they_can_be_submitted(study: Path) -> None:
    infer = tables.read(study / "results/nodules/infer/brightness.parquet", tables.INFER)
    rows = (study / "results/submission/classification_test_results.csv").read_text().splitlines()[1:]
    assert len(rows) == sum(split == "test" for split in infer["split"].to_pylist())
    scores = {f"{score:.6f}" for score in infer["score_calibrated"].to_pylist()}
    assert {f"{float(row.rsplit(',', 1)[1]):.6f}" for row in rows} <= scores


def test_a_new_row_runs_itself_and_what_stands_on_it_alone(study: Path) -> None:
    before = (study / "params.yaml").read_text()
    try:
        document = yaml.safe_load(before)
        document["nodules"]["classifiers"]["darker"] = {"kind": "brightness", "scale": 128.0}
        (study / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        text = checkouts.run(study, "snakemake", "-n", "--nocolor")
        assert checkouts.planned(study) == {"nodules_infer_shard", "nodules_infer", "nodules_measure", "report"}
        assert text.count("wildcards: classifier=") == 2
        assert text.count("wildcards: classifier=darker") == 2
    finally:
        (study / "params.yaml").write_text(before)
