import math

import numpy as np
import pytest

from stages.lib.core import tables
from stages.lib.core.errors import TableError
from stages.lib.metrics import binary_suite
from stages.nodules import merged_adapter

SETTINGS = binary_suite.Settings(draws=50, seed=1, confidence=0.95, ece_bins=5, other_prevalence=0.1)


def answers(shift=0.0, splits=("val",), images=20):
    rows = []
    for number in range(images):
        for split in splits:
            margin = math.sin(number) + (number % 2) + shift * (number % 3)
            rows.append(
                {"image_id": f"{split}{number:02d}", "split": split, "label": number % 2, "answer_mass": 1.0}
                | {"logit_negative": 0.0, "logit_positive": margin, "score": 1 / (1 + math.exp(-margin))}
            )
    return tables.from_rows(rows, tables.INFER)


def measure(infer, twin, weights="as_trained"):
    patients = {name: name[:-1] for name in infer["image_id"].to_pylist()}
    return merged_adapter.measure(infer, twin, patients, weights, SETTINGS)


def test_the_same_answers_differ_in_nothing():
    found = measure(answers(), answers())
    assert (found["margin_change_largest"]["value"], found["calls_changed"]["value"]) == (0.0, 0)
    assert [entry["value"] for entry in found["difference"].values()] == [0.0] * 3


def test_changes_are_those_of_the_margin_on_validation_images_alone():
    found = measure(answers(splits=("val", "test")), answers(shift=0.8), weights="merged")
    assert found["margin_change_largest"] == {"value": pytest.approx(1.6), "n": 20}
    assert found["margin_change_median"]["value"] == pytest.approx(0.8)
    assert list(found["forms"]) == ["merged", "as_trained"]
    margins = [math.sin(k) + k % 2 for k in range(20)]
    changed = sum((z >= 0) != (z + 0.8 * (k % 3) >= 0) for k, z in enumerate(margins))
    assert found["calls_changed"]["value"] == changed > 0
    merged, trained = (found["forms"][form]["brier"]["value"] for form in ("merged", "as_trained"))
    assert found["difference"]["brier"]["value"] == pytest.approx(merged - trained)
    assert found["difference"]["brier"]["low"] <= found["difference"]["brier"]["high"]
    labels, scores = np.arange(20) % 2, 1 / (1 + np.exp(-np.array(margins)))
    assert merged == pytest.approx(((scores - labels) ** 2).mean())


def test_a_image_asked_in_one_form_alone_is_an_error():
    with pytest.raises(TableError, match=r"5 validation images .* \(first: val15\)"):
        measure(answers(), answers(images=15))


def test_without_validation_images_there_is_a_reason_and_no_number():
    found = measure(answers(splits=("test",)), answers(images=0))
    assert found["margin_change_median"] == {
        "value": None,
        "n": 0,
        "reason": "there is no labelled validation image",
    }
    assert found["forms"]["merged"]["roc_auc"]["value"] is None
