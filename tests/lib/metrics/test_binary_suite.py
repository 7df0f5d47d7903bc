"""Claims about stages.lib.metrics.binary_suite: intervals, and seven images by hand."""

import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm

from stages.lib.metrics import binary, binary_suite, curves, thresholds
from stages.lib.metrics.binary_suite import Scored, Settings
from stages.lib.metrics.bootstrap import resamples
from stages.lib.metrics.calibration import TEMPERATURES, Calibration, Curve, sigmoid
from stages.lib.metrics.comparison import delong
from stages.lib.metrics.measures import Key

SETTINGS = Settings(draws=300, seed=0, confidence=0.95, ece_bins=5, other_prevalence=0.05)
OF_VAL = Settings(**{**vars(SETTINGS), "seed": 1})
SENSITIVITY, F1 = Key("sensitivity", "specificity_95"), Key("f1", "f1")


def population(rng, patients, *, prevalence=0.3, shift=1.5):
    """Labels, differences of logits and patients of two images each that share half of what makes their score."""
    labels = np.repeat((rng.random(patients) < prevalence).astype(int), 2)
    noise = np.repeat(rng.normal(size=patients), 2) + rng.normal(size=2 * patients)
    return labels, shift * labels + np.sqrt(0.5) * noise, np.repeat(np.arange(patients), 2)


def scored(sample, chosen=None):
    """Images with their scores, and thresholds that were chosen on them or on others."""
    labels, z, patients = sample
    probability = 1 / (1 + np.exp(-z))
    return Scored(
        ids=[str(number) for number in range(len(labels))],
        labels=labels,
        patients=patients,
        scores=probability,
        evidence=z,
        calibrated=probability,
        thresholds=thresholds.choose(labels, probability) if chosen is None else chosen,
        reason="",
    )


def fitted(images, world_prevalence=None):
    """Calibration that left the scores as they were; by default at the prevalence of its images."""
    n, n_positive = len(images.labels), int(images.labels.sum())
    return Calibration(
        model="a",
        method="platt",
        intercept=0.0,
        temperature=1.0,
        at_bound=False,
        world_prevalence=n_positive / n if world_prevalence is None else world_prevalence,
        sources=("nih",),
        n=n,
        n_positive=n_positive,
        form_losses={},
        thresholds_on="score_calibrated",
        thresholds=images.thresholds,
        reason=None,
    )


def study(seed, val=60, test=60):
    """Validation and test images with the thresholds of the first, and these redrawn."""
    rng = np.random.default_rng(seed)
    on_val = scored(population(rng, val))
    on_test = scored(population(rng, test), on_val.thresholds)
    return on_val, on_test, binary_suite.redraw(on_val, fitted(on_val), OF_VAL)


def test_an_interval_at_a_chosen_threshold_is_of_thresholds_chosen_anew_on_resampled_validation_patients():
    on_val, on_test, redrawn = study(3)
    found = binary_suite.measure(on_test, SETTINGS, redrawn).measured
    nested, known = [], []
    pairs = zip(
        np.concatenate(list(resamples(on_val.patients, draws=SETTINGS.draws, seed=OF_VAL.seed))),
        np.concatenate(list(resamples(on_test.patients, draws=SETTINGS.draws, seed=SETTINGS.seed))),
        strict=True,
    )
    for of_val, of_test in pairs:
        chosen = thresholds.choose(np.repeat(on_val.labels, of_val), np.repeat(on_val.scores, of_val))
        for values, threshold in ((nested, chosen["f1"]), (known, on_val.thresholds["f1"])):
            confusion = binary.confusion(on_test.labels, on_test.scores >= threshold, of_test)
            values.append(binary.f1(confusion))
    one = found[F1]
    assert (one.low, one.high) == pytest.approx(tuple(np.quantile(nested, [0.025, 0.975])))
    assert (one.known_low, one.known_high) == pytest.approx(tuple(np.quantile(known, [0.025, 0.975])))
    wider = found[SENSITIVITY]
    assert wider.high - wider.low > 1.2 * (wider.known_high - wider.known_low)


