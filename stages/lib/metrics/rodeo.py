"""RoDeO, Robust Detection Outcome: how near predicted boxes are, and how alike in shape, without a threshold.

Boxes are paired so that the sum of their generalized IoU is greatest, as many pairs as there can be. Each box without a
partner, predicted or true, counts as a pair of score 0.

Source: Meissen et al., Robust Detection Outcome: A Metric for Pathology Detection in Medical Images, MIDL 2023,
equations 2, 3 and 5 with equal weights. Its third part, classification, is left out: a sentence has one class.
"""

from typing import NamedTuple

import numpy as np

from stages.lib.metrics.boxes import Floats, centred_iou, centres, generalized_iou


class Sums(NamedTuple):
    """What one image, or one sentence on it, adds to RoDeO.

    Attributes:
        localization: Sum over the pairs of 2^-(d^2), d the distance of the centres in widths and heights of the true
            box.
        shape: Sum over the pairs of the IoU of the boxes put on one centre.
        boxes: Pairs, and boxes without a partner.
    """

    localization: float
    shape: float
    boxes: int


def sums(truths: Floats, predictions: Floats) -> Sums:
    """Both scores of predicted boxes against true ones, as sums over boxes.

    The score of a set of sentences is the sum of their sums over the sum of their boxes.

    Args:
        truths: Shape (m, 4), as `boxes.checked` gives them.
        predictions: Shape (n, 4).

    >>> sums(np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([[1.0, 0.0, 2.0, 1.0]]))  # beside it by its width
    Sums(localization=0.5, shape=1.0, boxes=1)
    """
    from scipy.optimize import linear_sum_assignment

    alike = generalized_iou(truths, predictions)
    rows, columns = linear_sum_assignment(alike, maximize=True)
    true, predicted = truths[rows], predictions[columns]
    gaps = (centres(predicted) - centres(true)) / (true[:, 2:] - true[:, :2])
    near = np.exp2(-(gaps**2).sum(axis=1))
    return Sums(float(near.sum()), float(centred_iou(true, predicted).sum()), max(len(truths), len(predictions)))
