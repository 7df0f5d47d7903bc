import numpy as np
import pytest

from stages.lib.learn import validation


def test_validation_metrics_by_hand():
    pair = np.array([[0.0, 2.0], [0.0, 1.0], [0.0, 0.5], [0.0, -1.0]])
    found = validation.validation_metrics(pair, np.array([1, 0, 1, 0]), offset=0.75)
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["balanced_accuracy"] == 0.5
    assert found["f1"] == pytest.approx(0.8)
    margins = np.array([1.25, -0.25, -0.25, 1.75])
    assert found["loss"] == pytest.approx(np.log1p(np.exp(-margins)).mean())


@pytest.mark.parametrize("labels", [[1, 1], [0, 0]])
def test_validation_metrics_without_a_class_are_none_not_zero(labels):
    assert set(validation.validation_metrics(np.zeros((2, 2)), np.array(labels), 0.0).values()) == {None}
