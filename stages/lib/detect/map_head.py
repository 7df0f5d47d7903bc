"""A linear head on patch tokens that gives each cell of an image a logit: its losses, and its fit.

The head is learned from marks (a target in [0, 1] for each cell), from labels of images alone (the logit of an image
is the log-sum-exp of the logits of its cells), or from both. The objective is that of regularized logistic regression:
half the square of the weights, of standardized tokens, plus `strength` times the summed losses. A label of an image
counts as much as the targets of all its cells, so that `strength` means the same for marks and labels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import TrainingError

Floats = NDArray[np.float64]
Loss = Literal["weighted_cross_entropy", "focal"]
AT_ONCE = 1 << 18  # numbers of tokens that are turned into float64 at once: they stay in a core's cache


@dataclass(frozen=True)
class Head:
    """A linear head.

    Attributes:
        weights: Of the tokens as they are, shape (features,).
        bias: Added to each logit.
    """

    weights: Floats
    bias: float

    def logits(self, tokens: NDArray[np.floating]) -> Floats:
        """Logit of each token, of shape (..., features), in its shape without the last axis."""
        return np.asarray(tokens, np.float64) @ self.weights + self.bias


@dataclass(frozen=True, kw_only=True)
class Cells:
    """What a head learns from: n cells of some images, those of an image one after another.

    Attributes:
        tokens: float32 of shape (n, features).
        image: Number of the image of each cell, ascending from 0, shape (n,).
        target: Of each cell, [0, 1], shape (n,).
        weight: Of each cell's loss, 0 for one that teaches nothing, such as padding, shape (n,).
        label: 0 or 1 of each image, shape (images,).
        label_weight: Of each image's loss, 0 for one whose label teaches nothing, shape (images,).
    """

    tokens: NDArray[np.float32]
    image: NDArray[np.int64]
    target: Floats
    weight: Floats
    label: Floats
    label_weight: Floats


def fit(
    cells: Cells,
    *,
    loss: Loss,
    focus: float,
    strength: float,
    sharpness: float,
    iterations: int,
    tolerance: float,
) -> Head:
    """The head with the least objective; of equal cells always the same bits.

    Tokens are standardized by the cells that teach. The head starts from zero, and nothing of an image that teaches
    nothing has a part in it.

    Args:
        cells: What it learns from.
        loss: Of a cell or an image.
        focus: Exponent of the focal loss; not used by weighted_cross_entropy.
        strength: Weight of the losses against the square of the weights; more is a weaker regularization.
        sharpness: Of the log-sum-exp: 0 would be the mean of the cells' logits, more is nearer to the largest.
        iterations: Of L-BFGS, at most.
        tolerance: It stops when no entry of the gradient, per unit of summed loss weight, is larger.

    Raises:
        TrainingError: If no cell teaches, or tokens are not finite.

    Source: focal loss for targets between 0 and 1: Li et al., Generalized Focal Loss, NeurIPS 2020, eq. 1. Log-sum-exp
        over places for labels of images: Pinheiro & Collobert, CVPR 2015, eq. 2.
    """
    from scipy.optimize import minimize

    mean, deviation = _moments(cells)
    counted = (cells.weight > 0) | (cells.label_weight[cells.image] > 0)
    sizes = np.bincount(cells.image, counted, minlength=len(cells.label)).astype(np.float64)
    whole = max(float(cells.weight.sum() + (cells.label_weight * sizes).sum()), 1e-300)

    def objective(vector: Floats) -> tuple[float, Floats]:
        scaled = vector[:-1] / deviation
        logits = _product(cells.tokens, scaled) + (vector[-1] - float(mean @ scaled))
        value, slope = 0.0, np.zeros(len(logits))
        if cells.weight.any():
            losses, slopes = LOSSES[loss](logits, cells.target, focus)
            value += float(cells.weight @ losses)
            slope += cells.weight * slopes
        if cells.label_weight.any():
            pooled, parts = log_sum_exp(logits, cells.image, counted, sharpness, len(cells.label))
            losses, slopes = LOSSES[loss](pooled, cells.label, focus)
            times = cells.label_weight * sizes
            value += float(times @ losses)
            slope += (times * slopes)[cells.image] * parts
        total = float(slope.sum())
        gradient = np.append((_transposed(cells.tokens, slope) - mean * total) / deviation, total)
        gradient *= strength
        gradient[:-1] += vector[:-1]
        scale = strength * whole
        return (strength * value + 0.5 * float(vector[:-1] @ vector[:-1])) / scale, gradient / scale

    start = np.zeros(cells.tokens.shape[1] + 1)
    options = {"maxiter": iterations, "gtol": tolerance, "ftol": 0.0, "maxcor": 20}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    scaled = found.x[:-1] / deviation
    return Head(scaled, float(found.x[-1] - mean @ scaled))


def log_sum_exp(
    logits: Floats, image: NDArray[np.int64], counted: NDArray[np.bool_], sharpness: float, images: int
) -> tuple[Floats, Floats]:
    """Logit of each image, log-mean-exp of the logits of its cells, and how much each cell has a part in it.

    Args:
        logits: Of the cells, shape (n,).
        image: Number of the image of each cell, ascending, shape (n,).
        counted: Cells that count, shape (n,).
        sharpness: r of log(mean(exp(r * logit))) / r.
        images: How many there are.

    Returns:
        Shape (images,), 0 for an image without a cell that counts; and the derivative by each logit, shape (n,).

    >>> two = np.array([0.0, 0.0, 5.0, 1.0])
    >>> log_sum_exp(two, np.array([0, 0, 1, 1]), np.array([True, True, True, False]), 1.0, 2)
    (array([0., 5.]), array([0.5, 0.5, 1. , 0. ]))
    """
    sharp = np.where(counted, sharpness * logits, -np.inf)
    top = np.full(images, -np.inf)
    firsts = np.flatnonzero(np.diff(image, prepend=-1))
    top[image[firsts]] = np.maximum.reduceat(sharp, firsts)
    top = np.where(np.isfinite(top), top, 0.0)
    powers = np.exp(sharp - top[image])
    sums = np.bincount(image, powers, minlength=images)
    sizes = np.bincount(image, counted, minlength=images)
    some = sizes > 0
    pooled = np.zeros(images)
    pooled[some] = (top[some] + np.log(sums[some] / sizes[some])) / sharpness
    return pooled, powers / np.where(some, sums, 1.0)[image]


def cross_entropy(logits: Floats, target: Floats, focus: float = 0.0) -> tuple[Floats, Floats]:
    """Cross-entropy of each logit against a target in [0, 1], and its derivative by the logit.

    >>> loss, slope = cross_entropy(np.array([0.0]), np.array([1.0]))
    >>> loss.round(4).tolist(), slope.tolist()
    ([0.6931], [-0.5])
    """
    return np.logaddexp(0.0, logits) - target * logits, sigmoid(logits) - target


def focal(logits: Floats, target: Floats, focus: float) -> tuple[Floats, Floats]:
    """|target - p| ** focus times the cross-entropy of each logit, p its sigmoid; and its derivative by the logit.

    >>> focal(np.array([0.0]), np.array([1.0]), 2.0)[0].round(4).tolist()  # a quarter of the cross-entropy
    [0.1733]
    """
    entropy, slope = cross_entropy(logits, target)
    p = sigmoid(logits)
    gap = p - target
    size = np.abs(gap)
    times = size**focus
    inner = focus * np.where(size > 0, size, 1.0) ** (focus - 1) * np.sign(gap) * p * (1 - p)
    return times * entropy, times * slope + inner * entropy


LOSSES: dict[str, Callable[[Floats, Floats, float], tuple[Floats, Floats]]] = {
    "weighted_cross_entropy": cross_entropy,
    "focal": focal,
}


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-logit)), without overflow.

    >>> sigmoid(np.array([0.0, -800.0])).tolist()
    [0.5, 0.0]
    """
    small = np.exp(-np.abs(logits))
    found: Floats = np.where(logits >= 0, 1.0, small) / (1.0 + small)
    return found


