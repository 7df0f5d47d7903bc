"""Claims about stages.lib.metrics.binary and stages.lib.metrics.comparison."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn import metrics as sk
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from stages.lib.core.errors import MetricInputError, UndefinedMetricError
from stages.lib.metrics import binary as c
from stages.lib.metrics.comparison import area_standard_error, delong, holm, mcnemar

GOLDEN = c.Confusion(147, 246, 259, 8808)
Y = np.array([0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1])
P = np.array([0.1, 0.35, 0.24, 0.8, 0.2, 0.85, 0.13, 0.85, 0.74, 0.58, 0.71, 0.25])
Q = np.array([0.2, 0.3, 0.5, 0.6, 0.1, 0.9, 0.4, 0.35, 0.8, 0.3, 0.6, 0.7])

images = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]), st.integers(0, 3)),
    min_size=2,
    max_size=40,
).filter(lambda rows: {y for y, _, w in rows if w} == {0, 1})


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("precision", 0.3740),
        ("sensitivity", 0.3621),
        ("specificity", 0.9728),
        ("f1", 0.3680),
        ("accuracy", 0.9466),
        ("balanced_accuracy", 0.6674),
        ("mcc", 0.3401),
    ],
)
def test_the_published_row_comes_out_of_its_confusion(metric, value):
    assert round(c.THRESHOLD_METRICS[metric](GOLDEN), 4) == value


def test_the_twelve_images_have_the_reference_areas_and_brier_score():
    assert c.roc_auc(Y, P) == pytest.approx(0.708333, abs=5e-7)
    assert c.roc_auc(Y, Q) == pytest.approx(0.861111, abs=5e-7)
    assert c.average_precision(Y, P) == pytest.approx(0.645833, abs=5e-7)
    assert c.brier(Y, P) == pytest.approx(0.238550, abs=5e-7)


def test_delong_gives_the_reference_error_and_paired_p():
    assert area_standard_error(Y, P) == pytest.approx(0.168737, abs=5e-7)
    test = delong(Y, P, Q)
    assert test.difference == pytest.approx(c.roc_auc(Y, P) - c.roc_auc(Y, Q))
    assert test.z == pytest.approx(-0.910366, abs=5e-7)
    assert test.p == pytest.approx(0.362629, abs=5e-7)


def test_delong_agrees_with_the_sum_over_all_pairs_of_images():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 60)
    a, b = rng.integers(0, 6, (2, 60)) + y
    kernels = [np.sign(s[y == 1][:, None] - s[y == 0][None, :]) / 2 + 0.5 for s in (a, b)]
    gap = kernels[0] - kernels[1]
    variance = gap.mean(1).var(ddof=1) / len(gap) + gap.mean(0).var(ddof=1) / gap.shape[1]
    test = delong(y, a, b)
    assert test.standard_error == pytest.approx(variance**0.5)
    assert test.p == pytest.approx(2 * norm.sf(abs(gap.mean()) / variance**0.5))


def test_delong_changes_only_its_sign_if_the_models_are_swapped():
    assert delong(Y, P, Q).z == pytest.approx(-delong(Y, Q, P).z)


def test_delong_refuses_equal_rankings_and_a_single_image_of_a_class():
    with pytest.raises(UndefinedMetricError, match="does not vary"):
        delong(Y, P, P * 2)
    with pytest.raises(UndefinedMetricError, match="1 images with"):
        delong([1, 0, 0], [0.3, 0.2, 0.1], [0.1, 0.2, 0.3])


def test_mcnemar_has_the_reference_p_and_agrees_with_statsmodels():
    assert mcnemar(1, 8) == pytest.approx(0.0390625)
    for first, second in ((0, 3), (4, 4), (7, 19), (30, 12)):
        second_opinion = statsmodels_mcnemar([[5, first], [second, 5]], exact=True).pvalue
        assert mcnemar(first, second) == pytest.approx(second_opinion)
    assert mcnemar(0, 0) == 1.0
    for counts in ((-1, 2), (2, -1)):
        with pytest.raises(MetricInputError, match="-1"):
            mcnemar(*counts)


def test_two_images_of_each_class_are_enough_for_delong():
    assert area_standard_error([1, 1, 0, 0], [0.9, 0.4, 0.5, 0.1]) == pytest.approx((2 * 0.125 / 2) ** 0.5)


@pytest.mark.parametrize("p_values", [[0.01, 0.04, 0.03], [0.9, 0.8], [0.02], [0.3, 0.001, 0.3, 0.26, 0.04], []])
def test_holms_correction_agrees_with_statsmodels(p_values):
    theirs = multipletests(p_values, method="holm")[1].tolist() if p_values else []
    assert holm(p_values) == pytest.approx(theirs)


@settings(max_examples=60, deadline=None)
@given(images)
def test_areas_and_brier_agree_with_scikit_learn_with_ties_and_weights(rows):
    y, s, w = (np.array(column) for column in zip(*rows, strict=True))
    assert c.roc_auc(y, s, w) == pytest.approx(sk.roc_auc_score(y, s, sample_weight=w))
    assert c.average_precision(y, s, w) == pytest.approx(sk.average_precision_score(y, s, sample_weight=w))
    assert c.brier(y, s, w) == pytest.approx(sk.brier_score_loss(y, s, sample_weight=w))


@settings(max_examples=40, deadline=None)
@given(images)
def test_a_weight_is_the_same_as_so_many_copies_of_the_image(rows):
    y, s, w = (np.array(column) for column in zip(*rows, strict=True))
    copies = np.repeat(np.arange(len(y)), w)
    ranking, where = c.Ranking(y, s), c.equal_mass_bins(s, 4)
    assert ranking.roc_auc(w) == pytest.approx(c.roc_auc(y[copies], s[copies]))
    assert ranking.average_precision(w) == pytest.approx(c.average_precision(y[copies], s[copies]))
    assert c.calibration_error(y, s, where, w) == pytest.approx(
        c.calibration_error(y[copies], s[copies], where[copies])
    )
    assert c.confusion(y, s >= 0.5, w) == c.confusion(y[copies], s[copies] >= 0.5)


@settings(max_examples=40, deadline=None)
@given(images)
def test_threshold_metrics_agree_with_scikit_learn_where_they_are_defined(rows):
    y, s, w = (np.array(column) for column in zip(*rows, strict=True))
    called = s >= 0.5
    confusion = c.confusion(y, called, w)
    assert c.accuracy(confusion) == pytest.approx(sk.accuracy_score(y, called, sample_weight=w))
    assert c.balanced_accuracy(confusion) == pytest.approx(sk.balanced_accuracy_score(y, called, sample_weight=w))
    assert c.sensitivity(confusion) == pytest.approx(sk.recall_score(y, called, sample_weight=w))
    assert c.f1(confusion) == pytest.approx(sk.f1_score(y, called, sample_weight=w))
    if len(set(called[w > 0])) == 2:
        assert c.precision(confusion) == pytest.approx(sk.precision_score(y, called, sample_weight=w))
        assert c.mcc(confusion) == pytest.approx(sk.matthews_corrcoef(y, called, sample_weight=w))


@settings(max_examples=60, deadline=None)
@given(images, st.randoms(use_true_random=False))
def test_the_order_of_the_images_plays_no_part(rows, random):
    shuffled = random.sample(rows, len(rows))
    values = []
    for some in (rows, shuffled):
        y, s, _ = (np.array(column) for column in zip(*some, strict=True))
        values.append([c.roc_auc(y, s), c.average_precision(y, s), c.calibration_error(y, s, c.equal_mass_bins(s, 5))])
    assert values[0] == pytest.approx(values[1])


@settings(max_examples=60, deadline=None)
@given(images)
def test_the_area_turns_around_when_the_score_does_and_ignores_monotone_maps(rows):
    y, s, _ = (np.array(column) for column in zip(*rows, strict=True))
    assert c.roc_auc(y, -s) == pytest.approx(1 - c.roc_auc(y, s))
    assert c.roc_auc(y, np.exp(3 * s)) == pytest.approx(c.roc_auc(y, s))


def test_the_curves_agree_with_scikit_learn():
    fpr, tpr, thresholds = c.roc_curve(Y, P)
    expected = sk.roc_curve(Y, P, drop_intermediate=False)
    assert np.allclose(fpr, expected[0]) and np.allclose(tpr, expected[1]) and np.array_equal(thresholds, expected[2])
    recall, precision, thresholds = c.precision_recall_curve(Y, P)
    theirs = sk.precision_recall_curve(Y, P)
    assert np.allclose(precision[::-1], theirs[0][:-1]) and np.allclose(recall[::-1], theirs[1][:-1])
    assert np.array_equal(thresholds[::-1], theirs[2])
    assert np.dot(np.diff(recall, prepend=0), precision) == pytest.approx(c.average_precision(Y, P))


def test_bins_of_equal_mass_are_those_of_array_split_without_ties():
    scores = np.random.default_rng(0).permutation(60) / 60
    parts = np.array_split(np.sort(scores), 15)
    where = c.equal_mass_bins(scores, 15)
    assert all(np.array_equal(np.sort(scores[where == k]), parts[k]) for k in range(15))


def test_calibration_error_by_hand():
    y, s = np.array([0, 1, 1, 1]), np.array([0.1, 0.3, 0.6, 0.8])
    assert c.calibration_error(y, s, c.equal_mass_bins(s, 2)) == pytest.approx((2 * 0.3 + 2 * 0.3) / 4)


def test_reliability_rows_count_every_image_and_hold_the_mean_score():
    rows = c.reliability(Y, P, 5, 0.95)
    assert sum(row["n"] for row in rows) == 12
    assert sum(row["n"] * row["score"] for row in rows) == pytest.approx(P.sum())
    assert all(row["low"] <= row["fraction"] <= row["high"] for row in rows)
    error = sum(row["n"] * abs(row["score"] - row["fraction"]) for row in rows) / 12
    assert error == pytest.approx(c.calibration_error(Y, P, c.equal_mass_bins(P, 5)))


def test_predictive_values_at_the_own_prevalence_are_those_of_the_confusion():
    prevalence = 406 / 9460
    ppv, npv = c.predictive_values(c.sensitivity(GOLDEN), c.specificity(GOLDEN), prevalence)
    assert ppv == pytest.approx(147 / 393) and npv == pytest.approx(8808 / 9067)


@pytest.mark.parametrize(
    ("metric", "confusion", "why"),
    [
        (c.precision, c.Confusion(0, 0, 3, 4), "no image was called positive"),
        (c.sensitivity, c.Confusion(0, 1, 0, 4), "no image has a nodule"),
        (c.specificity, c.Confusion(1, 0, 2, 0), "every image has a nodule"),
        (c.f1, c.Confusion(0, 0, 0, 4), "no image has a nodule or was called positive"),
        (c.mcc, c.Confusion(0, 0, 3, 4), "called the same"),
        (c.accuracy, c.Confusion(0, 0, 0, 0), "there is no image"),
        (c.balanced_accuracy, c.Confusion(0, 1, 0, 4), "no image has a nodule"),
    ],
)
def test_an_undefined_metric_is_an_error_with_its_reason_and_never_0(metric, confusion, why):
    with pytest.raises(UndefinedMetricError, match=why):
        metric(confusion)


def test_areas_need_both_classes_also_in_a_resample():
    with pytest.raises(UndefinedMetricError, match="no image has a nodule"):
        c.roc_auc([0, 0], [0.1, 0.2])
    with pytest.raises(UndefinedMetricError, match="every image has a nodule"):
        c.average_precision([1, 1], [0.1, 0.2])
    with pytest.raises(UndefinedMetricError, match="no image has a nodule"):
        c.Ranking([0, 1], [0.1, 0.2]).roc_auc([2, 0])


@pytest.mark.parametrize(
    ("labels", "scores", "why"),
    [
        ([0, 2], [0.1, 0.2], "labels \\[0, 2\\]"),
        ([0, 1], [0.1, np.nan], "1 of 2 scores"),
        ([0, 1], [0.1, np.inf], "1 of 2 scores"),
        ([0, 1], [0.1], "shape"),
    ],
)
def test_input_that_is_not_labels_and_scores_is_refused(labels, scores, why):
    with pytest.raises(MetricInputError, match=why):
        c.roc_auc(labels, scores)
