"""What the chapter calls its metrics, and what stands behind a number of it."""

from collections.abc import Mapping
from typing import Any

from stages.lib.report.blocks import Number
from stages.lib.report.numbers import number

BEHIND = {
    "n": "images",
    "n_positive": "with a nodule",
    "n_negative": "of them negative",
    "n_patients": "patients",
    "n_points": "nodules",
    "n_predictions": "predicted points",
}
NAMES: Mapping[str, str] = {
    "nih": "NIH",
    "lidc": "LIDC",
    "other": "Other",
    "train": "Training",
    "val": "Validation",
    "test": "Test",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC (average precision)",
    "brier": "Brier score",
    "brier_calibrated": "Brier score, calibrated",
    "ece": "Calibration error (ECE)",
    "ece_calibrated": "Calibration error (ECE), calibrated",
    "as_trained": "Adapter on the base as it was trained",
    "merged": "Adapter merged into the unquantized base",
    "ppv_by_bayes": "PPV at another prevalence",
    "npv_by_bayes": "NPV at another prevalence",
    "non_lesion_fraction": "False points per image, negative ones included",
    "right": "Label and point both right, all images",
    "nodule_right": "Label and point both right, images with nodules",
    "negative_right": "Label right and no point, negative images",
    "cpm": "Mean sensitivity (CPM)",
    **{
        f"sensitivity_at_{key}": f"Sensitivity at {key.replace('_', '/')} false points per image"
        for key in ("1_8", "1_4", "1_2", "1", "2", "4", "8")
    },
    "mcc": "MCC",
    "f1": "F1",
    "pck": "PCK",
    "random_placement_recall": "Recall by chance",
    "f1_macro": "F1, mean over images",
    "mean_radial_error_px": "Radial error of pairs, mean, px",
    "std_radial_error_px": "Radial error of pairs, spread, px",
    "median_radial_error_px": "Radial error of pairs, median, px",
    "precision_macro": "Precision, mean over images",
    "recall_macro": "Recall, mean over images",
    "mean_radial_error_mm": "Radial error of pairs, mean, mm",
    "median_radial_error_mm": "Radial error of pairs, median, mm",
    "nearest_point_mm": "Distance of a point to its nearest nodule, median, mm",
    "mean_nearest_point_mm": "Distance of a point to its nearest nodule, mean, mm",
    "count_exact_with_negatives": "Images with the right number of points, negative ones included",
    "nearest_point_px": "Distance of a point to its nearest nodule, median, px",
    "count_exact": "Images with the right number of points",
    "count_error": "Error of the number of points, mean",
    "count_bias": "Points too many per image, mean",
    "false_points_per_image": "False points per image",
    "fraction_with_point": "Fraction of images with a point",
    "positive_images": "Images with a nodule",
    "positive_validation_images": "Validation images with a nodule",
    "negatives_seen": "Images without a nodule seen",
    "negatives_seen_fraction": "Fraction of them seen (coverage)",
    "loss_first": "Loss, first tenth of the steps",
    "loss_last": "Loss, last tenth of the steps",
    "training_odds": "Odds of a nodule as sampled",
    "val_loss": "Loss on validation",
    "val_f1": "F1 on validation",
    "val_balanced_accuracy": "Balanced accuracy on validation",
    "val_average_precision": "Average precision on validation",
    "half": "score 0.5",
    "f1_threshold": "threshold of the best F1",
    "youden": "Youden threshold",
    "specificity_95": "threshold for specificity 0.95",
}
LABELS = {1: "Nodule", 0: "No finding", None: "Not labelled"}


def cell(metric: Any, *, signed: bool = False) -> Number:
    """How a metric of metrics.json is shown, with the images, patients and nodules behind it.

    >>> cell({"value": 0.5, "n": 142, "n_positive": 12}).note
    '142 images, 12 with a nodule'
    """
    return number(metric, BEHIND, signed=signed)


def is_metric(value: Any) -> bool:
    """Whether `value` is a metric of metrics.json: a mapping with a value, be it null."""
    return isinstance(value, Mapping) and "value" in value


def name(key: str) -> str:
    """What a key of metrics.json is called on the page.

    >>> name("roc_auc"), name("balanced_accuracy")
    ('ROC AUC', 'Balanced accuracy')
    """
    return NAMES.get(key) or key.replace("_", " ").capitalize()


def threshold_name(key: str) -> str:
    """What a threshold is called on the page.

    >>> threshold_name("f1")
    'threshold of the best F1'
    """
    return NAMES.get(f"{key}_threshold") or name(key)