def _moments(cells: Cells) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each feature over the cells that teach; a deviation of 0 is 1."""
    teaches = (cells.weight > 0) | (cells.label_weight[cells.image] > 0)
    n = int(teaches.sum())
    if not n:
        raise TrainingError("found no cell that teaches a heatmap, wanted images with marks or labels")
    used = teaches.astype(np.float64)
    mean = _transposed(cells.tokens, used) / n
    squares = np.zeros_like(mean)
    for part in _parts(cells.tokens):
        squares += used[part] @ (cells.tokens[part].astype(np.float64) - mean) ** 2
    deviation = np.sqrt(squares / n)
    if not (np.isfinite(mean).all() and np.isfinite(deviation).all()):
        raise TrainingError("found tokens that are not finite, wanted numbers; make the tokens again")
    return mean, np.where(deviation > 0, deviation, 1.0)


def _parts(tokens: NDArray[np.float32]) -> list[slice]:
    rows = max(AT_ONCE // tokens.shape[1], 1)
    return [slice(start, start + rows) for start in range(0, len(tokens), rows)]


def _product(tokens: NDArray[np.float32], vector: Floats) -> Floats:
    """Tokens times a vector in float64, shape (n,)."""
    return np.concatenate([np.zeros(0), *(tokens[part].astype(np.float64) @ vector for part in _parts(tokens))])


def _transposed(tokens: NDArray[np.float32], vector: Floats) -> Floats:
    """Transposed tokens times a vector in float64, shape (features,)."""
    found: Any = np.zeros(tokens.shape[1])
    for part in _parts(tokens):
        found += vector[part] @ tokens[part].astype(np.float64)
    return np.asarray(found)
