"""Mean and spread of a metric over repeated splits, with an interval that knows that the splits overlap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.lib.core.errors import MetricInputError, UndefinedMetricError


@dataclass(frozen=True)
class Spread:
    """Values of several seeds together: their mean, their standard deviation, and the interval of the mean if any."""

    mean: float
    sd: float
    low: float | None
    high: float | None


def spread(values: Sequence[float], test_per_train: float | None, confidence: float) -> Spread:
    """Mean of a metric over seeds, its standard deviation, and the corrected resampled t interval of the mean.

    The splits of two seeds share images, so their values are alike, and the plain t interval, of variance SD² / J, is
    too narrow. Its variance is taken as SD² (1 / J + n_test / n_train) for J seeds. The correction is an approximation:
    where values vary little beyond the shared images, it still covers less than it says.

    Args:
        values: Value of each seed, two or more.
        test_per_train: Test images per training image; None for no interval, such as where all seeds have the same test
            images, and SD holds the training alone.
        confidence: Of the interval, between 0 and 1.

    Raises:
        UndefinedMetricError: If there are fewer than two values.
        MetricInputError: If a value is not finite, or the ratio is below 0.

    Source: Nadeau & Bengio, Machine Learning 52: 239, 2003, section 3, the corrected resampled t-test. There it is for
        differences of two algorithms; here also for the metric of one.

    >>> found = spread([0.1, 0.2, 0.3], 0.25, 0.95)
    >>> round(found.mean, 3), round(found.sd, 3), round(found.low, 3), round(found.high, 3)
    (0.2, 0.1, -0.129, 0.529)
    """
    from scipy.stats import t

    found = np.asarray(values, np.float64)
    if not np.isfinite(found).all():
        raise MetricInputError(f"found the values {list(values)}, wanted finite ones")
    if test_per_train is not None and test_per_train < 0:
        raise MetricInputError(f"found {test_per_train} test images per training image, wanted none below 0")
    if len(found) < 2:
        raise UndefinedMetricError(f"found {len(found)} seed, wanted two or more")
    mean, sd = float(found.mean()), float(found.std(ddof=1))
    if test_per_train is None:
        return Spread(mean, sd, None, None)
    half = float(t.ppf((1 + confidence) / 2, len(found) - 1)) * sd * (1 / len(found) + test_per_train) ** 0.5
    return Spread(mean, sd, mean - half, mean + half)
