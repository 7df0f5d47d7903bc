"""Probes of source and label: what they find, what they do not find, and what they refuse to say."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stages.lib.metrics import probe
from stages.lib.metrics.measures import Subject
from stages.lib.metrics.probe import ALL, COHORT, GREY, LABEL_AUC, METADATA, SOURCE_AUC, TASK

SETTINGS = probe.Settings(draws=60, seed=3, confidence=0.95)


def table(
    change: Callable[[dict[str, Any], np.random.Generator], None] = lambda row, rng: None, n: int = 400
) -> pa.Table:
    """Images of nih (1 in 4 with a nodule), three per patient, and of lidc (all with one); `change` edits a row."""
    rng = np.random.default_rng(5)
    rows = []
    for number in range(n):
        lidc = number % 4 == 3
        bins = rng.dirichlet(np.full(64, 20.0))
        row: dict[str, Any] = {
            "image_id": f"{number:04d}",
            "patient_id": f"p{number // 4:04d}" if not lidc else f"l{number}",
            "label": 1 if lidc else int(number // 4 % 4 == 0),
            "split": ("train", "test")[number // 4 % 5 > 2],
            "source": "lidc" if lidc else "nih",
            "width_px": 300 if lidc else 256,
            "height_px": 256,
            "bit_depth": 16 if lidc else 8,
            "age_years": float(rng.integers(30, 80)),
            "sex": str(rng.choice(["F", "M"])),
            "view": "PA",
            "histogram": [int(count) for count in np.rint(1e5 * bins)],
        }
        change(row, rng)
        rows.append(row)
    return pa.Table.from_pylist(rows)


def measured(rows: pa.Table, system: str, subset: str) -> dict[Any, Any]:
    return dict(probe.measure(rows, ["nih"], SETTINGS)[Subject(TASK, system, subset)])


def test_size_and_bit_depth_tell_the_source_and_across_sources_the_label() -> None:
    rows = table()
    across, within = measured(rows, GREY, ALL), measured(rows, GREY, COHORT)
    assert across[SOURCE_AUC].value == 1.0
    assert across[LABEL_AUC].value > 0.7
    assert SOURCE_AUC not in within
    assert within[LABEL_AUC].low < 0.5 < within[LABEL_AUC].high
    assert across[SOURCE_AUC].n == sum(split == "test" for split in rows["split"].to_pylist())
    assert within[LABEL_AUC].n_positive < within[LABEL_AUC].n


def test_a_grey_value_that_only_positives_have_is_found_within_the_cohort() -> None:
    def marker(row: dict[str, Any], rng: np.random.Generator) -> None:
        row["histogram"][63] += 2000 * row["label"]

    assert measured(table(marker), GREY, COHORT)[LABEL_AUC].value > 0.95
    assert measured(table(marker), METADATA, COHORT)[LABEL_AUC].low < 0.5


def test_an_age_or_a_view_that_positives_have_is_found_without_a_pixel() -> None:
    def older(row: dict[str, Any], rng: np.random.Generator) -> None:
        row["age_years"] = None if rng.random() < 0.1 else row["age_years"] + 40 * row["label"]

    def lying(row: dict[str, Any], rng: np.random.Generator) -> None:
        row["view"] = "AP" if row["label"] and rng.random() < 0.8 else "PA"

    for change in (older, lying):
        assert measured(table(change), METADATA, COHORT)[LABEL_AUC].low > 0.7


def test_images_that_are_all_alike_have_an_auc_of_exactly_half() -> None:
    rows = table().drop_columns(["age_years", "sex", "view"])
    found = measured(rows, METADATA, COHORT)[LABEL_AUC]
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_training_images_alone_decide_the_fit_and_test_images_alone_are_measured() -> None:
    def misleading(row: dict[str, Any], rng: np.random.Generator) -> None:
        row["histogram"][63] += 2000 * (row["label"] if row["split"] == "train" else 1 - row["label"])

    assert measured(table(misleading), GREY, COHORT)[LABEL_AUC].value < 0.05


def test_one_source_one_class_or_an_unknown_histogram_is_a_reason_and_no_number() -> None:
    one = measured(table(lambda row, rng: row.update(source="nih")), GREY, ALL)[SOURCE_AUC]
    assert one.value is None and "two sources" in one.reason
    healthy = measured(table(lambda row, rng: row.update(label=0)), METADATA, ALL)[LABEL_AUC]
    assert healthy.value is None and "with and without a nodule" in healthy.reason
    blind = measured(table(lambda row, rng: row.update(histogram=None)), GREY, ALL)
    assert blind[SOURCE_AUC].value is None and "histogram" in blind[LABEL_AUC].reason
    empty = probe.measure(table().slice(0, 0), ["nih"], SETTINGS)
    assert all(found.value is None for part in empty.values() for found in part.values())


def test_a_warning_names_sources_that_are_told_apart_and_differ_in_their_labels() -> None:
    rows = table()
    [sentence] = probe.warnings(probe.measure(rows, ["nih"], SETTINGS), rows, ["nih"])
    assert "100 of 100 images of lidc" in sentence
    assert "images of nih" in sentence
    alike = table(lambda row, rng: row.update(width_px=256, bit_depth=8))
    assert not probe.warnings(probe.measure(alike, ["nih"], SETTINGS), alike, ["nih"])
    balanced = table(lambda row, rng: row.update(label=int(row["image_id"]) // 16 % 4 == 0))
    found = probe.measure(balanced, ["nih"], SETTINGS)
    assert found[Subject(TASK, GREY, ALL)][SOURCE_AUC].value == 1.0
    assert not probe.warnings(found, balanced, ["nih"])


def test_the_area_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = table()
    x, y = probe.grey_values(rows), np.array(rows["label"].to_pylist())
    assert x is not None
    train = np.array(rows["split"].to_pylist()) == "train"
    model = make_pipeline(StandardScaler(), LogisticRegression(C=probe.PENALTY, max_iter=2000)).fit(x[train], y[train])
    expected = roc_auc_score(y[~train], model.decision_function(x[~train]))
    assert measured(rows, GREY, ALL)[LABEL_AUC].value == pytest.approx(expected, abs=1e-6)
