"""Mean, spread and interval over repeated splits."""

import numpy as np
import pytest
from scipy import stats

from stages.lib.core.errors import MetricInputError, UndefinedMetricError
from stages.lib.metrics.resampled import spread


def test_without_test_images_per_training_image_it_is_the_plain_t_interval() -> None:
    values = [0.71, 0.78, 0.69, 0.8]
    found = spread(values, 0.0, 0.9)
    low, high = stats.t.interval(0.9, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_the_interval_of_overlapping_splits_is_corrected_by_hand() -> None:
    found = spread([0.1, 0.2, 0.3], 0.25, 0.95)
    half = 4.302653 * 0.1 * (1 / 3 + 0.25) ** 0.5
    assert (found.mean, found.sd) == pytest.approx((0.2, 0.1))
    assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-6)


@pytest.mark.parametrize(("seeds", "plain", "corrected"), [(5, 0.83, 0.86), (10, 0.70, 0.83)])
def test_the_plain_interval_of_overlapping_splits_covers_too_little_and_the_corrected_one_nearly_enough(
    seeds: int, plain: float, corrected: float
) -> None:
    """Squared error of the training mean less that of 0, on test images; over cohorts, its truth is known."""
    rng = np.random.default_rng(0)
    patients, tested, effect, cohorts = 120, 30, 0.2, 400
    truth = 1 / (patients - tested) - effect**2
    covered = np.zeros(2)
    for _ in range(cohorts):
        x = rng.normal(effect, 1, patients)
        order = np.array([rng.permutation(patients) for _ in range(seeds)])
        test, train = x[order[:, :tested]], x[order[:, tested:]]
        values = ((test - train.mean(1, keepdims=True)) ** 2 - test**2).mean(1)
        for place, ratio in enumerate((0.0, tested / (patients - tested))):
            found = spread(values, ratio, 0.95)
            covered[place] += found.low <= truth <= found.high
    assert covered[0] / cohorts < plain
    assert corrected < covered[1] / cohorts < 0.97


def test_there_is_no_interval_where_the_test_images_are_the_same() -> None:
    found = spread([0.1, 0.3], None, 0.95)
    assert (found.low, found.high) == (None, None)
    assert found.sd == pytest.approx(0.2 / 2**0.5)


def test_one_seed_has_no_spread_and_a_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="found 1 seed"):
        spread([0.1], 0.1, 0.95)
    with pytest.raises(MetricInputError, match="wanted finite ones"):
        spread([0.1, np.nan], 0.1, 0.95)
    with pytest.raises(MetricInputError, match="none below 0"):
        spread([0.1, 0.2], -1.0, 0.95)
