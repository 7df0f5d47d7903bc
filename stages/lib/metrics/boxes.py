"""Boxes against boxes: intersection over union, the generalized one, and that of boxes with one centre.

A box is left, top, right, bottom: edges on the grid of the pixels, so that its width is right minus left.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.lib.core.errors import MetricInputError

Floats = NDArray[np.float64]


def checked(boxes: ArrayLike, what: str) -> Floats:
    """Boxes as an array of shape (n, 4), n from 0 on.

    Args:
        boxes: Left, top, right, bottom of each.
        what: What they are, for the error.

    Raises:
        MetricInputError: If the shape is another, or a box is not finite, has no area or has its corners swapped; all
            such boxes are named.

    >>> checked([[0, 0, 2, 1]], "true boxes").tolist()
    [[0.0, 0.0, 2.0, 1.0]]
    """
    array = np.asarray(boxes, np.float64)
    array = array.reshape(0, 4) if array.size == 0 else array
    if array.ndim != 2 or array.shape[1] != 4:
        raise MetricInputError(f"{what}: found shape {array.shape}, wanted (n, 4)")
    odd = ~np.isfinite(array).all(axis=1) | (array[:, 2:] <= array[:, :2]).any(axis=1)
    if odd.any():
        raise MetricInputError(
            f"{what}: found {array[odd].tolist()}, wanted finite boxes with left < right, top < bottom"
        )
    return array


def areas(boxes: Floats) -> Floats:
    """Area of each box, shape (n,).

    >>> areas(np.array([[0.0, 0.0, 2.0, 3.0]]))
    array([6.])
    """
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def iou(first: Floats, second: Floats) -> Floats:
    """Intersection over union of every box with every other one.

    Args:
        first: Shape (n, 4).
        second: Shape (m, 4).

    Returns:
        Shape (n, m), [0, 1].

    >>> iou(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 0.0, 3.0, 2.0]])).round(4)
    array([[0.3333]])
    """
    shared = _shared(first, second)
    return shared / (areas(first)[:, None] + areas(second)[None, :] - shared)


def generalized_iou(first: Floats, second: Floats) -> Floats:
    """Intersection over union less the fraction of the box around both that belongs to neither.

    Args:
        first: Shape (n, 4).
        second: Shape (m, 4).

    Returns:
        Shape (n, m), (-1, 1]; the more below 0, the farther apart.

    Source: Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, algorithm 1.

    >>> generalized_iou(np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([[3.0, 0.0, 4.0, 1.0]]))
    array([[-0.5]])
    """
    shared = _shared(first, second)
    union = areas(first)[:, None] + areas(second)[None, :] - shared
    sides = np.maximum(first[:, None, 2:], second[None, :, 2:]) - np.minimum(first[:, None, :2], second[None, :, :2])
    around = sides.prod(axis=2)
    return shared / union - (around - union) / around


def centred_iou(first: Floats, second: Floats) -> Floats:
    """Intersection over union of box k of both after putting their centres together: how alike their shapes are.

    Args:
        first: Shape (n, 4).
        second: Shape (n, 4).

    Returns:
        Shape (n,), (0, 1].

    >>> centred_iou(np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([[5.0, 5.0, 7.0, 7.0]]))
    array([0.25])
    """
    shared = np.minimum(first[:, 2:] - first[:, :2], second[:, 2:] - second[:, :2]).prod(axis=1)
    return shared / (areas(first) + areas(second) - shared)


def centres(boxes: Floats) -> Floats:
    """Centre of each box, x and y, shape (n, 2)."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def within(points: Floats, boxes: Floats) -> NDArray[np.bool_]:
    """Whether each point lies in any of the boxes, edges included.

    Args:
        points: x and y, shape (n, 2).
        boxes: Shape (m, 4).

    Returns:
        Shape (n,).

    >>> within(np.array([[1.0, 1.0], [3.0, 1.0]]), np.array([[0.0, 0.0, 2.0, 2.0]]))
    array([ True, False])
    """
    inside = (points[:, None] >= boxes[None, :, :2]) & (points[:, None] <= boxes[None, :, 2:])
    everywhere: NDArray[np.bool_] = np.all(inside, axis=2)
    return np.asarray(np.any(everywhere, axis=1), bool)


def covered_area(boxes: Floats) -> float:
    """Area that the boxes cover together; where they overlap it counts once.

    >>> covered_area(np.array([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]]))
    6.0
    """
    xs, ys = np.unique(boxes[:, ::2]), np.unique(boxes[:, 1::2])
    middles = np.stack(np.meshgrid((xs[1:] + xs[:-1]) / 2, (ys[1:] + ys[:-1]) / 2, indexing="ij"), axis=2)
    inside = within(middles.reshape(-1, 2), boxes).reshape(middles.shape[:2])
    return float((np.outer(np.diff(xs), np.diff(ys)) * inside).sum())


def _shared(first: Floats, second: Floats) -> Floats:
    sides = np.minimum(first[:, None, 2:], second[None, :, 2:]) - np.maximum(first[:, None, :2], second[None, :, :2])
    return np.asarray(np.maximum(sides, 0.0).prod(axis=2))
