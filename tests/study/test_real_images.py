"""The whole study on a few real images in the challenge's layout: the way of the data, not any accuracy."""

import csv
import json
from pathlib import Path

import checkout as checkouts
import cv2
import numpy as np
import pytest

from stages.lib.core import tables

pytestmark = [pytest.mark.slow, pytest.mark.real_images]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from checkout import REAL_IMAGES

    changes = {
        "study": {"shards": 1},
        "data.ingest": {"root": str(REAL_IMAGES)},
        "data.split": {"fractions": [1 / 3, 1 / 3, 1 / 3]},
        "nodules.train": {"max_steps": 4, "eval_steps": 2, "save_steps": 2},
        "nodules.measure": {"draws": 100},
        "predict": {"root": str(REAL_IMAGES / "lidc_png_16_bit")},
    }
    folder = checkouts.copy(tmp_path_factory.mktemp("real") / "checkout", changes)
    checkouts.run(folder, "snakemake", "--cores", "2")
    return folder


def test_every_image_is_in_the_manifest_and_none_is_rejected(study: Path, real_images: Path) -> None:
    manifest = tables.read(study / "results/data/manifest.parquet", tables.MANIFEST).to_pylist()
    files = {path.name for path in real_images.glob("*/*.png")}
    assert {row["file_name"] for row in manifest} == files
    assert len(files) == 31
    assert {row["status"] for row in manifest} == {"ok"}
    assert tables.read(study / "results/data/points.parquet", tables.POINTS).num_rows == 15


def test_no_image_is_saturated(study: Path) -> None:
    images = tables.read(study / "results/data/normalized.parquet", tables.NORMALIZED).to_pylist()
    for image in images:
        pixels = cv2.imread(str(study / "results" / image["png"]), cv2.IMREAD_UNCHANGED)
        assert pixels.dtype == np.uint8
        assert len(np.unique(pixels)) > 100, image["image_id"]
        assert np.mean(pixels == 255) < 0.03, image["image_id"]


def test_no_patient_is_in_two_splits_and_each_split_has_images(study: Path) -> None:
    rows = tables.read(study / "results/data/split.parquet", tables.SPLIT).to_pylist()
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["patient_id"], set()).add(row["split"])
    assert all(len(names) == 1 for names in found.values())


def test_the_challenge_s_files_have_a_row_for_each_image_and_each_point(study: Path) -> None:
    split = tables.read(study / "results/data/split.parquet", tables.SPLIT).to_pylist()
    tested = {row["image_id"] for row in split if row["split"] == "test"}
    folder = study / "results/submission"
    with (folder / "classification_test_results.csv").open(newline="") as file:
        images = list(csv.DictReader(file))
    assert {Path(row["file_name"]).stem for row in images} == tested
    assert {row["label"] for row in images} <= {"Nodule", "No Finding"}
    with (folder / "localization_test_results.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    sizes = {
        row["file_name"]: (row["width_px"], row["height_px"])
        for row in tables.read(study / "results/data/manifest.parquet", tables.MANIFEST).to_pylist()
    }
    for point in points:
        width, height = sizes[point["file_name"]]
        assert -0.5 <= float(point["x"]) <= width - 0.5
        assert -0.5 <= float(point["y"]) <= height - 0.5


def test_the_report_has_numbers_and_says_what_it_does_not_know(study: Path) -> None:
    metrics = json.loads((study / "results/metrics.json").read_text())
    assert metrics["nodules"]["counts"]["images"] == 31
    page = (study / "results/report.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_unlabelled_images_get_both_files(study: Path) -> None:
    checkouts.run(study, "snakemake", "--cores", "2", "predict")
    rows = (study / "results/predict/submission/classification_test_results.csv").read_text().splitlines()
    assert len(rows) == 1 + 8