def test_half_is_not_chosen_and_has_the_one_interval():
    _, on_test, redrawn = study(3)
    one = binary_suite.measure(on_test, SETTINGS, redrawn).measured[Key("sensitivity", "half")]
    assert one.low < one.value < one.high and one.known_low is one.known_high is None


def test_a_chosen_threshold_that_was_not_redrawn_has_the_interval_with_the_threshold_as_known_and_no_other():
    _, on_test, _ = study(3)
    one = binary_suite.measure(on_test, SETTINGS).measured[F1]
    assert one.low is one.high is None and one.known_low < one.value < one.known_high


def test_a_classifier_differs_from_itself_by_nothing_though_its_thresholds_are_redrawn():
    on_val, on_test, redrawn = study(3)
    first = binary_suite.measure(on_test, SETTINGS, redrawn)
    same = binary_suite.compare(first, first, (on_test, on_test), SETTINGS)[F1]
    assert same.value == same.low == same.high == same.known_low == same.known_high == 0
    # Another order of the same images would choose other thresholds, on the same patients.
    rng = np.random.default_rng(9)
    noisy = on_val.scores * np.exp(-rng.exponential(size=len(on_val.scores)))
    worse = scored((on_val.labels, np.log(noisy / (1 - noisy)), on_val.patients))
    at = scored((on_test.labels, np.log(on_test.scores / (1 - on_test.scores)), on_test.patients), worse.thresholds)
    second = binary_suite.measure(at, SETTINGS, binary_suite.redraw(worse, fitted(worse), OF_VAL))
    gap = binary_suite.compare(first, second, (on_test, at), SETTINGS)[SENSITIVITY]
    pairs = first.draws[SENSITIVITY] - second.draws[SENSITIVITY]
    assert (gap.low, gap.high) == pytest.approx(tuple(np.nanquantile(pairs, [0.025, 0.975])))
    assert gap.high - gap.low > gap.known_high - gap.known_low


def test_resamples_are_weighted_to_the_worlds_prevalence_as_validation_was():
    on_val, _, own = study(3)
    rare = binary_suite.redraw(on_val, fitted(on_val, world_prevalence=0.02), OF_VAL)
    assert np.median(rare["f1"]) > np.median(own["f1"])
    assert np.array_equal(rare["specificity_95"], own["specificity_95"], equal_nan=True)


def test_nested_intervals_of_a_published_test_split_take_seconds():
    rng = np.random.default_rng(0)
    on_val = scored(population(rng, 1580, prevalence=0.043))
    on_test = scored(population(rng, 4730, prevalence=0.043), on_val.thresholds)
    began = time.process_time()
    redrawn = binary_suite.redraw(on_val, fitted(on_val), OF_VAL)
    binary_suite.measure(on_test, SETTINGS, redrawn)
    assert time.process_time() - began < 1.5  # 300 of 2000 draws; 10 s in all at the very worst


@pytest.mark.slow
def test_the_nested_interval_covers_what_a_threshold_chosen_on_validation_reaches_and_the_one_as_known_does_not():
    z = np.linspace(-3, 6, 20001)
    sensitivity, false = norm.sf(z - 1.5), norm.sf(z)
    best_f1 = float((0.6 * sensitivity / (0.3 * sensitivity + 0.7 * false + 0.3)).max())
    truth = {SENSITIVITY: float(norm.sf(norm.isf(0.05) - 1.5)), F1: best_f1}
    covered = {(key, kind): [] for key in truth for kind in ("nested", "known")}
    for seed in range(300):
        _, on_test, redrawn = study(seed)
        found = binary_suite.measure(on_test, SETTINGS, redrawn).measured
        for key, value in truth.items():
            one = found[key]
            if one.value is not None:
                covered[key, "nested"].append(one.low <= value <= one.high)
                covered[key, "known"].append(one.known_low <= value <= one.known_high)
    fractions = {pair: np.mean(hits) for pair, hits in covered.items()}
    assert all(len(hits) > 280 for hits in covered.values())
    for key in truth:
        assert 0.90 <= fractions[key, "nested"] <= 0.98
        assert fractions[key, "known"] < fractions[key, "nested"]
    assert fractions[SENSITIVITY, "known"] < 0.87


