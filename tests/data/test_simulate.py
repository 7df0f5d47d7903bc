"""`simulate`: a folder in the challenge's layout, whose truth is exact and whose labels leak nowhere."""

import csv
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from folders import folder_params

from stages.data import ingest, simulate
from stages.lib.core.errors import ParamsError
from stages.lib.core.params import parse
from stages.lib.metrics import sources

ROOT = Path(__file__).parents[2]
VALUES = {
    "seed": 3,
    "nih_patients": 5,
    "max_images_per_patient": 3,
    "nih_side_px": 72,
    "rgba_fraction": 0.2,
    "lidc_images": 3,
    "lidc_negative_images": 0,
    "lidc_side_px": 80,
    "prevalence": 0.4,
    "nih_marked_fraction": 0.0,
    "marker_fraction_positive": 0.0,
    "marker_fraction_negative": 0.0,
    "max_nodules": 3,
    "min_diameter_mm": 8.0,
    "max_diameter_mm": 30.0,
    "min_contrast": 0.2,
    "max_contrast": 1.0,
    "unlabelled_images": 4,
}
SMALL = simulate.Params(**VALUES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulate") / "data"
    simulate.write(SMALL, out, workers=1)
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def read(path: Path) -> np.ndarray:
    import cv2

    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels


def test_the_folder_has_the_layout_of_the_challenge(folder):
    assert sorted(p.name for p in folder.iterdir()) == sorted([*simulate.FOLDERS, *simulate.COLUMNS])
    for name, columns in simulate.COLUMNS.items():
        with (folder / name).open(newline="") as handle:
            assert tuple(next(csv.reader(handle))) == columns


def test_every_image_has_one_row_and_every_row_an_image(folder):
    named = [row["file_name"] for row in rows(folder / "classification_labels.csv")]
    stored = [p.name for kind in (simulate.NIH, simulate.LIDC) for p in (folder / kind).iterdir()]
    assert len(named) == len(set(named)) > 5
    assert sorted(named) == sorted(stored)


def test_the_spacing_turns_a_diameter_in_pixels_into_millimetres(folder):
    spacing = {row["file_name"]: float(row["spacing_mm"]) for row in rows(folder / "classification_labels.csv")}
    lesions = rows(folder / "lesions.csv")
    assert len({spacing[row["file_name"]] for row in lesions}) > 1
    for row in lesions:
        wanted = float(row["diameter_mm"])
        assert float(row["diameter_px"]) * spacing[row["file_name"]] == pytest.approx(wanted, rel=1e-3)


def test_view_sex_and_age_are_of_the_patient_and_the_image_and_change_no_pixel(folder, tmp_path, monkeypatch):
    table = rows(folder / "classification_labels.csv")
    people = {}
    for row in (row for row in table if not row["LIDC_ID"]):
        people.setdefault(row["file_name"][:8], set()).add((row["sex"], row["age_years"]))
    assert len(people) == 5 and all(len(told) == 1 for told in people.values())
    assert {row["view"] for row in table} == {"PA", "AP"} and {row["sex"] for row in table} == {"F", "M"}
    assert all(18 <= int(row["age_years"]) <= 95 for row in table)
    monkeypatch.setattr(simulate, "context", lambda order, seed: {"view": "PA", "sex": "F", "age_years": 50})
    simulate.write(SMALL, tmp_path / "alike", workers=1)
    before, after = contents(folder), contents(tmp_path / "alike")
    assert [name for name in before if before[name] != after[name]] == ["classification_labels.csv"]


def test_labels_are_the_challenges_words_and_positives_come_last(folder):
    labels = [row["label"] for row in rows(folder / "classification_labels.csv")]
    assert set(labels) == {"No Finding", "Nodule"}
    assert labels == sorted(labels)


def test_an_image_is_positive_exactly_if_the_truth_has_a_nodule_on_it(folder):
    lesions = {row["file_name"] for row in rows(folder / "lesions.csv")}
    positive = {row["file_name"] for row in rows(folder / "classification_labels.csv") if row["label"] == "Nodule"}
    assert lesions == positive != set()


def test_only_lidc_images_have_points_and_those_are_the_true_centres_in_whole_pixels(folder):
    points = rows(folder / "localization_labels.csv")
    truth = [row for row in rows(folder / "lesions.csv") if len(row["file_name"]) == len("0001.png")]
    assert {row["file_name"] for row in points} == {p.name for p in (folder / simulate.LIDC).iterdir()}
    assert len(points) == len(truth) >= 3
    for point, lesion in zip(points, truth, strict=True):
        assert point["file_name"] == lesion["file_name"]
        assert abs(int(point["x"]) - float(lesion["x"])) <= 0.501
        assert abs(int(point["y"]) - float(lesion["y"])) <= 0.501


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """The same study with negative 16-bit images, and with half of the positive 8-bit images marked."""
    out = tmp_path_factory.mktemp("mixed") / "data"
    simulate.write(replace(SMALL, lidc_negative_images=2, nih_marked_fraction=0.5), out, workers=1)
    return out


def test_negative_lidc_images_and_marked_nih_images_change_no_image_that_there_was(folder, mixed):
    before, after = contents(folder), contents(mixed)
    new = {f"{simulate.LIDC}/0004.png", f"{simulate.LIDC}/0005.png"}
    assert set(after) - set(before) == new
    assert all(before[name] == after[name] for name in before if name.endswith(".png"))
    labels = {row["file_name"]: (row["label"], row["LIDC_ID"]) for row in rows(mixed / "classification_labels.csv")}
    assert labels["0004.png"] == ("No Finding", "LIDC-IDRI-0004")
    assert len({after[name] for name in new}) == 2
    assert all(read(mixed / name).dtype == np.uint16 for name in new)


def test_an_exact_fraction_of_the_positive_nih_images_is_marked_at_the_true_centres(mixed):
    truth = [row for row in rows(mixed / "lesions.csv") if len(row["file_name"]) > len("0001.png")]
    points = [row for row in rows(mixed / "localization_labels.csv") if len(row["file_name"]) > len("0001.png")]
    positive, marked = ({row["file_name"] for row in table} for table in (truth, points))
    assert marked < positive
    assert len(marked) == round(0.5 * len(positive)) > 0
    wanted = [(n["file_name"], round(float(n["x"])), round(float(n["y"]))) for n in truth if n["file_name"] in marked]
    assert [(p["file_name"], int(p["x"]), int(p["y"])) for p in points] == wanted


def test_ingest_takes_them_and_both_sources_have_marked_and_negative_images(mixed):
    found = ingest.ingest(folder_params(mixed, max_pixels=100_000))
    manifest, points = found.manifest, found.points
    marked = set(points["image_id"].to_pylist())
    found = sources.of_images(
        [
            (row["source"], row["image_id"] in marked, row["label"] == 0 and row["image_id"] not in marked)
            for row in manifest.to_pylist()
        ]
    )
    assert not found.across
    assert found.marked["lidc"] == 3 and found.negative["lidc"] == 2 and found.marked["nih"] > 0
    assert {row["status"] for row in manifest.to_pylist()} == {"ok"}
    assert {row["problem"] for row in manifest.to_pylist()} == {None}
    patients = [row["patient_id"] for row in manifest.to_pylist() if row["source"] == "lidc"]
    assert len(patients) == len(set(patients)) == 5


def test_a_marker_is_drawn_outside_the_lungs_on_an_exact_fraction_of_each_class_and_changes_nothing_else():
    params = replace(SMALL, nih_patients=40, lidc_negative_images=8, marker_fraction_positive=0.75)
    params = replace(params, marker_fraction_negative=0.25)
    orders = [order for order in simulate.plan(params) if order.folder != simulate.UNLABELLED]
    for positive, fraction in ((True, 0.75), (False, 0.25)):
        of_class = [order for order in orders if bool(order.nodules) == positive]
        assert sum(order.marker for order in of_class) == round(fraction * len(of_class)) > 0
    assert not any(order.marker for order in simulate.plan(params) if order.folder == simulate.UNLABELLED)
    for order in [order for order in orders if order.marker and not order.rgba][:6]:
        with_it = simulate.simulate(order, params).pixels
        without = simulate.simulate(replace(order, marker=False), params).pixels
        changed = np.argwhere(with_it != without)
        assert 0 < len(changed) < 0.02 * without.size
        assert changed[:, 0].max() < 0.35 * without.shape[0]
        assert (changed[:, 1].max() < 0.2 * without.shape[1]) or (changed[:, 1].min() > 0.8 * without.shape[1])
        assert with_it.max() > 0.9 * (np.iinfo(np.uint8).max if order.kind == "nih" else without.max())
        assert (with_it >= without).all()


def test_nih_images_are_square_with_8_bits_and_some_have_an_opaque_fourth_channel(folder):
    images = [read(path) for path in (folder / simulate.NIH).iterdir()]
    assert all(p.dtype == np.uint8 and p.shape[:2] == (72, 72) for p in images)
    coloured = [p for p in images if p.ndim == 3]
    assert 0 < len(coloured) < len(images)
    for pixels in coloured:
        assert pixels.shape[2] == 4 and (pixels[..., 3] == 255).all()
        assert (pixels[..., :1] == pixels[..., :3]).all()


def test_lidc_images_have_16_bits_use_a_part_of_the_range_and_are_not_all_square(folder):
    images = [read(path) for path in (folder / simulate.LIDC).iterdir()]
    assert all(p.dtype == np.uint16 and p.ndim == 2 for p in images)
    assert all(p.min() >= 60 and 2000 < p.max() < 14_000 for p in images)
    shapes = [(o.height_px, o.width_px) for o in simulate.plan(replace(SMALL, lidc_images=40)) if o.kind == "lidc"]
    assert 0 < sum(h == w for h, w in shapes) < len(shapes)


def test_a_patient_has_several_images_numbered_from_nought(folder):
    visits = Counter(path.name[:8] for path in (folder / simulate.NIH).iterdir())
    assert len(visits) == 5 and 1 < max(visits.values()) <= 3
    for patient, count in visits.items():
        assert (folder / simulate.NIH / f"{patient}_{count - 1:03d}.png").is_file()


def test_the_unlabelled_folder_holds_images_only_and_its_truth_lies_outside(folder):
    names = sorted(p.name for p in (folder / simulate.UNLABELLED).iterdir())
    truth = rows(folder / "unlabelled_truth.csv")
    assert names == sorted({row["file_name"] for row in truth}) and len(names) == 4
    assert len({row["file_name"] for row in truth if row["label"] == "Nodule"}) == 2
    assert all((row["x"] == "") == (row["label"] == "No Finding") for row in truth)
    assert {read(folder / simulate.UNLABELLED / name).dtype.itemsize for name in names} == {1, 2}


def test_equal_parameters_give_equal_bytes_whatever_the_number_of_workers(folder, tmp_path):
    simulate.write(SMALL, tmp_path / "again", workers=2)
    assert contents(tmp_path / "again") == contents(folder)


def test_another_seed_gives_other_images(folder, tmp_path):
    simulate.write(replace(SMALL, seed=4, lidc_images=1, unlabelled_images=0), tmp_path / "other", workers=1)
    name = f"{simulate.LIDC}/0001.png"
    assert contents(tmp_path / "other")[name] != contents(folder)[name]


def test_an_image_does_not_depend_on_how_many_others_there_are():
    few, many = simulate.plan(SMALL), simulate.plan(replace(SMALL, unlabelled_images=9))
    assert few[: -SMALL.unlabelled_images] == many[:-9]
    one = next(order for order in few if order.folder == simulate.NIH)
    assert np.array_equal(
        simulate.simulate(one, SMALL).pixels, simulate.simulate(one, replace(SMALL, lidc_images=9)).pixels
    )


def test_the_prevalence_is_exact():
    for prevalence in (0.0, 0.25, 1.0):
        orders = [o for o in simulate.plan(replace(SMALL, nih_patients=40, prevalence=prevalence)) if o.kind == "nih"]
        orders = [o for o in orders if o.folder == simulate.NIH]
        assert sum(order.nodules > 0 for order in orders) == round(prevalence * len(orders))


def test_patients_of_different_folders_are_different():
    orders = simulate.plan(SMALL)
    owners = [{o.patient for o in orders if o.folder == folder} for folder in simulate.FOLDERS]
    assert sum(map(len, owners)) == len(set().union(*owners))


def test_an_older_folder_is_replaced_whole(folder, tmp_path):
    out = tmp_path / "data"
    (out / simulate.NIH).mkdir(parents=True)
    (out / simulate.NIH / "stale.png").write_bytes(b"old")
    simulate.write(replace(SMALL, nih_patients=1, lidc_images=1, unlabelled_images=0), out, workers=1)
    assert not (out / simulate.NIH / "stale.png").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_a_failure_leaves_neither_a_half_folder_nor_a_scratch_one(tmp_path, monkeypatch):
    out = tmp_path / "data"
    out.mkdir()
    (out / "kept.txt").write_text("older")

    def fail(order, params):
        raise OSError("disk full")

    monkeypatch.setattr(simulate, "simulate", fail)
    with pytest.raises(OSError, match="disk full"):
        simulate.write(SMALL, out, workers=1)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    assert (out / "kept.txt").read_text() == "older"


def test_all_wrong_ranges_are_named_at_once():
    wrong = VALUES | {"min_diameter_mm": 40.0, "min_contrast": 0.9, "max_contrast": 0.3, "nih_side_px": 20}
    with pytest.raises(ParamsError) as caught:
        parse({"simulate": wrong}, {"simulate": simulate.Params})
    for key in ("min_diameter_mm", "min_contrast", "nih_side_px"):
        assert key in str(caught.value)


def test_no_parameter_has_a_default():
    with pytest.raises(ParamsError) as caught:
        parse({"simulate": {}}, {"simulate": simulate.Params})
    assert len(caught.value.problems) == len(VALUES)


def test_the_command_writes_the_folder(tmp_path):
    values = VALUES | {"nih_patients": 1, "max_images_per_patient": 1, "lidc_images": 1, "unlabelled_images": 0}
    simulate.main(["--params", json.dumps({"data": {"simulate": values}}), "--out", str(tmp_path / "made")])
    assert len(list((tmp_path / "made").rglob("*.png"))) == 2


def test_the_help_loads_neither_opencv_nor_scipy():
    code = "import sys; import stages.data.simulate; print({'cv2', 'scipy', 'torch', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_whole_image_statistics_do_not_tell_the_label_of_an_nih_image():
    import cv2
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    wanted = replace(SMALL, seed=2, nih_patients=350, nih_side_px=112, prevalence=0.5, rgba_fraction=0.0)
    orders = [order for order in simulate.plan(wanted) if order.folder == simulate.NIH]
    assert len(orders) >= 500
    images = [simulate.simulate(order, wanted).pixels for order in orders]
    label = np.array([order.nodules > 0 for order in orders])
    patient = np.array([order.patient for order in orders])
    single = {
        "mean": [p.mean() for p in images],
        "spread": [p.std() for p in images],
        "maximum": [p.max() for p in images],
        "median": [np.median(p) for p in images],
        "file size": [len(cv2.imencode(".png", p)[1]) for p in images],
    }
    auc = {name: roc_auc_score(label, values) for name, values in single.items()}
    histograms = np.sqrt([np.histogram(p, 64, (0, 256))[0] / p.size for p in images])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    guess = cross_val_predict(model, histograms, label, groups=patient, cv=GroupKFold(5), method="predict_proba")
    auc["histogram"] = roc_auc_score(label, guess[:, 1])
    assert all(0.45 <= value <= 0.55 for value in auc.values()), auc
