"""Validation metrics of a model that answers with one of two tokens; the checkpoint is selected by one of them."""

import numpy as np

from stages.lib.metrics import binary, calibration
from stages.lib.metrics.ratios import f1_score

METRICS = ("loss", "balanced_accuracy", "f1", "average_precision")


def validation_metrics(pair: np.ndarray, labels: np.ndarray, offset: float) -> dict[str, float | None]:
    """Metrics of `METRICS` on validation images; None for one that needs a class which is not there.

    The margin z = logit_positive - logit_negative of a model trained at odds o with weight w holds ln(o w) too much; an
    image speaks for a nodule where z > ln(o w). `loss` is the mean cross-entropy after z is moved to the validation
    images' own odds; `balanced_accuracy` is that at the point z = ln(o w); `f1` is the largest over all thresholds;
    `average_precision` does not depend on any.

    Args:
        pair: Logits of the negative and the positive answer, float array of shape (n, 2).
        labels: Int array of shape (n,), 0 or 1.
        offset: ln(o w), see `calibration.training_offset`.
    """
    positive = int(labels.sum())
    if not 0 < positive < len(labels):
        return dict.fromkeys(METRICS)
    evidence = (pair[:, 1] - pair[:, 0]).astype(np.float64) - offset
    if not np.isfinite(evidence).all():
        return dict.fromkeys(METRICS)
    margin = evidence + calibration.logit(positive / len(labels))
    ranking = binary.Ranking(labels, evidence)
    tp, fp = ranking.curve()
    return {
        "loss": calibration.log_loss(labels, margin, np.ones(len(labels))),
        "balanced_accuracy": binary.balanced_accuracy(binary.confusion(labels, evidence > 0)),
        "f1": float(f1_score(tp, tp + fp, tp[-1]).max()),
        "average_precision": ranking.average_precision(),
    }