# Raw scores reach 0.5 on a, b and e, one of them exactly; calibrated ones reach the thresholds on others.
BY_HAND = Scored(
    ids=list("abcdefg"),
    labels=np.array([1, 1, 1, 0, 0, 0, 0]),
    patients=np.array(["p", "p", "q", "r", "r", "s", "t"]),
    scores=np.array([0.9, 0.5, 0.4, 0.3, 0.6, 0.2, 0.1]),
    evidence=np.array([0.9, 0.5, 0.4, 0.3, 0.6, 0.2, 0.1]),
    calibrated=np.array([0.7, 0.4, 0.2, 0.1, 0.3, 0.05, 0.01]),
    thresholds={"half": 0.5, "f1": 0.2, "youden": 0.4, "specificity_95": None},
    reason="too few",
)
SAMPLE = ("ids", "labels", "patients", "scores", "evidence", "calibrated")  # what is known of each image
CELLS = ("true_positives", "false_positives", "false_negatives", "true_negatives")


def given(scores):
    """The images by hand with other scores, which rank them too."""
    return replace(BY_HAND, scores=scores, evidence=scores)


def cells(measured, at):
    return tuple(measured[Key(name, at)].value for name in CELLS)


def test_calls_are_of_the_raw_score_at_half_and_of_the_calibrated_one_at_chosen_thresholds_each_inclusive():
    found = binary_suite.calls(BY_HAND)
    assert {name: "".join(np.array(BY_HAND.ids)[one.positive]) for name, one in found.items()} == {
        "half": "abe",
        "f1": "abce",
        "youden": "ab",
    }
    assert {name: one.threshold for name, one in found.items()} == {"half": 0.5, "f1": 0.2, "youden": 0.4}
    assert list(binary_suite.calls(replace(BY_HAND, calibrated=None))) == ["half"]


def test_counts_and_rates_by_hand_and_why_a_threshold_has_none():
    measured = binary_suite.measure(BY_HAND, SETTINGS).measured
    assert [cells(measured, at) for at in ("half", "f1", "youden")] == [(2, 1, 1, 3), (3, 1, 0, 3), (2, 0, 1, 4)]
    assert {at: measured[Key("sensitivity", at)].value for at in ("half", "f1")} == {"half": 2 / 3, "f1": 1.0}
    one = measured[Key("prevalence")]
    assert (one.value, one.n, one.n_positive, one.n_patients) == (3 / 7, 7, 3, 5)
    assert (measured[Key("f1", "f1")].threshold, measured[Key("true_negatives", "f1")].threshold) == (0.2, 0.2)
    lacking = {key for key, one in measured.items() if one.reason == "too few"}
    assert lacking == {Key(metric, "specificity_95") for metric in binary.THRESHOLD_METRICS}
    raw = binary_suite.measure(replace(BY_HAND, calibrated=None), SETTINGS).measured
    assert raw[Key("brier_calibrated")].reason == raw[Key("f1", "f1")].reason == "too few"
    assert cells(raw, "half") == (2, 1, 1, 3)


def test_a_resample_that_lost_a_class_of_the_sample_has_no_values():
    draws = binary_suite.measure(BY_HAND, SETTINGS).draws
    counts = np.concatenate(list(resamples(BY_HAND.patients, draws=SETTINGS.draws, seed=SETTINGS.seed)))
    positive = counts @ BY_HAND.labels
    lost = (positive == 0) | (positive == counts.sum(axis=1))
    assert 0 < lost.sum() < len(lost)
    for key in (Key("roc_auc"), Key("brier"), Key("prevalence"), Key("accuracy", "half")):
        assert np.array_equal(np.isnan(draws[key]), lost), key


