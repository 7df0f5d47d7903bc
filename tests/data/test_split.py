"""The split: whole patients, whole images, every share as asked."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.data import split_file
from stages.data.split import Params, missing_classes, split, unknown_patients
from stages.data.split_file import SplitFile
from stages.lib.core import files, tables
from stages.lib.core.errors import SplitError, SplitFileError


def manifest(images: list[tuple[str, int | None, str]], status: str = "ok") -> pa.Table:
    """A manifest of (patient, label, image) triples."""
    return tables.from_rows(
        [
            {
                "image_id": f"{index:05d}",
                "file_name": f"{index:05d}.png",
                "path": f"images/{index:05d}.png",
                "source": "nih",
                "patient_id": patient,
                "label": label,
                "width_px": 8,
                "height_px": 8,
                "bit_depth": 8,
                "sha256": pixels,
                "pixel_sha256": pixels,
                "status": status,
                "problem": None,
            }
            for index, (patient, label, pixels) in enumerate(images)
        ],
        tables.MANIFEST,
    )


def cohort(patients: int, prevalence: float, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    images = []
    for patient in range(patients):
        for _ in range(1 + int(rng.geometric(0.4))):
            images.append((f"p{patient}", int(rng.random() < prevalence), f"image {len(images)}"))
    return manifest(images)


def parts(table: pa.Table) -> dict[str, set[str]]:
    found = defaultdict(set)
    for row in table.to_pylist():
        found[row["patient_id"]].add(row["split"])
    return found


PARAMS = Params(fractions=(0.8, 0.05, 0.15), unit="patient", folds=0, fold=0, file="none", seed=7)


@settings(max_examples=30, deadline=None)
@given(st.integers(60, 200), st.floats(0.1, 0.5), st.integers(0, 1000))
def test_no_patient_is_in_two_splits(patients: int, prevalence: float, seed: int) -> None:
    table = split(cohort(patients, prevalence, seed), PARAMS)
    assert all(len(names) == 1 for names in parts(table).values())


def test_an_image_under_two_patients_stays_in_one_split() -> None:
    images = [(f"p{index}", index % 2, f"image {index // 2}") for index in range(120)]
    table = split(manifest(images), PARAMS)
    names = defaultdict(set)
    for row in table.to_pylist():
        names[images[int(row["image_id"])][2]].add(row["split"])
    assert all(len(found) == 1 for found in names.values())


def test_patients_linked_through_a_third_stay_together() -> None:
    images = [("a", 1, "one"), ("b", 0, "one"), ("b", 0, "two"), ("c", 1, "two")]
    others = [(f"p{index}", index % 2, f"image {index}") for index in range(100)]
    rows = split(manifest(images + others), PARAMS).to_pylist()
    assert len({row["split"] for row in rows[:4]}) == 1


def test_fractions_and_classes_are_as_asked_within_one_percent() -> None:
    table = split(cohort(3000, 0.1, 1), PARAMS)
    rows = table.to_pylist()
    for label in (0, 1):
        of_label = [row for row in rows if row["label"] == label]
        for name, fraction in zip(("train", "val", "test"), PARAMS.fractions, strict=True):
            found = sum(row["split"] == name for row in of_label) / len(of_label)
            assert abs(found - fraction) < 0.01, (label, name)


def test_image_splits_divide_patients_because_that_was_asked() -> None:
    params = replace(PARAMS, fractions=(0.8, 0.05, 0.15), unit="image", seed=7)
    assert any(len(names) > 1 for names in parts(split(cohort(100, 0.3, 2), params)).values())


def test_another_seed_gives_another_split_and_the_same_seed_the_same() -> None:
    images = cohort(100, 0.3, 3)
    again = replace(PARAMS, fractions=PARAMS.fractions, unit="patient", seed=8)
    assert split(images, PARAMS).equals(split(images, PARAMS))
    assert not split(images, PARAMS).equals(split(images, again))


def test_an_empty_split_is_an_error_with_its_name() -> None:
    with pytest.raises(SplitError, match="is empty: 2 images of 2 patients"):
        split(manifest([("a", 0, "x"), ("b", 1, "y")]), PARAMS)


def test_a_split_of_fraction_zero_may_be_empty() -> None:
    params = replace(PARAMS, fractions=(0.5, 0.0, 0.5), unit="patient", seed=0)
    table = split(manifest([(f"p{i}", i % 2, f"x{i}") for i in range(10)]), params)
    assert "val" not in table["split"].to_pylist()


def test_unlabelled_and_rejected_images_take_no_part() -> None:
    with pytest.raises(SplitError, match="none of 2 images"):
        split(manifest([("a", None, "x"), ("b", None, "y")]), PARAMS)
    with pytest.raises(SplitError, match="none of 2 images"):
        split(manifest([("a", 0, "x"), ("b", 1, "y")], status="rejected"), PARAMS)


def test_fractions_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        replace(PARAMS, fractions=(0.8, 0.1, 0.2), unit="patient", seed=0)


def test_a_split_that_lacks_a_class_is_named() -> None:
    images = [("a", 0, "x"), ("b", 1, "y"), ("c", 0, "z")]
    table = split(manifest(images), replace(PARAMS, fractions=(1 / 3, 1 / 3, 1 / 3), unit="patient", seed=0))
    named = {row["split"]: row["label"] for row in table.to_pylist()}
    assert missing_classes(table) == [
        f"split {name} has no image {'without' if named[name] else 'with'} a nodule"
        for name in ("train", "val", "test")
    ]


def test_images_whose_patient_is_not_known_are_counted_where_patients_are_split() -> None:
    images = manifest([(f"{index:05d}", index % 2, f"x{index}") for index in range(9)])
    table = split(images, PARAMS)
    (sentence,) = unknown_patients(table, images, PARAMS)
    assert sentence.startswith(
        "the patient of 9 of 9 images is not known: each is taken for a patient of its own; give"
    )
    assert "data.ingest.patient_pattern" in sentence and sentence.endswith("a patient may be in two splits")
    assert not unknown_patients(table, images, replace(PARAMS, unit="image"))
    told = manifest([("P", index % 2, f"x{index}") for index in range(9)])
    assert not unknown_patients(table, told, PARAMS)


def test_only_splits_that_have_images_can_lack_a_class() -> None:
    params = replace(PARAMS, fractions=(0.5, 0.0, 0.5))
    table = split(manifest([(f"p{index}", 0, f"x{index}") for index in range(8)]), params)
    assert missing_classes(table) == ["split train has no image with a nodule", "split test has no image with a nodule"]


def test_a_patient_with_many_images_is_dealt_first_while_there_is_room_to_even_it_out() -> None:
    images = [("large", 0, f"large {index}") for index in range(10)] + [
        (f"p{index}", 0, f"{index}") for index in range(10)
    ]
    for seed in range(5):
        rows = split(manifest(images), replace(PARAMS, fractions=(0.5, 0.0, 0.5), seed=seed)).to_pylist()
        assert sorted(sum(row["split"] == name for row in rows) for name in ("train", "val", "test")) == [0, 10, 10]


def test_patients_with_many_images_are_not_all_in_the_largest_split() -> None:
    images = [(f"p{index}", 0, f"{index} {k}") for index in range(40) for k in range(5 if index < 10 else 1)]
    params = replace(PARAMS, fractions=(0.6, 0.2, 0.2))
    of_patient = parts(split(manifest(images), params))
    large = [name for patient in range(10) for name in of_patient[f"p{patient}"]]
    assert {name: large.count(name) for name in ("train", "val", "test")} == {"train": 6, "val": 2, "test": 2}


def test_a_patient_goes_where_its_rare_images_are_wanted_though_its_common_ones_are_wanted_elsewhere() -> None:
    """The first patient alone has many common images, so the last one's single common image would go to the others."""
    negatives = (12, 5, 3, 1)
    images = [
        (f"p{patient}", label, f"{patient} {k}") for patient, n in enumerate(negatives) for k, label in _one_of(n)
    ]
    images += [(f"single {index}", 0, f"single {index}") for index in range(40)]
    rows = split(manifest(images), replace(PARAMS, fractions=(0.5, 0.0, 0.5))).to_pylist()
    positive = [row["split"] for row in rows if row["label"] == 1]
    assert (positive.count("train"), positive.count("test")) == (2, 2)
    assert abs(sum(1 if row["split"] == "train" else -1 for row in rows)) <= 1


