"""The split: whole patients, whole images, every share as asked."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.data.split import Params, missing_classes, split
from stages.lib.core import tables
from stages.lib.core.errors import SplitError


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


PARAMS = Params(fractions=(0.8, 0.05, 0.15), unit="patient", seed=7)


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
    params = Params(fractions=(0.8, 0.05, 0.15), unit="image", seed=7)
    assert any(len(names) > 1 for names in parts(split(cohort(100, 0.3, 2), params)).values())


def test_another_seed_gives_another_split_and_the_same_seed_the_same() -> None:
    images = cohort(100, 0.3, 3)
    again = Params(fractions=PARAMS.fractions, unit="patient", seed=8)
    assert split(images, PARAMS).equals(split(images, PARAMS))
    assert not split(images, PARAMS).equals(split(images, again))


def test_an_empty_split_is_an_error_with_its_name() -> None:
    with pytest.raises(SplitError, match="is empty: 2 images of 2 patients"):
        split(manifest([("a", 0, "x"), ("b", 1, "y")]), PARAMS)


def test_a_split_of_fraction_zero_may_be_empty() -> None:
    params = Params(fractions=(0.5, 0.0, 0.5), unit="patient", seed=0)
    table = split(manifest([(f"p{i}", i % 2, f"x{i}") for i in range(10)]), params)
    assert "val" not in table["split"].to_pylist()


def test_unlabelled_and_rejected_images_take_no_part() -> None:
    with pytest.raises(SplitError, match="none of 2 images"):
        split(manifest([("a", None, "x"), ("b", None, "y")]), PARAMS)
    with pytest.raises(SplitError, match="none of 2 images"):
        split(manifest([("a", 0, "x"), ("b", 1, "y")], status="rejected"), PARAMS)


def test_fractions_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        Params(fractions=(0.8, 0.1, 0.2), unit="patient", seed=0)


def test_a_split_that_lacks_a_class_is_named() -> None:
    images = [("a", 0, "x"), ("b", 1, "y"), ("c", 0, "z")]
    table = split(manifest(images), Params(fractions=(1 / 3, 1 / 3, 1 / 3), unit="patient", seed=0))
    sentences = missing_classes(table)
    assert len(sentences) == 3
    assert all(sentence.startswith("split ") for sentence in sentences)