def test_values_on_resamples_are_those_of_repeated_images():
    """All resamples are measured at once; one by one, with each image as often as it was drawn, is the same."""
    images, _, _ = study(4)
    rounded = np.round(images.scores, 1)
    images = replace(images, scores=rounded, evidence=rounded)
    draws = binary_suite.measure(images, SETTINGS).draws
    where = binary.equal_mass_bins(images.scores, SETTINGS.ece_bins)
    for number, counts in enumerate(next(resamples(images.patients, draws=SETTINGS.draws, seed=SETTINGS.seed))):
        drawn = np.repeat(np.arange(len(counts)), counts)
        labels, scores = images.labels[drawn], images.scores[drawn]
        expected = {
            "roc_auc": binary.roc_auc(labels, scores),
            "pr_auc": binary.average_precision(labels, scores),
            "brier": binary.brier(labels, scores),
            "ece": binary.calibration_error(labels, scores, where[drawn]),
            "prevalence": labels.mean(),
        }
        for metric, value in expected.items():
            assert draws[Key(metric)][number] == pytest.approx(value), metric


def test_a_sample_of_one_class_keeps_its_resamples():
    negatives = replace(
        BY_HAND,
        **{name: getattr(BY_HAND, name)[3:] for name in SAMPLE},
    )
    found = binary_suite.measure(negatives, SETTINGS)
    assert found.measured[Key("roc_auc")].reason == "no image has a nodule"
    specificity = found.measured[Key("specificity", "half")]
    assert (specificity.value, specificity.skipped_draws) == (0.75, 0)
    positives = replace(
        BY_HAND,
        **{name: getattr(BY_HAND, name)[:3] for name in SAMPLE},
    )
    sensitivity = binary_suite.measure(positives, SETTINGS).measured[Key("sensitivity", "half")]
    assert (sensitivity.value, sensitivity.skipped_draws) == (pytest.approx(2 / 3), 0)


def test_two_classifiers_are_compared_by_their_differences_delong_and_mcnemar():
    other = given(np.array([0.1, 0.5, 0.8, 0.3, 0.4, 0.2, 0.7]))
    first, second = (binary_suite.measure(one, SETTINGS) for one in (BY_HAND, other))
    found = binary_suite.compare(first, second, (BY_HAND, other), SETTINGS)
    # Right at 0.5: the first on a, b, d, f, g, the other on b, c, d, e, f.
    only = [found[Key(name, "half")] for name in ("only_first_right", "only_second_right", "mcnemar_p")]
    assert [one.value for one in only] == [2, 2, 1.0]
    assert {one.threshold for one in only} == {0.5}
    test = delong(BY_HAND.labels, BY_HAND.scores, other.scores)
    assert (found[Key("delong_z")].value, found[Key("delong_p")].value) == (test.z, test.p)
    assert found[Key("roc_auc")].value == pytest.approx(test.difference)
    assert Key("prevalence") not in found and Key("sensitivity", "f1") in found
    same = binary_suite.compare(first, first, (BY_HAND, BY_HAND), SETTINGS)
    assert same[Key("delong_z")].value is None and "alike" in same[Key("delong_p")].reason
    third = given(np.array([0.9, 0.5, 0.8, 0.3, 0.4, 0.2, 0.1]))
    better = binary_suite.compare(first, binary_suite.measure(third, SETTINGS), (BY_HAND, third), SETTINGS)
    assert [better[Key(name, "half")].value for name in ("only_first_right", "only_second_right")] == [0, 2]


