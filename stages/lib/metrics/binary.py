"""How well scores tell images with a nodule from images without.

Labels are 1 (nodule) and 0. A score is the greater, the likelier the nodule; an image is called positive if its score
reaches the threshold. Weights count how often each image stands in a resample. A metric without a value raises.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.lib.core.errors import MetricInputError, UndefinedMetricError
from stages.lib.metrics.bootstrap import wilson
from stages.lib.metrics.ratios import f1_score, ratio

Floats = NDArray[np.float64]
N = TypeVar("N", float, Floats)


@dataclass(frozen=True)
class Confusion(Generic[N]):
    """How many images were called what: positive or negative, rightly or wrongly.

    Each count is a number, or an array of shape (draws,): one for each resample. So are then the metrics of it, NaN
    where the resample has none.
    """

    true_positives: N
    false_positives: N
    false_negatives: N
    true_negatives: N

    @property
    def n(self) -> N:
        """Number of images."""
        return self.true_positives + self.false_positives + self.false_negatives + self.true_negatives


def confusion(labels: NDArray[Any], called: NDArray[Any], weights: ArrayLike | None = None) -> Confusion[float]:
    """Confusion of images called positive (1) or negative (0).

    Args:
        labels: 0 or 1, shape (n,).
        called: 0 or 1 (or truth values), shape (n,).
        weights: How often each image counts, shape (n,); once each if None.

    >>> confusion(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]), np.array([3, 1, 1, 2]))
    Confusion(true_positives=3.0, false_positives=1.0, false_negatives=1.0, true_negatives=2.0)
    """
    cells = np.bincount(2 * np.asarray(labels, np.intp) + np.asarray(called, np.intp), weights, minlength=4)
    tn, fp, fn, tp = (float(cell) for cell in cells)
    return Confusion(tp, fp, fn, tn)


def confusions(labels: NDArray[Any], called: NDArray[Any], weights: Floats) -> Confusion[Floats]:
    """`confusion` of each of b resamples; weights of shape (b, n), counts of shape (b,)."""
    y, positive = np.asarray(labels, bool), np.asarray(called, bool)
    cells = np.stack([y & positive, ~y & positive, y & ~positive, ~y & ~positive], axis=1)
    return Confusion(*(weights @ cells.astype(np.float64)).T)


def joined(parts: Sequence[Confusion[Floats]]) -> Confusion[Floats]:
    """Confusions of some resamples and then of others, as one."""
    return Confusion(*(np.concatenate(cells) for cells in zip(*(vars(part).values() for part in parts), strict=True)))


def accuracy(c: Confusion[N]) -> N:
    """Fraction of images called rightly, [0, 1]."""
    return ratio(c.true_positives + c.true_negatives, c.n, "there is no image")


def sensitivity(c: Confusion[N]) -> N:
    """Fraction of the images with a nodule that were called positive (recall), [0, 1]."""
    return ratio(c.true_positives, c.true_positives + c.false_negatives, "no image has a nodule")


def specificity(c: Confusion[N]) -> N:
    """Fraction of the images without a nodule that were called negative, [0, 1]."""
    return ratio(c.true_negatives, c.true_negatives + c.false_positives, "every image has a nodule")


def balanced_accuracy(c: Confusion[N]) -> N:
    """Mean of sensitivity and specificity, [0, 1]; 0.5 is chance."""
    return (sensitivity(c) + specificity(c)) / 2


def precision(c: Confusion[N]) -> N:
    """Fraction of the images called positive that have a nodule (positive predictive value), [0, 1]."""
    return ratio(c.true_positives, c.true_positives + c.false_positives, "no image was called positive")


def f1(c: Confusion[N]) -> N:
    """Harmonic mean of precision and sensitivity, [0, 1]."""
    predicted, actual = c.true_positives + c.false_positives, c.true_positives + c.false_negatives
    return f1_score(c.true_positives, predicted, actual, "no image has a nodule or was called positive")


def mcc(c: Confusion[N]) -> N:
    """Matthews' correlation of labels and calls, [-1, 1]; 0 is chance.

    Raises:
        UndefinedMetricError: If all images have one label, or all were called the same.

    Source: Matthews, 1975, Biochim. Biophys. Acta 405: 442. There, and in scikit-learn, the undefined case is 0.
    """
    tp, fp, fn, tn = c.true_positives, c.false_positives, c.false_negatives, c.true_negatives
    whole = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return ratio(tp * tn - fp * fn, whole**0.5, "all images have one label, or all were called the same")


THRESHOLD_METRICS: Mapping[str, Callable[[Confusion[Any]], Any]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "sensitivity": sensitivity,
    "specificity": specificity,
    "precision": precision,
    "f1": f1,
    "mcc": mcc,
}


def trials(c: Confusion[float]) -> dict[str, tuple[float, float]]:
    """Successes and trials of those threshold metrics that are plain proportions, for Wilson's interval."""
    return {
        "accuracy": (c.true_positives + c.true_negatives, c.n),
        "sensitivity": (c.true_positives, c.true_positives + c.false_negatives),
        "specificity": (c.true_negatives, c.true_negatives + c.false_positives),
        "precision": (c.true_positives, c.true_positives + c.false_positives),
    }