def _one_of(negatives: int) -> list[tuple[int, int]]:
    """Numbers and labels of one positive image and some negative ones."""
    return list(enumerate([1] + [0] * negatives))


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_class_is_divided_as_exactly_as_a_common_one(seed: int) -> None:
    images = [(f"p{index}", int(index < 8), f"x{index}") for index in range(80)]
    rows = split(manifest(images), replace(PARAMS, fractions=(0.5, 0.25, 0.25), seed=seed)).to_pylist()
    found = {(row["split"], label): 0 for row in rows for label in (0, 1)}
    for row in rows:
        found[row["split"], row["label"]] += 1
    assert found == {
        ("train", 1): 4,
        ("val", 1): 2,
        ("test", 1): 2,
        ("train", 0): 36,
        ("val", 0): 18,
        ("test", 0): 18,
    }


@settings(max_examples=20, deadline=None)
@given(st.integers(60, 150), st.integers(2, 6), st.floats(0.2, 0.5), st.integers(0, 1000))
def test_folds_are_disjoint_cover_the_images_and_keep_patients_whole(
    patients: int, folds: int, prevalence: float, seed: int
) -> None:
    images = cohort(patients, prevalence, seed)
    of_folds = [split(images, replace(PARAMS, folds=folds, fold=fold, seed=seed)) for fold in range(folds)]
    tested = [row["image_id"] for table in of_folds for row in table.to_pylist() if row["split"] == "test"]
    assert sorted(tested) == images["image_id"].to_pylist()
    assert all(len(names) == 1 for table in of_folds for names in parts(table).values())
    assert all(len(table) == len(images) for table in of_folds)
    assert all(set(table["split"].to_pylist()) == {"train", "val", "test"} for table in of_folds)


