"""Validation metrics of a model that answers with one of two tokens; the checkpoint is selected by one of them."""

import math

import numpy as np

METRICS = ("loss", "balanced_accuracy", "f1", "average_precision")


def validation_metrics(pair: np.ndarray, labels: np.ndarray, shift: float) -> dict[str, float | None]:
    """Return the metrics of `METRICS` on validation images; None for one that needs a class which is not there.

    The margin z = logit_positive - logit_negative of a model trained at odds o with weight w holds ln(o w) too much; a
    image speaks for a nodule where z > ln(o w). `loss` is the mean cross-entropy after z is moved to the validation
    images' own odds; `balanced_accuracy` is that at the point z = ln(o w); `f1` is the largest over all thresholds;
    `average_precision` does not depend on any.

    Args:
        pair: Logits of the negative and the positive answer, float array of shape (n, 2).
        labels: Int array of shape (n,), 0 or 1.
        shift: ln(o w).
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    positive = int(labels.sum())
    if not 0 < positive < len(labels):
        return dict.fromkeys(METRICS)
    evidence = (pair[:, 1] - pair[:, 0]).astype(np.float64) - shift
    if not np.isfinite(evidence).all():
        return dict.fromkeys(METRICS)
    margin = evidence + math.log(positive / (len(labels) - positive))
    precision, recall, _ = precision_recall_curve(labels, evidence)
    return {
        "loss": float(np.logaddexp(0, np.where(labels == 1, -margin, margin)).mean()),
        "balanced_accuracy": float((np.mean(evidence[labels == 1] > 0) + np.mean(evidence[labels == 0] <= 0)) / 2),
        "f1": float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))),
        "average_precision": float(average_precision_score(labels, evidence)),
    }
