"""Logistic regression with an L2 penalty, for many images with many features that are alike.

The objective is scikit-learn's. Its own loop keeps ten steps of curvature and reads all features twice a step: where
features are far from independent, as those of encoders are, it needs several times as long.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 512  # images whose features are read at a time, once for loss and gradient
CURVATURE = 100  # steps that the curvature is estimated from
ITERATIONS, TOLERANCE = 2000, 1e-5


@dataclass(frozen=True)
class Solution:
    """A regression.

    Attributes:
        weights: Of the features, shape (features,).
        bias: Added to their sum.
        converged: Whether the largest entry of the gradient of the mean loss is below `TOLERANCE`, or loss and rounding
            cannot be told apart.
    """

    weights: NDArray[np.float32]
    bias: float
    converged: bool


def fit(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    counts: NDArray[np.float64],
    strength: float,
    start: Solution | None = None,
    iterations: int = ITERATIONS,
) -> Solution:
    """Weights that make the labels likely, and are small.

    They minimize sum(counts * log(1 + exp(-s (x w + b)))) + |w|² / (2 strength), s being 1 for label 1, -1 for 0. The
    bias is not penalized. Features of a block are multiplied in single precision, sums are kept in double.

    Args:
        features: Standardized, shape (n, features).
        labels: 0 or 1, shape (n,), both there.
        counts: How much each image counts, shape (n,).
        strength: Inverse strength of the penalty, C of scikit-learn.
        start: Where to begin, such as the solution of a stronger penalty; at 0 if left out.
        iterations: Steps at most.

    Source: Liu & Nocedal, Mathematical Programming 45: 503, 1989 (L-BFGS).

    >>> far = fit(np.array([[-1.0], [1.0]], np.float32), np.array([0, 1]), np.ones(2), 1.0)
    >>> round(float(far.weights[0]), 3), round(abs(far.bias), 3), far.converged  # 0.675 (1 + exp(0.675)) = 2
    (0.675, 0.0, True)
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    sign = 2.0 * labels - 1.0
    total = float(counts.sum())
    penalty = 1.0 / (strength * total)

    def mean_loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, bias = point[:-1].astype(np.float32), point[-1]
        loss, slope = 0.0, np.zeros(len(point))
        for first in range(0, len(features), BLOCK):
            part = slice(first, first + BLOCK)
            margin = sign[part] * (features[part] @ weights + bias)  # (block,)
            loss += float(counts[part] @ np.logaddexp(0.0, -margin))
            pull = -counts[part] * sign[part] * expit(-margin)
            slope[:-1] += pull.astype(np.float32) @ features[part]
            slope[-1] += pull.sum()
        slope /= total
        slope[:-1] += penalty * point[:-1]
        return loss / total + 0.5 * penalty * float(point[:-1] @ point[:-1]), slope

    begin = np.zeros(features.shape[1] + 1) if start is None else np.append(start.weights, start.bias)
    limits: dict[str, Any] = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": CURVATURE}
    limits |= {"gtol": TOLERANCE, "ftol": 64 * np.finfo(float).eps, "maxls": 50}
    found = minimize(mean_loss, begin.astype(np.float64), jac=True, method="L-BFGS-B", options=limits)
    return Solution(found.x[:-1].astype(np.float32), float(found.x[-1]), bool(found.success))


def balanced(labels: NDArray[np.int64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts by which both classes weigh the same, and all images together as much as before.

    >>> balanced(np.array([1, 0, 0, 0]), np.ones(4)).round(3).tolist()
    [2.0, 0.667, 0.667, 0.667]
    """
    whole = np.bincount(labels, counts, minlength=2)
    return np.asarray(counts * (counts.sum() / (2 * whole))[labels], np.float64)
