"""Ratios of counts: the one home of precision, recall and F1, whatever is counted.

tp of `predicted` are right, and tp of `actual` are found. A ratio without a denominator has no value and raises.
"""

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import UndefinedMetricError

Floats = NDArray[np.float64]


@overload
def ratio(part: float, whole: float, why: str) -> float: ...


@overload
def ratio(part: Floats, whole: Floats, why: str) -> Floats: ...


def ratio(part: Any, whole: Any, why: str) -> Any:
    """Part / whole.

    Args:
        part: Count, or sum of weights; or one for each resample, an array.
        whole: The same of the whole, of a shape that fits.
        why: Reason for there being no value if `whole` is 0, as the reader gets it.

    Returns:
        The ratio; in an array NaN where there is none, as `bootstrap.replicate` has it.

    Raises:
        UndefinedMetricError: If `whole` is the number 0.

    >>> ratio(1, 4, "there is no image")
    0.25
    >>> ratio(np.array([1.0, 0.0, 1.0]), np.array([4.0, 0.0, 1.0]), "there is no image")
    array([0.25,  nan, 1.  ])
    """
    if isinstance(whole, np.ndarray):
        nothing = np.full(np.broadcast_shapes(np.shape(part), whole.shape), np.nan)
        return np.divide(part, whole, out=nothing, where=whole != 0)
    if not whole:
        raise UndefinedMetricError(why)
    return float(part / whole)


@overload
def f1_score(tp: float, predicted: float, actual: float, why: str = ...) -> float: ...


@overload
def f1_score(tp: NDArray[Any], predicted: NDArray[Any], actual: Any, why: str = ...) -> Floats: ...


def f1_score(tp: Any, predicted: Any, actual: Any, why: str = "there is nothing, predicted or true") -> Any:
    """F1 = 2 tp / (predicted + actual), the harmonic mean of precision and recall, [0, 1].

    Args:
        tp: Right ones among the predicted, a number or an array of shape (n,).
        predicted: How many were predicted, of the same shape.
        actual: How many there are, a number or an array of the same shape.
        why: Reason for there being no value if nothing is predicted and nothing is there.

    Returns:
        As of `ratio`.

    Raises:
        UndefinedMetricError: If so, of numbers.

    Source: van Rijsbergen, Information Retrieval, 1979, chapter 7, with equal weights. scikit-learn gives 0 where it is
    undefined.

    >>> f1_score(10, 53, 179)  # the tight row of the published study
    0.08620689655172414
    >>> f1_score(np.array([1.0, 2.0]), np.array([1.0, 4.0]), 2.0).round(3)
    array([0.667, 0.667])
    """
    return ratio(2 * tp, predicted + actual, why)