def predictive_values(sensitivity: N, specificity: N, prevalence: float) -> tuple[N, N]:
    """Positive and the negative predictive value at another prevalence, by Bayes' rule.

    Args:
        sensitivity: In [0, 1]; a number, or one for each resample.
        specificity: In [0, 1], of the same shape.
        prevalence: Fraction of images with a nodule there, in (0, 1).

    Raises:
        UndefinedMetricError: If no image would be called positive, or none negative.

    >>> predictive_values(0.5, 0.75, 0.5)
    (0.6666666666666666, 0.6)
    """
    tp, fp = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    fn, tn = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    positive = ratio(tp, tp + fp, "no image would be called positive")
    return positive, ratio(tn, fn + tn, "no image would be called negative")


class Ranking:
    """Images in order of falling score, equal scores in one step: sorted once, then measured under many weights.

    Attributes:
        thresholds: The distinct scores, falling, shape (u,).

    >>> Ranking(np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.4, 0.4])).roc_auc()
    0.875
    """

    def __init__(self, labels: ArrayLike, scores: ArrayLike) -> None:
        y, s = checked(labels, scores)
        self._order = np.argsort(-s, kind="stable")
        ordered = s[self._order]
        self._positive = y[self._order].astype(np.float64)
        self._ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        self.thresholds: Floats = ordered[self._ends]

    def cumulate(self, weights: ArrayLike | None = None) -> tuple[Floats, Floats]:
        """How many images with and how many without a nodule reach each threshold.

        Args:
            weights: How often each image counts, shape (n,), or (b, n) for b resamples; once each if None.

        Returns:
            Both counts, each of shape (u,) or (b, u).
        """
        w = np.ones(len(self._order)) if weights is None else np.asarray(weights, np.float64)[..., self._order]
        reached = np.cumsum(w, axis=-1)[..., self._ends]
        tp = np.cumsum(w * self._positive, axis=-1)[..., self._ends]
        return tp, reached - tp

    def confusions(self, thresholds: Floats, tp: Floats, fp: Floats) -> Confusion[Floats]:
        """Confusion of each of b resamples at a threshold of its own.

        Args:
            thresholds: Shape (b,); NaN for a resample without one, whose counts are then NaN.
            tp: Of `cumulate`, shape (b, u).
            fp: Of `cumulate`, shape (b, u).
        """
        reached = np.searchsorted(-self.thresholds, -thresholds, side="right")  # distinct scores from the threshold on
        at = np.maximum(reached, 1) - 1
        row = np.arange(len(at))
        none = np.where(np.isnan(thresholds), np.nan, 0.0)
        positive, negative = (np.where(reached > 0, counts[row, at], 0.0) + none for counts in (tp, fp))
        return Confusion(positive, negative, tp[:, -1] - positive, fp[:, -1] - negative)

    def roc_auc(self, weights: ArrayLike | None = None) -> float:
        """Area under the ROC curve, as `roc_auc`."""
        tp, fp = self.curve(weights)
        area = np.dot(np.diff(fp), tp[1:] + tp[:-1]) + fp[0] * tp[0]
        return float(area / (2 * tp[-1] * fp[-1]))

    def average_precision(self, weights: ArrayLike | None = None) -> float:
        """Average precision, as `average_precision`."""
        tp, fp = self.curve(weights)
        gains = np.diff(tp, prepend=0.0)
        # A weight of 0 for the first images leaves 0 of 0; nothing is gained there, so its term is 0.
        return float(np.dot(gains, tp / np.maximum(tp + fp, 1e-300)) / tp[-1])

    def curve(self, weights: ArrayLike | None = None) -> tuple[Floats, Floats]:
        """What `cumulate` does.

        Raises:
            UndefinedMetricError: If a class has no image.
        """
        tp, fp = self.cumulate(weights)
        if not tp[-1] or not fp[-1]:
            raise UndefinedMetricError(f"{'every' if tp[-1] else 'no'} image has a nodule")
        return tp, fp