def test_folds_are_stratified_and_the_rest_is_divided_by_the_fractions_of_train_and_val() -> None:
    images = cohort(3000, 0.1, 1)
    rows = split(images, replace(PARAMS, folds=5, fold=3)).to_pylist()
    for label in (0, 1):
        found = [row["split"] for row in rows if row["label"] == label]
        wanted = {"train": 0.8 * 0.8 / 0.85, "val": 0.8 * 0.05 / 0.85, "test": 0.2}
        assert {name: found.count(name) / len(found) for name in wanted} == pytest.approx(wanted, abs=0.01)


def test_without_the_fold_that_is_tested_train_and_val_keep_their_ratio() -> None:
    params = replace(PARAMS, fractions=(0.4, 0.4, 0.2), folds=4, fold=1)
    names = split(manifest([(f"p{index}", 0, f"x{index}") for index in range(80)]), params)["split"].to_pylist()
    assert {name: names.count(name) for name in ("train", "val", "test")} == {"train": 30, "val": 30, "test": 20}
    params = replace(params, fractions=(0.6, 0.2, 0.2))
    names = split(manifest([(f"p{index}", 0, f"x{index}") for index in range(80)]), params)["split"].to_pylist()
    assert {name: names.count(name) for name in ("train", "val", "test")} == {"train": 45, "val": 15, "test": 20}


def test_where_the_rest_is_divided_there_must_be_a_fraction_of_training_images() -> None:
    for given_ in ({"folds": 4}, {"file": "given"}):
        with pytest.raises(ValueError, match="a fraction of training images above 0"):
            replace(PARAMS, fractions=(0.0, 0.8, 0.2), **given_)
    assert replace(PARAMS, fractions=(0.0, 0.8, 0.2)).fractions[0] == 0  # dealt by fractions, it may be 0


@pytest.mark.parametrize(
    ("folds", "fold", "message"), [(3, 3, "fold 3 of 3"), (0, 1, "fold 1 of 0"), (1, 0, "2 or more")]
)
def test_a_fold_that_does_not_exist_is_refused(folds: int, fold: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PARAMS, folds=folds, fold=fold)


def given_by(path: Path, text: str) -> SplitFile:
    path.write_text(text)
    return split_file.read(path)


FROM_FILE = replace(PARAMS, file="given")


def test_a_list_is_the_test_split_and_the_rest_is_divided(tmp_path: Path) -> None:
    images = cohort(200, 0.3, 4)
    tested = sorted(row["file_name"] for row in images.to_pylist() if row["patient_id"] in {"p3", "p50", "p77"})
    given_ = given_by(tmp_path / "test_list.txt", "\n".join(tested) + "\n\n")
    table = split(images, FROM_FILE, given_)
    found = {
        name: [row["image_id"] for row in table.to_pylist() if row["split"] == name]
        for name in ("train", "val", "test")
    }
    assert [f"{image}.png" for image in found["test"]] == tested
    assert len(table) == len(images)
    assert len(found["val"]) / len(images) == pytest.approx(0.05 / 0.85, abs=0.01)
    assert all(len(names) == 1 for names in parts(table).values())


