"""Catalog of the metrics: what each number is called, in which unit, and which direction is better.

A measure whose metric is not in this catalog cannot be written. The order here is that of the report.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from stages.lib.core.errors import MetricInputError
from stages.lib.core.params import unknown

THRESHOLDS: Mapping[str, str] = {
    "half": "score 0.5",
    "f1": "threshold of the best F1",
    "youden": "Youden threshold",
    "specificity_95": "threshold for specificity 0.95",
}
TOLERANCES: Mapping[str, str] = {"tight": "tight distance", "tolerant": "tolerant distance"}
FALSE_POINT_RATES: Mapping[str, float] = {
    "1_8": 0.125,
    "1_4": 0.25,
    "1_2": 0.5,
    "1": 1.0,
    "2": 2.0,
    "4": 4.0,
    "8": 8.0,
}  # false points per image at which FROC sensitivities are read


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        name: Its name in tables and in metrics.json.
        label: Its name in the report.
        unit: Of its value; empty for a fraction or an index.
        higher_is_better: None where neither direction is.
        whole: Whether it counts, so that it is shown without decimals.
        headline_at: Values of `at` with which it is a headline metric; None stands for a metric without `at`.
    """

    name: str
    label: str
    unit: str = ""
    higher_is_better: bool | None = None
    whole: bool = False
    headline_at: tuple[str | None, ...] = ()


def _up(name: str, label: str, *headline_at: str | None, unit: str = "") -> Metric:
    return Metric(name=name, label=label, unit=unit, higher_is_better=True, headline_at=headline_at)


def _down(name: str, label: str, *headline_at: str | None, unit: str = "") -> Metric:
    return Metric(name=name, label=label, unit=unit, higher_is_better=False, headline_at=headline_at)


