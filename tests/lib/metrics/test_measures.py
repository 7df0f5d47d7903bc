"""Measures: what is written is read, and nothing that the catalog does not know."""

import numpy as np
import pyarrow as pa
import pytest

from stages.lib.core import tables
from stages.lib.core.errors import MetricInputError, TableError, UndefinedMetricError
from stages.lib.metrics import catalog, evaluation_sets, measures
from stages.lib.metrics.binary_suite import Scored
from stages.lib.metrics.curves import Curve, from_table, of_classifier, table
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.metrics.outcomes import of_classifier as outcomes_of
from stages.lib.metrics.outcomes import table as outcomes_table

TEST = Subject("classification", "tuned", "test")


def test_measures_come_back_from_their_table_to_the_last_bit_in_the_order_of_the_catalog() -> None:
    found = {
        Key("f1", "youden"): Estimate(value=0.1 + 0.2, low=0.0, high=1.0, n=5, threshold=0.25, skipped_draws=0),
        Key("roc_auc"): Estimate(value=None, n=5, reason="no image has a nodule"),
    }
    other = Subject("comparison", "tuned", "test", "zero_shot")
    back = measures.from_table(measures.table("nodules", {TEST: found, other: found}))["nodules"]
    assert back == {TEST: found, other: found}
    assert list(back[TEST]) == [Key("roc_auc"), Key("f1", "youden")]


def test_a_metric_that_is_not_in_the_catalog_cannot_be_written() -> None:
    with pytest.raises(MetricInputError, match="did you mean 'roc_auc'"):
        measures.table("nodules", {TEST: {Key("roc_auk"): Estimate(value=0.5)}})


def test_every_metric_of_the_catalog_has_one_name_and_a_label_of_its_own() -> None:
    labels = [(metric.label, metric.unit) for metric in catalog.METRICS.values()]
    assert len(set(labels)) == len(labels)
    assert all(name == metric.name for name, metric in catalog.METRICS.items())


def test_an_interval_is_kept_only_beside_a_value() -> None:
    draws = {"a": np.array([0.1, 0.2]), "b": np.array([0.1, 0.2])}
    made = measures.estimates({"a": 0.15, "b": UndefinedMetricError("why")}, draws, {"n": 2}, confidence=0.5)
    assert made["a"].low == pytest.approx(0.125)
    assert made["b"].low is None
    assert made["b"].reason == "why"


def scored(labels: list[int], scores: list[float]) -> Scored:
    return Scored(
        ids=[f"i{k}" for k in range(len(labels))],
        labels=np.array(labels, np.int64),
        patients=np.array([f"p{k}" for k in range(len(labels))]),
        scores=np.array(scores),
        evidence=np.array(scores),
        calibrated=np.array(scores) / 2,
        thresholds={"half": 0.5, "f1": 0.25, "youden": None},
        reason="",
    )


def test_curves_come_back_from_their_table_and_a_threshold_without_end_is_infinite() -> None:
    found = of_classifier(scored([0, 1, 1, 0], [0.1, 0.9, 0.6, 0.4]), bins=2, confidence=0.9)
    assert [(curve.curve, curve.at) for curve in found] == [
        ("roc", None),
        ("precision_recall", None),
        ("reliability", "as_given"),
        ("reliability", "calibrated"),
    ]
    stored = table("nodules", {TEST: found})
    assert stored["threshold"].null_count > 0
    back = {(curve.curve, curve.at): curve for curve in from_table(stored)[TEST]}
    for curve in found:
        same: Curve = back[curve.curve, curve.at]
        for name in ("x", "y", "low", "high", "n", "threshold"):
            assert np.array_equal(getattr(curve, name), getattr(same, name)) or getattr(curve, name) is None
    assert of_classifier(scored([1, 1], [0.5, 0.6]), bins=2, confidence=0.9)[0].curve == "reliability"


def test_an_outcome_is_told_at_each_threshold_that_was_chosen_on_the_score_that_it_is_for() -> None:
    rows = outcomes_table("nodules", {TEST: outcomes_of(scored([0, 1], [0.4, 0.6]))}).to_pylist()
    told = {(row["image_id"], row["at"]): (row["score"], row["positive"], row["correct"]) for row in rows}
    assert told == {
        ("i0", "half"): (0.4, False, True),
        ("i1", "half"): (0.6, True, True),
        ("i0", "f1"): (0.2, False, True),
        ("i1", "f1"): (0.3, True, True),
    }
    assert {row["split"] for row in rows} == {"test"}


def test_a_classifier_is_measured_on_labelled_images_of_the_split_from_the_sources() -> None:
    names = ["a", "b", "c", "d"]
    manifest = pa.table(
        {"image_id": names, "source": ["nih", "lidc", "nih", "nih"], "patient_id": ["p", "q", "r", "s"]}
    )
    split = pa.table({"image_id": names, "split": ["test", "test", "val", "test"], "label": [1, 1, 0, None]})
    found = evaluation_sets.classifier_images(split, manifest, ["nih"], "test")
    assert found["image_id"].to_pylist() == ["a"]
    assert found["patient_id"].to_pylist() == ["p"]
    with pytest.raises(TableError, match="1 images are not in the manifest: d"):
        evaluation_sets.classifier_images(split, manifest.slice(0, 3), ["nih"], "test")


def test_images_that_choose_are_never_test_images_and_a_marked_image_is_no_negative_one() -> None:
    split = pa.table(
        {
            "image_id": ["a", "b", "c", "d", "e"],
            "patient_id": ["p", "q", "r", "s", "t"],
            "split": ["val", "train", "val", "test", "train"],
            "label": [0, 0, 0, 1, None],
        }
    )
    points = pa.table({"image_id": ["a", "a", "d"]})
    how = {"negative_images": 9, "seed": 0}
    assert evaluation_sets.choosing_images(split, points, ["val"], **how) == {"a", "c"}
    assert evaluation_sets.choosing_images(split, points, ["train", "val"], **how) == {"a", "b", "c"}


def test_a_join_keeps_the_order_and_refuses_a_key_that_repeats() -> None:
    left = pa.table({"image_id": ["b", "c", "a"]})
    right = pa.table({"image_id": ["a", "b"], "x": [1, 2]})
    assert tables.lookup(left, right, ["x"])["x"].to_pylist() == [2, None, 1]
    with pytest.raises(TableError, match="repeat"):
        tables.lookup(left, pa.concat_tables([right, right]), ["x"])
    with pytest.raises(TableError, match="both tables"):
        tables.lookup(right, right, ["x"])