def test_a_table_gives_each_image_its_split_and_one_without_val_has_its_training_images_divided(tmp_path: Path) -> None:
    images = cohort(100, 0.3, 5)
    of_patient = {f"p{index}": ("train", "valid", "Test")[index % 3] for index in range(100)}
    rows = [(row["image_id"], of_patient[row["patient_id"]]) for row in images.to_pylist()]
    lines = ["image_id;split", *(f"{image};{name}" for image, name in rows)]
    table = split(images, FROM_FILE, given_by(tmp_path / "a.csv", "\n".join(lines)))
    named = {"train": "train", "valid": "val", "Test": "test"}
    assert [(row["image_id"], row["split"]) for row in table.to_pylist()] == [
        (image, named[name]) for image, name in rows
    ]
    two = [(image, "test" if name == "Test" else "train") for image, name in rows]
    lines = ["image_id,split", *(f"{image},{name}" for image, name in two)]
    table = split(images, FROM_FILE, given_by(tmp_path / "b.csv", "\n".join(lines)))
    assert [row["split"] == "test" for row in table.to_pylist()] == [name == "test" for _, name in two]
    assert set(table["split"].to_pylist()) == {"train", "val", "test"}


def test_folds_of_a_file_are_taken_by_their_number(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    images = cohort(100, 0.3, 6)
    folds = [int(row["patient_id"][1:]) % 5 + 1 for row in images.to_pylist()]
    pq.write_table(pa.table({"file_name": images["file_name"], "fold": folds}), tmp_path / "folds.parquet")
    given_ = split_file.read(tmp_path / "folds.parquet")
    table = split(images, replace(FROM_FILE, folds=5, fold=5), given_)
    assert [row["split"] == "test" for row in table.to_pylist()] == [fold == 5 for fold in folds]
    with pytest.raises(SplitFileError, match=r"it has 5 folds \(1, 2, 3, 4, 5\), wanted data.split.folds, 3") as caught:
        split(images, replace(FROM_FILE, folds=3, fold=0), given_)
    assert "wanted data.split.fold, 0, among them" in str(caught.value)


def test_all_that_is_wrong_with_a_split_from_outside_is_said_at_once(tmp_path: Path) -> None:
    images = manifest([("a", 0, "x"), ("a", 1, "y"), ("b", 0, "z"), ("c", 1, "z"), ("d", 0, "v"), ("e", 1, "w")])
    lines = [
        "00000.png,train",
        "00001.png,test",
        "00002.png,train",
        "00003.png,val",
        "00004.png,test",
        "ghost.png,test",
    ]
    given_ = given_by(tmp_path / "a.csv", "\n".join(["file_name,split", *lines]))
    with pytest.raises(SplitFileError) as caught:
        split(images, FROM_FILE, given_)
    assert caught.value.problems == (
        "patient a in two splits (test: 00001; train: 00000)",
        "equal pixels in two splits (train: 00002; val: 00003)",
        "1 of 6 names are no image of this study: ghost.png",
    )
    table = split(images, replace(FROM_FILE, unit="image"), given_)
    assert table["split"].to_pylist() == ["train", "test", "train", "val", "test"]


def test_a_list_that_divides_a_patient_is_refused(tmp_path: Path) -> None:
    images = manifest([("a", 0, "x"), ("a", 1, "y"), ("b", 0, "z"), ("c", 1, "v")])
    with pytest.raises(SplitFileError, match=r"patient a in two splits \(rest: 00001; test: 00000\)"):
        split(images, FROM_FILE, given_by(tmp_path / "list.txt", "00000.png"))


def test_unknown_names_and_images_that_are_left_out_are_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = manifest([(name, index % 2, name) for index, name in enumerate("abcdefgh")])
    lines = [f"0000{index}.png,{('train', 'val', 'test')[index % 3]}" for index in range(6)]
    given_ = given_by(tmp_path / "a.csv", "\n".join(["file_name,split", *lines, "ghost.png,test"]))
    assert len(split(images, FROM_FILE, given_)) == 6
    assert "1 of 7 names are no image of this study: ghost.png" in caplog.text
    assert "2 labelled images are not named and take no part: 00006, 00007" in caplog.text
    with pytest.raises(SplitFileError, match="none of its 1 names is a labelled image"):
        split(images, FROM_FILE, given_by(tmp_path / "b.txt", "ghost.png"))


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.csv", "file_name,split\na.png,trian\n", "line 2: 'a.png' has the split 'trian', wanted train, val or test"),
        ("a.csv", "file_name,split\na.png,train\na.png,test\n", "line 3: 'a.png' is in test, and before in train"),
        ("a.csv", "file_name,fold\na.png,one\n", "line 2: 'a.png' has the fold 'one', wanted a whole number"),
        ("a.csv", "name,part\na.png,one\n", "wanted a column file_name or image_id, and a column split or fold"),
        ("a.parquet", "PAR1", "not readable as Parquet"),
        ("a.txt", "\n", "found no image in it"),
    ],
)
def test_a_file_of_splits_that_cannot_be_read_is_refused(tmp_path: Path, name: str, text: str, problem: str) -> None:
    with pytest.raises(SplitFileError) as caught:
        given_by(tmp_path / name, text)
    assert problem in str(caught.value)
    with pytest.raises(SplitFileError, match="No such file"):
        split_file.read(tmp_path / "absent.txt")