def _count(name: str, label: str) -> Metric:
    return Metric(name=name, label=label, whole=True)


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        # scores of images, without a threshold
        _up("roc_auc", "ROC AUC", None),
        _up("pr_auc", "PR AUC (average precision)", None),
        _down("brier", "Brier score"),
        _down("ece", "Calibration error (ECE)"),
        _down("brier_calibrated", "Brier score, calibrated", None),
        _down("ece_calibrated", "Calibration error (ECE), calibrated", None),
        Metric(name="prevalence", label="Prevalence"),
        _up("answer_mass", "Probability of the two answers together, mean"),
        # counts: of images at a threshold, of points at a tolerance
        _count("true_positives", "True positives"),
        _count("false_positives", "False positives"),
        _count("false_negatives", "False negatives"),
        _count("true_negatives", "True negatives"),
        # calls at a threshold
        _up("accuracy", "Accuracy"),
        _up("balanced_accuracy", "Balanced accuracy", "f1"),
        _up("sensitivity", "Sensitivity", "specificity_95"),
        _up("specificity", "Specificity"),
        # calls at a threshold, or points at a tolerance
        _up("precision", "Precision", "tolerant"),
        _up("recall", "Recall", "tolerant"),
        Metric(name="random_placement_recall", label="Recall of the random-placement baseline, in the lungs"),
        _up("f1", "F1", "f1", "tolerant", "iou_50"),
        _up("mcc", "MCC"),
        _up("ppv_by_bayes", "PPV at another prevalence"),
        _up("npv_by_bayes", "NPV at another prevalence"),
        _up("precision_macro", "Precision, mean over images"),
        _up("recall_macro", "Recall, mean over images"),
        _up("f1_macro", "F1, mean over images"),
        _up("pck", "PCK"),
        _down("mean_radial_error_px", "Radial error of pairs, mean", unit="px"),
        _down("std_radial_error_px", "Radial error of pairs, spread", unit="px"),
        _down("median_radial_error_px", "Radial error of pairs, median", unit="px"),
        _down("mean_radial_error_mm", "Radial error of pairs, mean", unit="mm"),
        _down("median_radial_error_mm", "Radial error of pairs, median", unit="mm"),
        _down("non_lesion_fraction", "False points per image, all images"),
        # points, whatever the distance
        _up("count_exact", "Images with the right number of points", None),
        _down("count_error", "Error of the number of points, mean"),
        Metric(name="count_bias", label="Points too many per image, mean"),
        _down("nearest_point_px", "Distance of a point to its nearest nodule, median", unit="px"),
        _down("nearest_point_mm", "Distance of a point to its nearest nodule, median", None, unit="mm"),
        _down("mean_nearest_point_mm", "Distance of a point to its nearest nodule, mean", unit="mm"),
        # points on negative images
        _down("false_points_per_image", "False points per image", None),
        _down("fraction_with_point", "Fraction of images with a point"),
        # FROC; `at` is the tolerance, and for a sensitivity the rate of false points behind a stroke
        _up("froc_sensitivity", "Sensitivity at a rate of false points per image"),
        _up("cpm", "Mean sensitivity (CPM)"),
        # label and point together
        _up("joint_right", "Label and point both right, all images"),
        _up("joint_right_nodule", "Label and point both right, images with nodules"),
        _up("joint_right_negative", "Label right and no point, negative images"),
        # responses of a localizer, before any point
        _down("malformed_fraction", "Fraction of the responses that cannot be read"),
        _down("cut_fraction", "Fraction of the responses cut at max_new_tokens"),
        _down("completeness_error", "Completeness error of the attribution map, median"),
        # probes of what has no anatomy in it; neither direction is an accuracy
        Metric(name="probe_source_auc", label="Source told by the probe, ROC AUC"),
        Metric(name="probe_label_auc", label="Label told by the probe, ROC AUC"),
        # a subgroup of images against the others of its division
        Metric(name="roc_auc_gap", label="ROC AUC minus that of the other images"),
        Metric(name="roc_auc_gap_p", label="Test of this difference, p"),
        Metric(name="roc_auc_gap_p_holm", label="Test of this difference, p after Holm"),
        # two systems on the same images
        Metric(name="delong_z", label="DeLong's z"),
        Metric(name="delong_p", label="DeLong's test of the two ROC areas, p"),
        _count("only_first_right", "Images that the first alone calls rightly"),
        _count("only_second_right", "Images that the second alone calls rightly"),
        Metric(name="mcnemar_p", label="McNemar's exact test of the two sets of calls, p"),
        Metric(name="pr_auc_p", label="Test of the two average precisions over patients, p"),
        Metric(name="pr_auc_p_holm", label="Test of the two average precisions over patients, p after Holm"),
        # one of several systems on the same images
        _count("found_alone", "Positive images that it alone calls so"),
        # merged and unmerged adapter
        _down("margin_change_median", "Change of the margin of the two answers, median", unit="logits"),
        _down("margin_change_largest", "Change of the margin of the two answers, largest", unit="logits"),
        _count("calls_changed", "Images whose call at 0.5 changes"),
        # audits: images, labels or prompt changed
        _up("auc_before", "ROC AUC before the change"),
        _up("auc_after", "ROC AUC after the change"),
        Metric(name="auc_change", label="ROC AUC, after less before"),
        _up("evidence_drop", "Fall of the score without the nodule, mean", unit="logits"),
        _down("evidence_drop_control", "Fall of the score without another place, mean", unit="logits"),
        _up("evidence_drop_excess", "Fall without the nodule less fall without another place", unit="logits"),
        _up("agreement", "Agreement of the calls"),
        _up("kappa", "Cohen's kappa of the calls"),
        Metric(name="called_positive_before", label="Fraction called positive before the change"),
        Metric(name="called_positive_after", label="Fraction called positive after the change"),
        # answers about cases, by a judge (`at`; without it by the primary one)
        _up("good_fraction", "Rated good", None),
        Metric(name="partial_fraction", label="Rated partial"),
        _down("poor_fraction", "Rated poor"),
        _up("key_finding_rate", "Key finding found", None),
        _up("good_failures_poor", "Rated good, failures of the judge as poor"),
        Metric(name="good_least", label="Rated good, least that any rating of the judge's failures could make"),
        Metric(name="good_most", label="Rated good, most that any rating of the judge's failures could make"),
        _down("unrated_fraction", "Without a rating"),
        # answers about cases, by their texts
        _up("finding_f1", "Findings, F1, mean over cases", None),
        _up("finding_f1_strict", "Findings, F1, side and place too"),
        _up("finding_f1_pooled", "Findings, F1, all cases together"),
        _up("finding_precision", "Findings, precision"),
        _up("finding_recall", "Findings, recall"),
        _down("invented_per_case", "Findings invented per case", None),
        _down("wrong_side_per_case", "Findings on the wrong side, per case"),
        _up("rouge_l_precision", "ROUGE-L precision, mean"),
        _up("rouge_l_recall", "ROUGE-L recall, mean"),
        _up("rouge_l_f1", "ROUGE-L F1, mean", None),
        _up("answered_fraction", "Answered"),
        _down("truncated_fraction", "Cut at the limit of tokens"),
        _down("looping_fraction", "Repeats itself"),
        _down("empty_fraction", "Empty answer"),
        _down("refused_fraction", "Refused"),
        _down("failed_fraction", "No answer: the request failed"),
        Metric(name="words", label="Words, mean"),
        Metric(name="prompt_tokens", label="Tokens in, mean"),
        Metric(name="completion_tokens", label="Tokens out, mean"),
        _up("sample_agreement", "Finding F1 between the samples, mean"),
        # boxes of sentences; `at` is the IoU from which a box is right
        _up("f1_greedy", "F1, greedy matching"),
        _up("precision_sentences", "Precision, mean over sentences"),
        _up("recall_sentences", "Recall, mean over sentences"),
        _up("f1_sentences", "F1, mean over sentences"),
        _up("rodeo_localization", "RoDeO localization", None, unit="of 100"),
        _up("rodeo_shape", "RoDeO shape", None, unit="of 100"),
        _up("best_iou", "IoU of the best pair of boxes, mean"),
        _up("pointing_accuracy", "Centre of the box in a true box", None),
        Metric(name="pointing_chance", label="The same of a random point of the image"),
        # two arms on the same cases
        Metric(name="better_fraction", label="First rated better"),
        Metric(name="equal_fraction", label="Rated equal"),
        Metric(name="worse_fraction", label="First rated worse"),
        Metric(name="ordinal_effect", label="Fraction better less fraction worse"),
        Metric(name="sign_test_p", label="Sign test of the ratings, p"),
        _count("only_first_good", "Cases where the first alone is good"),
        _count("only_second_good", "Cases where the second alone is good"),
        Metric(name="mcnemar_good_p", label="McNemar's exact test of good, p"),
        Metric(name="mcnemar_good_p_holm", label="McNemar's exact test of good, p after Holm"),
        _count("only_first_good_failures_poor", "The first alone is good, failures of the judge as poor"),
        _count("only_second_good_failures_poor", "The second alone is good, failures of the judge as poor"),
        Metric(name="mcnemar_good_failures_poor_p", label="McNemar's exact test, failures of the judge as poor, p"),
        Metric(
            name="mcnemar_good_failures_poor_p_holm",
            label="McNemar's exact test, failures of the judge as poor, p after Holm",
        ),
        _count("power_cases", "Cases that the wanted power would take"),
        # two passes of ratings of the same answers
        _up("rating_agreement", "Same rating"),
        _up("rating_kappa", "Cohen's kappa of the ratings"),
        _up("rating_kappa_linear", "Cohen's kappa, linear weights"),
        _up("rating_kappa_quadratic", "Cohen's kappa, quadratic weights"),
        _up("rating_alpha", "Krippendorff's alpha, nominal"),
        _up("rating_alpha_ordinal", "Krippendorff's alpha, ordinal"),
        # retrieval: `at` is K; lenient: an equal text, or an image of the same study, is right too
        _up("recall_at_k_mean", "R@K, mean of both directions", "10"),
        Metric(name="chance_at_k_mean", label="R@K by chance, mean of both directions"),
        _up("recall_at_k", "R@K"),
        Metric(name="chance_at_k", label="R@K by chance"),
        _up("over_chance_at_k", "R@K, times chance"),
        _up("recall_at_k_lenient", "R@K, lenient"),
        Metric(name="chance_at_k_lenient", label="R@K by chance, lenient"),
        _down("median_rank", "Median rank"),
        _down("median_rank_lenient", "Median rank, lenient"),
        _up("reciprocal_rank", "Reciprocal rank, mean (MRR)"),
        _up("reciprocal_rank_lenient", "Reciprocal rank, mean, lenient"),
        _down("tied_pairs", "Wrong items as similar as the first right one, fraction"),
        _down("tied_queries", "Queries whose first right item is tied with a wrong one"),
        _count("pool_size", "Items in the pool"),
        # audits of the judges
        _up("expected_fraction", "Rated as expected"),
        Metric(name="grade_change", label="Change of the grade, mean", unit="grades"),
        Metric(name="length_rating_correlation", label="Correlation of rating and length at equal finding F1"),
        Metric(name="length_rating_correlation_rules", label="The same of ratings by rules"),
        Metric(name="length_rating_excess", label="Correlation of rating and length, beyond that of rules"),
        Metric(name="good_difference", label="Rated good, less what another judge calls good"),
    )
}
ORDER: Mapping[str, int] = {name: number for number, name in enumerate(METRICS)}


def metric(name: str) -> Metric:
    """Metric of that name.

    Raises:
        MetricInputError: If there is none.

    >>> metric("roc_auc").label, metric("brier").higher_is_better
    ('ROC AUC', False)
    """
    if name not in METRICS:
        raise MetricInputError(f"metric {unknown(name, METRICS)}")
    return METRICS[name]


def at_label(at: str) -> str:
    """Name of a threshold, a tolerance, an IoU, a rate of false points, or a number of items, in the report.

    >>> at_label("f1"), at_label("tight"), at_label("tight/1_8")
    ('threshold of the best F1', 'tight distance', 'tight distance, 1/8 false points per image')
    >>> at_label("10"), at_label("iou_50")
    ('K = 10', 'IoU from 0.50 on')
    """
    first, _, rate = at.partition("/")
    if first.isdecimal():
        return f"K = {first}"
    if first.startswith("iou_"):
        return f"IoU from {int(first.removeprefix('iou_')) / 100:.2f} on"
    label = THRESHOLDS.get(first) or TOLERANCES.get(first) or first
    return f"{label}, {rate.replace('_', '/')} false points per image" if rate else label
