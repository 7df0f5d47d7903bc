"""Claims about stages.lib.metrics.thresholds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics import thresholds
from stages.lib.metrics.binary import confusion, f1, sensitivity, specificity
from stages.lib.metrics.bootstrap import resamples

images = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95])), min_size=2, max_size=60
).filter(lambda rows: {y for y, _ in rows} == {0, 1})


@settings(max_examples=150, deadline=None)
@given(images)
def test_each_threshold_is_the_best_and_highest_of_all_scores(rows):
    y, s = (np.array(column) for column in zip(*rows, strict=True))
    chosen = thresholds.choose(y, s)
    calls = {t: confusion(y, s >= t) for t in sorted(set(s.tolist()), reverse=True)}
    best = max(calls, key=lambda t: (round(f1(calls[t]), 9), t))
    assert chosen["f1"] == best
    best = max(calls, key=lambda t: (round(sensitivity(calls[t]) + specificity(calls[t]), 9), t))
    assert chosen["youden"] == best
    allowed = [t for t in calls if specificity(calls[t]) >= 0.95]
    best = max(allowed, key=lambda t: (round(sensitivity(calls[t]), 9), t)) if allowed else None
    assert chosen["specificity_95"] == best


def test_specificity_of_exactly_95_percent_is_allowed():
    y = np.array([0] * 20 + [1])
    s = np.array([0.9] + [0.1] * 19 + [0.5])
    assert thresholds.choose(y, s)["specificity_95"] == 0.5


def test_there_is_no_threshold_where_the_highest_score_is_a_negative_image_too_many():
    assert thresholds.choose([0, 1, 1], [0.9, 0.5, 0.4])["specificity_95"] is None


def test_a_weight_is_the_same_as_so_many_copies():
    rng = np.random.default_rng(1)
    y, w = rng.integers(0, 2, 50), rng.integers(1, 4, 50)
    s = np.round(rng.random(50) * 0.7 + 0.3 * y, 2)
    assert thresholds.choose(y, s, w) == thresholds.choose(np.repeat(y, w), np.repeat(s, w))


def test_the_names_are_those_that_are_chosen():
    assert tuple(thresholds.choose([0, 1], [0.1, 0.9])) == thresholds.NAMES


def test_one_class_has_no_threshold():
    with pytest.raises(UndefinedMetricError, match="no image has a nodule"):
        thresholds.choose([0, 0], [0.1, 0.9])


@pytest.mark.parametrize("n", [3, 5, 6, 7, 10, 12])
def test_of_equally_good_thresholds_the_highest_is_taken_though_rounding_tells_them_apart(n):
    y = [1, 0] * (n - 1) + [0, 1]  # sensitivity + specificity - 1 is 1 / n after every nodule but the last
    s = np.linspace(0.9, 0.1, 2 * n)
    assert thresholds.choose(y, s)["youden"] == s[0]


@settings(max_examples=40, deadline=None)
@given(images, st.sampled_from([None, 0.05, 0.5]))
def test_a_redrawn_threshold_is_the_one_that_is_chosen_on_the_images_of_the_resample(rows, world):
    y, s = (np.array(column) for column in zip(*rows, strict=True))
    patients = np.arange(len(y)) // 2
    found = thresholds.redraw(y, s, patients, world_prevalence=world, draws=12, seed=5)
    for number, times in enumerate(np.concatenate(list(resamples(patients, draws=12, seed=5)))):
        labels, scores = np.repeat(y, times), np.repeat(s, times)
        wanted = dict.fromkeys(thresholds.CHOSEN)
        if 0 < labels.sum() < len(labels):
            here = labels.mean()
            weights = np.where(labels == 1, world / here, (1 - world) / (1 - here)) if world else None
            wanted = thresholds.choose(labels, scores, weights)
        for name in thresholds.CHOSEN:
            value = found[name][number]
            assert (None if np.isnan(value) else value) == wanted[name], name


def test_no_image_has_no_redrawn_threshold():
    assert thresholds.redraw([], [], [], world_prevalence=None, draws=3, seed=0) == {}