def test_a_changed_file_of_splits_has_another_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a.png")
    before = files.fingerprint(str(tmp_path / "a.txt"))
    (tmp_path / "a.txt").write_text("a.png\nb.png")
    assert files.fingerprint(str(tmp_path / "a.txt")) != before


def test_a_table_without_val_is_left_as_it_is_where_no_fraction_is_to_be_val(tmp_path: Path) -> None:
    images = manifest([(f"p{index}", index % 2, f"x{index}") for index in range(8)])
    lines = ["file_name,split", *(f"{index:05d}.png,{'test' if index < 3 else 'train'}" for index in range(8))]
    given_ = given_by(tmp_path / "a.csv", "\n".join(lines))
    table = split(images, replace(FROM_FILE, fractions=(0.5, 0.0, 0.5)), given_)
    assert table["split"].to_pylist() == ["test"] * 3 + ["train"] * 5
    table = split(images, replace(FROM_FILE, fractions=(0.5, 0.5, 0.0)), given_)
    assert set(table["split"].to_pylist()) == {"train", "val", "test"}


@pytest.mark.parametrize(("n", "more"), [(20, False), (21, True)])
def test_a_message_spells_out_twenty_names_or_problems_and_counts_the_others(
    n: int, more: bool, tmp_path: Path
) -> None:
    names = "\n".join(f"ghost{number:02d}.png" for number in range(n))
    with pytest.raises(SplitFileError) as caught:
        split(manifest([("a", 0, "x")]), FROM_FILE, given_by(tmp_path / "a.txt", names))
    assert caught.value.problems[-1].endswith("ghost18.png, ghost19.png" + " and 1 more" * more)
    images = manifest([(f"p{number // 2}", 0, f"x{number}") for number in range(2 * n)])
    lines = ["file_name,split", *(f"{k:05d}.png,{('train', 'test')[k % 2]}" for k in range(2 * n))]
    with pytest.raises(SplitFileError) as caught:
        split(images, FROM_FILE, given_by(tmp_path / "b.csv", "\n".join(lines)))
    assert len(caught.value.problems) == n
    assert (caught.value.problems[-1] == "and 1 more") == more


def grouped(images: pa.Table, groups: dict[str, str]) -> pa.Table:
    rows = [row | {"duplicate_group": groups.get(row["image_id"])} for row in images.to_pylist()]
    return tables.from_rows(rows, tables.MANIFEST)


def test_near_duplicates_of_different_patients_are_in_one_split_and_no_others_move_for_it() -> None:
    images = manifest([(f"p{number}", number % 2, f"image {number}") for number in range(60)])
    params = replace(PARAMS, fractions=(0.5, 0.2, 0.3))
    tied = {f"{number:05d}": "00003" for number in (3, 17, 44, 58)}
    for seed in range(8):
        found = {
            row["image_id"]: row["split"]
            for row in split(grouped(images, tied), replace(params, seed=seed)).to_pylist()
        }
        assert len({found[image] for image in tied}) == 1
    assert split(grouped(images, {}), params).equals(split(images, params))


def test_a_file_that_puts_near_duplicates_into_two_splits_is_refused() -> None:
    images = manifest([(f"p{number}", number % 2, f"image {number}") for number in range(12)])
    file = SplitFile("t.csv", "split", {f"{n:05d}.png": "test" if n < 4 else "train" for n in range(12)})
    with pytest.raises(SplitFileError, match=r"near-duplicates in two splits \(rest: 00009; test: 00001\)"):
        split(grouped(images, {"00001": "00001", "00009": "00001"}), PARAMS, file)