def areas(tp: Floats, fp: Floats) -> Floats:
    """`roc_auc` of each of b resamples, shape (b,), from `Ranking.cumulate`, each (b, u); NaN where a class is missing.

    >>> areas(np.array([[1.0, 2.0, 2.0]]), np.array([[0.0, 1.0, 2.0]]))
    array([0.875])
    """
    steps = np.einsum("bu,bu->b", np.diff(fp, axis=1), tp[:, 1:] + tp[:, :-1]) + fp[:, 0] * tp[:, 0]
    return ratio(steps, 2 * tp[:, -1] * fp[:, -1], "one class has no image")


def average_precisions(tp: Floats, fp: Floats) -> Floats:
    """`average_precision` of each of b resamples, shape (b,), from `Ranking.cumulate`, each (b, u); NaN without both
    classes.

    >>> average_precisions(np.array([[1.0, 2.0, 2.0]]), np.array([[0.0, 1.0, 2.0]]))
    array([0.83333333])
    """
    gains = np.diff(tp, axis=1, prepend=0.0)
    reached = np.einsum("bu,bu->b", gains, tp / np.maximum(tp + fp, 1e-300))
    whole = np.where(fp[:, -1] > 0, tp[:, -1], 0.0)
    return ratio(np.where(whole > 0, reached, 0.0), whole, "one class has no image")


def checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
    """Labels and scores as arrays of one length.

    Raises:
        MetricInputError: If a label is not 0 or 1, a score is not finite, or the lengths differ.
        UndefinedMetricError: If there is no image.
    """
    y, s = np.asarray(labels), np.asarray(scores, np.float64)
    if y.ndim != 1 or y.shape != s.shape:
        raise MetricInputError(f"found labels of shape {y.shape} and scores of shape {s.shape}, wanted (n,) twice")
    if not len(y):
        raise UndefinedMetricError("there is no image")
    if not ((y == 0) | (y == 1)).all():
        raise MetricInputError(f"found the labels {np.unique(y).tolist()[:5]}, wanted 0 and 1")
    if not np.isfinite(s).all():
        raise MetricInputError(f"{int((~np.isfinite(s)).sum())} of {len(s)} scores are not finite")
    return y.astype(np.int64), s


def roc_auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the ROC curve: how often an image with a nodule outscores one without, a tie counting half.

    Args:
        labels: 0 or 1, shape (n,).
        scores: Finite, shape (n,).
        weights: How often each image counts, shape (n,); once each if None.

    Returns:
        Unitless, [0, 1]; 0.5 is chance.

    Raises:
        UndefinedMetricError: If a class has no image.
        MetricInputError: As `checked`.

    >>> roc_auc([0, 1, 0, 1], [0.1, 0.8, 0.5, 0.5])
    0.875
    """
    return Ranking(labels, scores).roc_auc(weights)


def average_precision(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Average precision: the precision at each distinct score, weighted by the sensitivity gained there.

    Steps, not trapezoids: between two points of the curve nothing can be reached by interpolation. Arguments and errors
    as of `roc_auc`. A score that knows nothing has about the prevalence.

    Source: Davis & Goadrich, ICML 2006.

    >>> average_precision([1, 0, 1], [0.9, 0.8, 0.7])
    0.8333333333333333
    """
    return Ranking(labels, scores).average_precision(weights)


