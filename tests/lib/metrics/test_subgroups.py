"""Claims about stages.lib.metrics.subgroups and the tests that it is made of."""

import time
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics import binary, subgroups, thresholds
from stages.lib.metrics.binary_suite import Scored, Settings
from stages.lib.metrics.bootstrap import resamples, two_sided_p
from stages.lib.metrics.comparison import holm
from stages.lib.metrics.measures import Key
from stages.lib.metrics.strata import Division, Part

SETTINGS = Settings(draws=200, seed=4, confidence=0.95, ece_bins=5, other_prevalence=0.05)


def study(seed=0, patients=150, shift=(2.0, 2.0)):
    """Images, two of each patient, in two groups; `shift` is how far each group's positives stand out."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(2 * patients) < 0.3).astype(int)
    second = rng.random(2 * patients) < 0.5
    z = rng.normal(size=2 * patients) + labels * np.where(second, shift[1], shift[0])
    probability = 1 / (1 + np.exp(-z))
    images = Scored(
        ids=[str(number) for number in range(2 * patients)],
        labels=labels,
        patients=np.repeat(np.arange(patients), 2),
        scores=probability,
        evidence=probability,
        calibrated=probability,
        thresholds=thresholds.choose(labels, probability),
        reason="",
    )
    redrawn = thresholds.redraw(
        labels, probability, images.patients, world_prevalence=None, draws=SETTINGS.draws, seed=9
    )
    return images, Division((Part("a", None, None, ~second), Part("b", None, None, second)), 0, None, None), redrawn


def test_a_subgroup_is_measured_on_its_images_and_compared_with_the_others_on_the_same_resamples():
    images, division, redrawn = study()
    found = subgroups.measure(images, {"view": division}, SETTINGS, redrawn, 5).groups["view", "b"]
    inside = division.parts[1].members
    own, others = ((images.labels[m], images.scores[m]) for m in (inside, ~inside))
    gap = found[Key("roc_auc_gap")]
    assert found[Key("roc_auc")].value == pytest.approx(binary.roc_auc(*own))
    assert gap.value == pytest.approx(binary.roc_auc(*own) - binary.roc_auc(*others))
    draws = [
        binary.roc_auc(*own, times[inside]) - binary.roc_auc(*others, times[~inside])
        for block in resamples(images.patients, draws=SETTINGS.draws, seed=SETTINGS.seed)
        for times in block
    ]
    assert (gap.low, gap.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
    assert found[Key("roc_auc_gap_p")].value == pytest.approx(two_sided_p(np.array(draws)))
    rate = found[Key("sensitivity", "f1")]
    called = images.scores[inside] >= images.thresholds["f1"]
    assert rate.value == pytest.approx(binary.sensitivity(binary.confusion(own[0], called)))
    assert rate.threshold == images.thresholds["f1"]
    assert rate.low <= rate.known_low <= rate.value <= rate.known_high <= rate.high
    assert found[Key("specificity", "half")].known_low is None


def test_two_groups_are_one_test_and_three_are_three():
    images, division, redrawn = study()
    found = subgroups.measure(images, {"sex": division}, SETTINGS, redrawn, 5)
    assert found.n_tests == 1
    p, adjusted = (found.groups["sex", "a"][Key(name)].value for name in ("roc_auc_gap_p", "roc_auc_gap_p_holm"))
    assert p == adjusted == found.groups["sex", "b"][Key("roc_auc_gap_p")].value
    third = np.arange(len(images.labels)) % 3
    three = Division(tuple(Part(name, None, None, third == k) for k, name in enumerate("xyz")), 0, None, None)
    found = subgroups.measure(images, {"sex": division, "age": three}, SETTINGS, redrawn, 5)
    assert found.n_tests == 4
    pairs = [("sex", "a"), ("age", "x"), ("age", "y"), ("age", "z")]
    raw = [found.groups[pair][Key("roc_auc_gap_p")].value for pair in pairs]
    assert [found.groups[pair][Key("roc_auc_gap_p_holm")].value for pair in pairs] == pytest.approx(holm(raw))


def test_a_subgroup_on_which_the_classifier_fails_is_found_and_one_that_is_like_the_others_is_not():
    for shift, found in (((2.5, 0.0), True), ((2.0, 2.0), False)):
        images, division, redrawn = study(seed=1, shift=shift)
        group = subgroups.measure(images, {"sex": division}, SETTINGS, redrawn, 5).groups["sex", "b"]
        gap = group[Key("roc_auc_gap")]
        assert (group[Key("roc_auc_gap_p_holm")].value < 0.05) is found
        assert (gap.high < 0) is found


def test_too_few_images_of_a_class_have_no_measure_of_it_and_say_so():
    images, division, redrawn = study()
    few = np.zeros(len(images.labels), bool)
    few[np.flatnonzero(images.labels == 1)[:3]] = True
    few[np.flatnonzero(images.labels == 0)[:40]] = True
    parts = (Part("few", None, None, few), Part("rest", None, None, ~few))
    found = subgroups.measure(images, {"sex": replace(division, parts=parts)}, SETTINGS, redrawn, 10)
    small, rest = (found.groups["sex", name] for name in ("few", "rest"))
    reason = "too few: 3 with and 40 without a nodule, wanted 10 of each"
    for key in (Key("roc_auc"), Key("roc_auc_gap"), Key("roc_auc_gap_p_holm"), Key("sensitivity", "f1")):
        assert small[key].value is None and small[key].low is None and small[key].reason == reason
        assert (small[key].n, small[key].n_positive) == (43, 3)
    assert small[Key("specificity", "f1")].value is not None
    assert rest[Key("roc_auc")].value is not None
    assert rest[Key("roc_auc_gap")].reason == f"the others are {reason}"
    assert found.n_tests == 0


def test_holm_agrees_with_statsmodels_and_keeps_the_order():
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 20):
        p = (rng.random(size) ** 3).tolist()
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())
    assert holm([]) == []


def test_p_of_a_difference_is_uniform_where_there_is_none_and_small_where_the_interval_leaves_0_out():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=400)
    p = [two_sided_p(centre + rng.normal(size=500)) for centre in centres]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.array(p) < 0.5) == pytest.approx(0.5, abs=0.08)
    assert two_sided_p(np.full(999, 0.5)) == 2 / 1000
    with pytest.raises(UndefinedMetricError, match="every resample"):
        two_sided_p(np.full(3, np.nan))


def test_areas_of_resamples_are_those_of_the_images_repeated():
    rng = np.random.default_rng(2)
    labels, scores = rng.integers(0, 2, 30), rng.integers(0, 8, 30) / 8
    weights = rng.integers(0, 3, (20, 30))
    ranking = binary.Ranking(labels, scores)
    found = binary.areas(*ranking.cumulate(weights))
    wanted = [binary.roc_auc(np.repeat(labels, w), np.repeat(scores, w)) for w in weights]
    assert found == pytest.approx(wanted)
    assert np.isnan(binary.areas(*ranking.cumulate(labels[None]))).all()


def test_subgroups_of_a_published_test_split_take_seconds():
    images, division, redrawn = study(patients=4730)
    began = time.process_time()
    subgroups.measure(images, {"sex": division}, SETTINGS, redrawn, 5)
    assert time.process_time() - began < 2  # a tenth of the draws
