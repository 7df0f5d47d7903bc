"""Sensitivity against false points per image, for localizers that give a confidence."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import MetricInputError, UndefinedMetricError
from stages.lib.metrics.catalog import FALSE_POINT_RATES
from stages.lib.metrics.matching import distances

RATES = tuple(FALSE_POINT_RATES.values())  # false points per image


def judge(
    predictions: NDArray[np.float64], confidence: NDArray[np.float64], points: NDArray[np.float64], threshold: float
) -> NDArray[np.int64]:
    """What each prediction of one image is: 1 finds a nodule, 0 finds one that is found already, -1 is false.

    Predictions are taken by falling confidence, and each takes the nearest nodule in reach that is not yet found.

    Args:
        predictions: x and y, shape (n, 2), pixels.
        confidence: Shape (n,).
        points: The nodules, x and y, shape (m, 2), pixels.
        threshold: Greatest distance of a hit, inclusive, pixels.

    >>> judge(np.array([[0., 0.], [1., 0.], [9., 0.]]), np.array([.5, .7, .6]), np.array([[0., 0.]]), 2.0)
    array([ 0,  1, -1])
    """
    gaps = distances(predictions, points)
    verdicts = np.full(len(gaps), -1)
    left = np.ones(gaps.shape[1], bool)
    for number in np.argsort(-confidence, kind="stable"):
        reach = gaps[number] <= threshold
        if reach.any():
            free = np.flatnonzero(reach & left)
            verdicts[number] = int(len(free) > 0)
            if len(free):
                left[free[np.argmin(gaps[number, free])]] = False
    return verdicts


def sensitivities(
    confidence: NDArray[np.float64],
    verdicts: NDArray[np.int64],
    images: float,
    points: float,
    rates: Sequence[float] = RATES,
) -> tuple[float, ...]:
    """Greatest sensitivity with at most so many false points per image, for each rate.

    Args:
        confidence: Of every prediction on all images, shape (n,).
        verdicts: As `judge` gives them, shape (n,).
        images: Number of images.
        points: Number of nodules.
        rates: False points per image.

    Raises:
        UndefinedMetricError: If there is no nodule or no image.
        MetricInputError: If a confidence is not finite.

    Source: the rates are those of LUNA16, Setio et al., Medical Image Analysis 42: 1, 2017; their mean is the CPM.

    >>> confidence, verdicts = np.array([.9, .8, .7, .6, .5, .4, .3]), np.array([1, -1, 1, -1, -1, 1, 0])
    >>> found = sensitivities(confidence, verdicts, images=4, points=3)
    >>> round(sum(found) / len(found), 6)
    0.809524
    """
    false, found = curve(confidence, verdicts, images, points)
    return tuple(float(found[false <= rate].max()) for rate in rates)


def curve(
    confidence: NDArray[np.float64], verdicts: NDArray[np.int64], images: float, points: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False points per image and sensitivity as the least confidence falls; equal confidences are one step.

    Arguments and errors as of `sensitivities`.

    >>> curve(np.array([.9, .5, .5]), np.array([1, 1, -1]), images=2, points=2)
    (array([0. , 0. , 0.5]), array([0. , 0.5, 1. ]))
    """
    if not points or not images:
        raise UndefinedMetricError("no image has a point")
    if not np.isfinite(confidence).all():
        raise MetricInputError(f"{int((~np.isfinite(confidence)).sum())} confidences are not finite")
    order = np.argsort(-confidence, kind="stable")
    ordered, judged = confidence[order], verdicts[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)])
    found = np.append(0, np.cumsum(judged == 1)[ends]) / points
    false = np.append(0, np.cumsum(judged == -1)[ends]) / images
    return false, found
