"""`lofi.simulate`: a folder in the project's own layout whose boxes lie on its images."""

import csv
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.lib.core.errors import ParamsError
from stages.lib.core.params import parse
from stages.lofi import simulate

ROOT = Path(__file__).parents[2]
VALUES = {
    "seed": 3,
    "train_images": 14,
    "val_images": 4,
    "test_images": 6,
    "max_images_per_patient": 2,
    "side_px": 80,
    "padded_fraction": 0.5,
    "normal_fraction": 0.1,
    "max_nodules": 3,
    "min_diameter_mm": 16.0,
    "max_diameter_mm": 42.0,
    "min_contrast": 0.5,
    "max_contrast": 1.0,
    "heart_fraction": 0.4,
    "pacemaker_fraction": 0.3,
    "opacity_fraction": 0.4,
    "effusion_fraction": 0.4,
    "sentences": 5,
    "placed_fraction": 0.5,
    "jitter_fraction": 0.05,
    "missed_fraction": 0.2,
}
SMALL = simulate.Params(**VALUES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulate") / "data"
    simulate.write(SMALL, out, workers=1)
    return out


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(newline="") as handle:
        return list(csv.DictReader(handle))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    import cv2

    found = {}
    for path in sorted((folder / "images").iterdir()):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert pixels is not None and pixels.dtype == np.uint8 and pixels.ndim == 2
        found[path.name] = (pixels.shape[1], pixels.shape[0])
    return found


def test_every_image_has_one_row_a_report_and_a_file(folder) -> None:
    named = [row["image"] for row in rows(folder, simulate.IMAGES)]
    assert len(named) == len(set(named)) == 24
    assert set(named) == set(sizes(folder)) == {row["image"] for row in rows(folder, simulate.SENTENCES)}


def test_each_split_has_as_many_images_as_asked_and_patients_of_its_own(folder) -> None:
    table = rows(folder, simulate.IMAGES)
    assert Counter(row["split"] for row in table) == {"train": 14, "val": 4, "test": 6}
    splits = defaultdict(set)
    for row in table:
        splits[row["patient_id"]].add(row["split"])
    assert all(len(found) == 1 for found in splits.values()) and len(splits) < 24
    assert len({row["study_id"] for row in table}) == 24


def test_sentences_of_a_report_are_numbered_from_0_in_its_order(folder) -> None:
    numbers = defaultdict(list)
    for row in rows(folder, simulate.SENTENCES):
        numbers[row["image"]].append(int(row["number"]))
    assert all(found == list(range(len(found))) and len(found) >= 5 for found in numbers.values())


def test_boxes_lie_on_their_image_and_belong_to_a_sentence_that_tells_of_something(folder) -> None:
    size = sizes(folder)
    told = {(row["image"], row["number"]): row["abnormal"] for row in rows(folder, simulate.SENTENCES)}
    boxes = rows(folder, simulate.BOXES)
    assert len(boxes) > 30
    for row in boxes:
        x0, y0, x1, y1 = (float(row[edge]) for edge in ("x0", "y0", "x1", "y1"))
        width, height = size[row["image"]]
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
        assert told[row["image"], row["number"]] == "true"
    first = {(row["image"], row["number"]) for row in boxes if row["reader"] == "first"}
    assert first == {key for key, abnormal in told.items() if abnormal == "true"}


def test_only_images_that_are_not_for_training_have_a_second_reader(folder) -> None:
    split = {row["image"]: row["split"] for row in rows(folder, simulate.IMAGES)}
    second = [split[row["image"]] for row in rows(folder, simulate.BOXES) if row["reader"] == "second"]
    assert set(second) == {"val", "test"}


def test_the_second_reader_is_near_the_truth_and_misses_some_of_it() -> None:
    truth = [(10.0, 10.0, 30.0, 40.0)] * 400
    read = simulate.second_reading(np.random.default_rng(0), truth, 80, 80, SMALL)
    assert len(read) / len(truth) == pytest.approx(0.8, abs=0.06)
    off = np.array(read) - truth[0]
    assert off.std(0) == pytest.approx([1.0, 1.5, 1.0, 1.5], rel=0.2)
    exact = replace(SMALL, jitter_fraction=0.0, missed_fraction=0.0)
    assert simulate.second_reading(np.random.default_rng(0), truth[:2], 80, 80, exact) == truth[:2]
    edge = simulate.second_reading(np.random.default_rng(1), [(0.0, 0.0, 80.0, 80.0)] * 50, 80, 80, SMALL)
    assert np.array(edge).min() >= 0 and np.array(edge).max() <= 80


def test_another_second_reader_changes_no_image_and_no_sentence(folder, tmp_path) -> None:
    simulate.write(replace(SMALL, jitter_fraction=0.2), tmp_path / "other", workers=1)
    before, after = contents(folder), contents(tmp_path / "other")
    assert [name for name in before if before[name] != after[name]] == [simulate.BOXES]


def test_the_number_of_processes_changes_no_byte(folder, tmp_path) -> None:
    simulate.write(SMALL, tmp_path / "two", workers=2)
    assert contents(folder) == contents(tmp_path / "two")


def test_more_images_of_the_last_split_change_none_of_the_others(folder, tmp_path) -> None:
    simulate.write(replace(SMALL, test_images=8, max_images_per_patient=2), tmp_path / "more", workers=1)
    before, after = contents(folder), contents(tmp_path / "more")
    trained = [f"images/{row['image']}" for row in rows(folder, simulate.IMAGES) if row["split"] != "test"]
    assert all(before[name] == after[name] for name in trained)


def test_images_of_a_patient_agree_about_what_lasts(folder) -> None:
    patients = {row["image"]: row["patient_id"] for row in rows(folder, simulate.IMAGES)}
    lasting = defaultdict(set)
    per_image = defaultdict(set)
    for row in rows(folder, simulate.SENTENCES):
        if row["labels"] in ("heart", "pacemaker") and row["abnormal"] == "true":
            per_image[row["image"]].add(row["labels"])
    for image, patient in patients.items():
        lasting[patient].add(frozenset(per_image[image]))
    assert all(len(found) == 1 for found in lasting.values())
    assert len({next(iter(found)) for found in lasting.values()}) > 1


def test_what_cannot_be_is_refused_all_at_once() -> None:
    wrong = VALUES | {"min_diameter_mm": 50.0, "max_diameter_mm": 45.0, "min_contrast": 0.9, "max_contrast": 0.5}
    with pytest.raises(ParamsError) as error:
        parse({"lofi": {"simulate": wrong | {"side_px": 8}}}, {"lofi.simulate": simulate.Params})
    for words in ("min_diameter_mm up to", "min_contrast up to", "side_px of at least"):
        assert words in str(error.value)


def test_help_does_not_load_opencv() -> None:
    code = "import sys; import stages.lofi.simulate; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
