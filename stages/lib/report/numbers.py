"""How a number is written: three decimals, its interval beside it, and a dash with the reason where there is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NAMES: Mapping[str, str] = {
    "zero_shot": "Zero-shot",
    "tuned": "Tuned",
    "medgemma": "MedGemma",
    "chexagent": "CheXagent-2",
    "attribution": "Attribution map",
    "combined": "Combined",
    "cascade": "Cascade",
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
    "coverage_of_negatives": "Fraction of the negative images shown",
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
DASH = "—"
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Cell:
    """A measured number, ready to be shown.

    Attributes:
        text: The value in words, or a dash.
        interval: "[low, high]", or nothing if there is none.
        value: The value itself; None if it is undefined.
        low: Lower end of its interval; None if there is none.
        high: Upper end of its interval; None if there is none.
        note: How many images and patients stand behind it, or why there is no value.
    """

    text: str
    interval: str
    value: float | None
    low: float | None
    high: float | None
    note: str


def cell(metric: Any, *, signed: bool = False) -> Cell:
    """Return how `metric` is shown: a bare number, null, or the mapping {value, low, high, n, reason, ...}.

    >>> cell({"value": 0.9123, "low": 0.85, "high": 0.95, "n": 142}).text
    '0.912'
    >>> cell({"value": 7, "low": 3.0, "high": 11.5}).interval
    '[3, 12]'
    >>> cell({"value": None, "reason": "no positive image"})
    Cell(text='—', interval='', value=None, low=None, high=None, note='no positive image')
    """
    facts: Mapping[str, Any] = metric if isinstance(metric, Mapping) else {"value": metric}
    value, low, high = facts.get("value"), facts.get("low"), facts.get("high")
    if value is None:
        return Cell(DASH, "", None, None, None, str(facts.get("reason") or "not measured"))
    interval = ""
    if low is not None and high is not None:
        # The ends of a count's interval may lie between two counts; they are shown as counts.
        ends = [round(end) if isinstance(value, int) else end for end in (low, high)]
        interval = f"[{decimal(ends[0], signed=signed)}, {decimal(ends[1], signed=signed)}]"
    return Cell(decimal(value, signed=signed), interval, value, low, high, _behind(facts))


def _behind(facts: Mapping[str, Any]) -> str:
    """Return what stands behind a number: images, patients, points, Wilson's interval, threshold, skipped resamples."""
    words = {
        "n": "images",
        "n_positive": "with a nodule",
        "n_negative": "of them negative",
        "n_patients": "patients",
        "n_points": "nodules",
        "n_predictions": "predicted points",
    }
    parts = [f"{facts[key]:,} {word}" for key, word in words.items() if facts.get(key) is not None]
    if facts.get("wilson_low") is not None:
        parts.append(f"Wilson [{decimal(facts['wilson_low'])}, {decimal(facts['wilson_high'])}]")
    if facts.get("threshold") is not None:
        parts.append(f"threshold {decimal(float(facts['threshold']))}")
    if facts.get("skipped_draws"):
        parts.append(f"{facts['skipped_draws']:,} resamples without a value")
    return ", ".join(parts)


def decimal(value: float, *, signed: bool = False) -> str:
    """Return a number as text: whole numbers as they are, others with three decimals, or one from 10 on.

    >>> decimal(0.25), decimal(12), decimal(0.0312, signed=True), decimal(1234.56)
    ('0.250', '12', '+0.031', '1,234.6')
    """
    if isinstance(value, int):
        text = f"{abs(value):,}"
    else:
        text = f"{abs(value):,.1f}" if abs(value) >= 10 else f"{abs(value):.3f}"
    negative = value < 0 and text.strip("0.,") != ""
    return f"{MINUS if negative else '+' if signed and value > 0 else ''}{text}"


def fact(value: Any) -> str:
    """Return a plain fact as text: numbers as `decimal` writes them, a dash where there is none.

    >>> fact(None), fact(1234), fact(True), fact("f1")
    ('—', '1,234', 'yes', 'f1')
    """
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    return decimal(value) if isinstance(value, int | float) else str(value)


def threshold_name(key: str) -> str:
    """Return what a threshold is called on the page.

    >>> threshold_name("f1")
    'threshold of the best F1'
    """
    return NAMES.get(f"{key}_threshold") or name(key)


def name(key: str) -> str:
    """Return what a key of metrics.json is called on the page.

    >>> name("roc_auc"), name("balanced_accuracy")
    ('ROC AUC', 'Balanced accuracy')
    """
    return NAMES.get(key) or key.replace("_", " ").capitalize()