def brier(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean squared distance of score and label, [0, 1], lower is better.

    Source: Brier, 1950, Monthly Weather Review 78: 1. His sum over both classes is twice this.

    >>> brier([1, 0], [0.5, 0.0])
    0.125
    """
    y, s = checked(labels, scores)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    return ratio(float(np.dot(w, (s - y) ** 2)), float(w.sum()), "there is no image")


def equal_mass_bins(scores: ArrayLike, bins: int) -> NDArray[np.intp]:
    """Bin of each score, 0 .. bins - 1 from low to high, each bin with about as many images.

    An image goes where its mid-rank lies, so equal scores share a bin and the order of the images plays no part. A bin
    may then stay empty.

    >>> equal_mass_bins([0.1, 0.9, 0.9, 0.2], 2)
    array([0, 1, 1, 0])
    """
    s = np.asarray(scores, np.float64)
    ordered = np.sort(s)
    below, through = np.searchsorted(ordered, s, "left"), np.searchsorted(ordered, s, "right")
    return ((below + through) * bins // (2 * len(s))).astype(np.intp)


def calibration_error(
    labels: ArrayLike, scores: ArrayLike, where: NDArray[np.intp], weights: ArrayLike | None = None
) -> float:
    """Expected calibration error: how far mean score and fraction with a nodule lie apart in a bin, on
    average.

    Args:
        labels: 0 or 1, shape (n,).
        scores: Probabilities, shape (n,).
        where: Bin of each image, shape (n,); `equal_mass_bins` gives it. Resamples keep the bins of the sample.
        weights: How often each image counts, shape (n,); once each if None.

    Returns:
        Unitless, [0, 1], lower is better. Chance alone makes it positive, and more so in a resample, so that its
        percentile interval lies high.

    Source: Naeini et al., AAAI 2015, with bins of equal mass instead of equal width.

    >>> calibration_error([1, 0], [0.75, 0.5], np.array([1, 0]))
    0.375
    """
    y, s = checked(labels, scores)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    gaps = np.bincount(where, w * (s - y))
    return ratio(float(np.abs(gaps).sum()), float(w.sum()), "there is no image")


def calibration_errors(
    labels: NDArray[np.int64], scores: Floats, where: NDArray[np.intp], weights: NDArray[Any]
) -> Floats:
    """`calibration_error` of each of b resamples, shape (b,); arguments as there, weights of shape (b, n).

    >>> calibration_errors(np.array([1, 0]), np.array([0.75, 0.5]), np.array([1, 0]), np.array([[1, 1], [0, 2]]))
    array([0.375, 0.5  ])
    """
    gaps = np.zeros((len(scores), int(where.max(initial=-1)) + 1))
    gaps[np.arange(len(scores)), where] = scores - labels
    return ratio(np.abs(weights @ gaps).sum(axis=1), weights.sum(axis=1), "there is no image")


def reliability(labels: ArrayLike, scores: ArrayLike, bins: int, confidence: float) -> list[dict[str, float]]:
    """Reliability curve: for each bin that holds images, what was said and what came true.

    Args:
        labels: 0 or 1, shape (n,).
        scores: Probabilities, shape (n,).
        bins: Number of bins of equal mass.
        confidence: Of Wilson's interval of the fraction, such as 0.95.

    Returns:
        One mapping for each bin from low to high: mean `score`, `fraction` with a nodule, its interval `low` to `high`,
        and number of images `n`.

    >>> rows = reliability([1, 0, 1, 1], [0.5, 0.25, 0.75, 0.75], 2, 0.95)
    >>> [(row["score"], row["fraction"], row["n"]) for row in rows]
    [(0.375, 0.5, 2), (0.75, 1.0, 2)]
    """
    y, s = checked(labels, scores)
    where = equal_mass_bins(s, bins)
    rows = []
    for number in np.unique(where):
        inside = where == number
        n, found = int(inside.sum()), int(y[inside].sum())
        low, high = wilson(found, n, confidence)
        rows.append({"score": float(s[inside].mean()), "fraction": found / n, "low": low, "high": high, "n": n})
    return rows


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """ROC curve: false positive rates and sensitivities from (0, 0) to (1, 1), and the thresholds.

    The first threshold is infinite: nothing is called positive there. Errors as of `roc_auc`.

    >>> [part.tolist() for part in roc_curve([0, 1, 1], [0.2, 0.9, 0.2])]
    [[0.0, 0.0, 1.0], [0.0, 0.5, 1.0], [inf, 0.9, 0.2]]
    """
    ranking = Ranking(labels, scores)
    hits, alarms = ranking.curve()
    start = np.zeros(1)
    thresholds = np.append(np.inf, ranking.thresholds)
    return np.append(start, alarms / alarms[-1]), np.append(start, hits / hits[-1]), thresholds


def precision_recall_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Precision-recall curve: sensitivities, rising, the precision at each, and the thresholds, falling.

    It is to be drawn as a staircase whose level from one sensitivity to the next is the precision at the next: then the
    area under it is the average precision. Errors as of `roc_auc`.

    >>> [part.tolist() for part in precision_recall_curve([0, 1, 1, 0], [0.8, 0.9, 0.5, 0.2])]
    [[0.5, 0.5, 1.0, 1.0], [1.0, 0.5, 0.6666666666666666, 0.5], [0.9, 0.8, 0.5, 0.2]]
    """
    ranking = Ranking(labels, scores)
    hits, alarms = ranking.curve()
    return hits / hits[-1], hits / (hits + alarms), ranking.thresholds