def test_thresholds_are_redrawn_only_where_something_was_fitted():
    on_val, _, _ = study(3, val=20)
    settings = replace(OF_VAL, draws=20)
    assert binary_suite.redraw(on_val, None, settings) == {}
    assert binary_suite.redraw(replace(on_val, calibrated=None), fitted(on_val), settings) == {}
    unfitted = replace(fitted(on_val), intercept=None, temperature=None, world_prevalence=None)
    assert binary_suite.redraw(on_val, unfitted, settings) == {}
    # Weighted to the world's prevalence; at validation's own a resample keeps its own.
    for world, used in ((None, None), (0.02, 0.02)):
        found = binary_suite.redraw(on_val, fitted(on_val, world_prevalence=world), OF_VAL)
        wanted = thresholds.redraw(
            on_val.labels,
            on_val.calibrated,
            on_val.patients,
            world_prevalence=used,
            draws=OF_VAL.draws,
            seed=OF_VAL.seed,
        )
        assert all(np.array_equal(found[name], wanted[name], equal_nan=True) for name in thresholds.CHOSEN)


def table(labels, margins, *, logits=True):
    """Rows of tables.INFER with patients, with or without the logits that their scores are of."""
    z = np.asarray(margins, np.float64)
    facts = {"image_id": [f"i{number:03d}" for number in range(len(z))], "label": labels, "score": sigmoid(z)}
    facts |= {"logit_negative": np.zeros(len(z)) if logits else [None] * len(z)}
    facts |= {"logit_positive": z if logits else [None] * len(z), "score_calibrated": sigmoid(z - 1)}
    return pa.table({**facts, "patient_id": [f"p{number // 2:03d}" for number in range(len(z))]})


def of(measured):
    """Numbers of the measures and their intervals."""
    return {key: (one.value, one.low, one.high) for key, one in measured.items()}


def test_scores_that_are_not_saturated_give_the_same_measures_with_and_without_their_logits():
    labels, z, _ = population(np.random.default_rng(7), 40)
    with_logits, without = (binary_suite.with_scores(table(labels, z, logits=logits), None) for logits in (True, False))
    assert len(set(with_logits.scores)) == len(labels)
    first, second = (binary_suite.measure(images, SETTINGS) for images in (with_logits, without))
    assert of(first.measured) == of(second.measured)
    other = binary_suite.with_scores(table(labels, z[::-1]), None)
    against = binary_suite.measure(other, SETTINGS)
    assert of(binary_suite.compare(first, against, (with_logits, other), SETTINGS)) == of(
        binary_suite.compare(second, against, (without, other), SETTINGS)
    )
    drawn, known = (curves.of_classifier(images, 5, 0.9) for images in (with_logits, without))
    for one, two in zip(drawn, known, strict=True):
        assert one.x.tolist() == two.x.tolist() and one.y.tolist() == two.y.tolist()
        assert one.threshold is None or one.threshold.tolist() == two.threshold.tolist()


def test_images_whose_scores_are_all_1_are_ranked_by_their_logits():
    """Of 38 and 45 both scores are exactly 1: without logits it is a tie, with them the order is known."""
    labels, z = [0, 1], np.array([38.0, 45.0])
    with_logits, without = (binary_suite.with_scores(table(labels, z, logits=logits), None) for logits in (True, False))
    assert with_logits.scores.tolist() == [1.0, 1.0]
    found = binary_suite.measure(with_logits, SETTINGS).measured
    tied = binary_suite.measure(without, SETTINGS).measured
    assert [found[Key(name)].value for name in ("roc_auc", "pr_auc")] == [1.0, 1.0]
    assert [tied[Key(name)].value for name in ("roc_auc", "pr_auc")] == [0.5, 0.5]
    assert cells(found, "half") == cells(tied, "half") == (1, 1, 0, 0)
    roc = curves.of_classifier(with_logits, 2, 0.9)[0]
    assert roc.y.tolist() == [0.0, 1.0, 1.0]
    assert roc.threshold.tolist() == [np.inf, 1.0, 1.0]  # a threshold is a score


def test_a_fitted_calibration_keeps_the_order_of_the_evidence():
    z = np.sort(np.random.default_rng(1).normal(scale=20, size=200))
    for temperature in TEMPERATURES:
        assert (np.diff(Curve(temperature, -3.0).log_odds(z)) > 0).all()
