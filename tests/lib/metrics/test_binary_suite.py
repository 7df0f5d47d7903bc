"""Claims about the intervals of stages.lib.metrics.binary_suite."""

import time

import numpy as np
import pytest
from scipy.stats import norm

from stages.lib.metrics import binary, binary_suite, thresholds
from stages.lib.metrics.binary_suite import Scored, Settings
from stages.lib.metrics.bootstrap import resamples
from stages.lib.metrics.calibration import Calibration
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
