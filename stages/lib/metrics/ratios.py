"""Ratios of counts: the one home of precision, recall and F1, whatever is counted.

tp of `predicted` are right, and tp of `actual` are found. A ratio without a denominator has no value and raises.
"""

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import UndefinedMetricError

Floats = NDArray[np.float64]


def ratio(part: float, whole: float, why: str) -> float:
    """Part / whole.

    Args:
        part: Count, or sum of weights.
        whole: Count, or sum of weights.
        why: Reason for there being no value if `whole` is 0, as the reader gets it.

    Raises:
        UndefinedMetricError: If `whole` is 0.

    >>> ratio(1, 4, "there is no image")
    0.25
    """
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

    Raises:
        UndefinedMetricError: If so, anywhere in an array.

    Source: van Rijsbergen, Information Retrieval, 1979, chapter 7, with equal weights. scikit-learn gives 0 where it is
    undefined.

    >>> f1_score(10, 53, 179)  # the tight row of the published study
    0.08620689655172414
    >>> f1_score(np.array([1.0, 2.0]), np.array([1.0, 4.0]), 2.0).round(3)
    array([0.667, 0.667])
    """
    whole = predicted + actual
    if not np.all(whole):
        raise UndefinedMetricError(why)
    found = 2 * tp / whole
    return found if isinstance(found, np.ndarray) else float(found)
