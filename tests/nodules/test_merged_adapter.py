import math

import numpy as np
import pyarrow.compute as pc
import pytest

from stages.lib.core import tables
from stages.lib.core.errors import TableError
from stages.lib.metrics import binary_suite
from stages.lib.metrics.measures import Estimate, Key, Subject
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


def measure(infer, other, weights="unmerged"):
    both = [table.filter(pc.field("split") == "val") for table in (infer, other)]
    both = [table.append_column("patient_id", pc.utf8_slice_codeunits(table["image_id"], 0, 4)) for table in both]
    return merged_adapter.measure(*both, weights, SETTINGS)


def change(found, weights="unmerged"):
    """What differs between the two forms."""
    return found[Subject("adapter", weights, "val", merged_adapter.OTHER[weights])]


def test_the_same_answers_differ_in_nothing():
    found = change(measure(answers(), answers()))
    assert (found[Key("margin_change_largest")].value, found[Key("calls_changed")].value) == (0.0, 0)
    assert [found[Key(metric)].value for metric in ("roc_auc", "pr_auc", "brier")] == [0.0] * 3


def test_changes_are_those_of_the_margin_on_validation_images_alone():
    measured = measure(answers(splits=("val", "test")), answers(shift=0.8), weights="merged")
    found = change(measured, "merged")
    assert found[Key("margin_change_largest")] == Estimate(value=pytest.approx(1.6), n=20)
    assert found[Key("margin_change_median")].value == pytest.approx(0.8)
    margins = [math.sin(k) + k % 2 for k in range(20)]
    changed = sum((z >= 0) != (z + 0.8 * (k % 3) >= 0) for k, z in enumerate(margins))
    assert found[Key("calls_changed")].value == changed > 0
    brier = found[Key("brier")]
    assert brier.low <= brier.high
    labels, scores = np.arange(20) % 2, 1 / (1 + np.exp(-np.array(margins)))
    used = measured[Subject("adapter", "merged", "val")][Key("brier")].value
    assert used == pytest.approx(((scores - labels) ** 2).mean())
    other = measured[Subject("adapter", "unmerged", "val")][Key("brier")].value
    assert brier.value == pytest.approx(used - other)


def test_an_image_asked_in_one_form_alone_is_an_error():
    with pytest.raises(TableError, match=r"5 validation images .* \(first: val15\)"):
        measure(answers(), answers(images=15))


def test_without_validation_images_there_is_a_reason_and_no_number():
    measured = measure(answers(splits=("test",)), answers(images=0))
    nothing = Estimate(value=None, n=0, reason="there is no labelled validation image")
    assert change(measured)[Key("margin_change_median")] == nothing
    assert measured[Subject("adapter", "merged", "val")][Key("roc_auc")].value is None
