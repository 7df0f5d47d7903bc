"""Claims about stages.lib.metrics.matching and stages.lib.metrics.froc."""

import time
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.core.errors import MetricInputError, UndefinedMetricError
from stages.lib.metrics import froc
from stages.lib.metrics.matching import TRIED, distances, match, match_many

points = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=4)


def exhaustive(gaps, threshold):
    """Return the most pairs and their least total distance, by trying every set of pairs."""
    n, m = gaps.shape
    for size in range(min(n, m), 0, -1):
        totals = [
            sum(gaps[i, j] for i, j in zip(rows, columns, strict=True))
            for rows in combinations(range(n), size)
            for columns in permutations(range(m), size)
            if all(gaps[i, j] <= threshold for i, j in zip(rows, columns, strict=True))
        ]
        if totals:
            return size, min(totals)
    return 0, 0.0


@settings(max_examples=200, deadline=None)
@given(points, points, st.sampled_from([0, 1, 2, 2.5, 5, 12]))
def test_the_pairs_are_the_most_and_then_the_nearest_of_all_sets_of_pairs(predicted, true, threshold):
    gaps = distances(predicted, true)
    rows, columns = match(gaps, threshold)
    size, total = exhaustive(gaps, threshold)
    assert len(rows) == size
    assert gaps[rows, columns].sum() == pytest.approx(total)
    assert len(set(rows)) == len(set(columns)) == size
    assert (gaps[rows, columns] <= threshold).all()


def test_nearest_first_would_find_one_pair_where_there_are_two():
    gaps = distances([[2, 0], [4.9, 0]], [[0, 0], [3, 0]])
    assert gaps.argmin() == 1 and gaps.flat[1] == 1  # the nearest pair is prediction 0 with point 1
    rows, columns = match(gaps, 2.0)
    assert rows.tolist() == [0, 1] and columns.tolist() == [0, 1]


@settings(max_examples=100, deadline=None)
@given(points, points, st.sampled_from([1, 2.5, 5]))
def test_predictions_and_points_can_change_places(predicted, true, threshold):
    one, other = (match(distances(*pair), threshold) for pair in ((predicted, true), (true, predicted)))
    gaps = distances(predicted, true)
    assert gaps[one].sum() == pytest.approx(gaps[other[1], other[0]].sum())


def test_a_point_at_exactly_the_threshold_is_a_hit():
    assert len(match(distances([[3, 4]], [[0, 0]]), 5.0)[0]) == 1
    assert len(match(distances([[3, 4]], [[0, 0]]), np.nextafter(5.0, 0))[0]) == 0


def test_no_prediction_or_no_point_gives_no_pair():
    for predicted, true in (([], [[1, 1]]), ([[1, 1]], []), ([], [])):
        gaps = distances(predicted, true)
        assert gaps.shape == (len(predicted), len(true))
        assert len(match(gaps, 3.0)[0]) == 0


@pytest.mark.parametrize(
    ("predicted", "why"),
    [
        ([[1, 2, 3]], "shape"),
        ([1, 2], "shape"),
        (np.zeros((0, 3)), "shape"),
        ([[np.nan, 1]], "not finite"),
        ([[np.inf, 1]], "not finite"),
    ],
)
def test_what_is_not_points_is_refused(predicted, why):
    with pytest.raises(MetricInputError, match=f"predictions: found .*{why}"):
        distances(predicted, [[0, 0]])


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 5), st.integers(0, 6), st.integers(1, 4), st.sampled_from([0, 1, 2, 2.5, 5, 12]), st.integers(0, 999)
)
def test_many_images_at_once_are_matched_as_well_as_each_alone_ties_among_them(n, m, images, threshold, seed):
    rng = np.random.default_rng(seed)
    gaps = distances(rng.integers(0, 7, (images, n, 2)), rng.integers(0, 7, (images, m, 2)))
    thresholds = threshold * np.arange(1, images + 1.0)
    for one, limit, pairs in zip(gaps, thresholds, match_many(gaps, thresholds), strict=True):
        rows, columns = match(one, limit)
        assert pairs.sum() == len(rows)
        assert one[pairs].sum() == pytest.approx(one[rows, columns].sum())
        assert (one[pairs] <= limit).all()
        assert pairs.sum(axis=0).max(initial=0) <= 1 and pairs.sum(axis=1).max(initial=0) <= 1


def test_images_with_more_points_than_can_be_tried_are_matched_one_by_one():
    assert TRIED < 7 * 6 * 5 * 4
    gaps = distances(np.random.default_rng(1).random((3, 7, 2)), np.random.default_rng(2).random((3, 4, 2)))
    pairs = match_many(gaps, np.full(3, 0.4))
    for one, found in zip(gaps, pairs, strict=True):
        rows, columns = match(one, 0.4)
        assert np.argwhere(found).tolist() == sorted([int(r), int(c)] for r, c in zip(rows, columns, strict=True))


def test_a_hundred_thousand_images_are_matched_in_seconds():
    rng = np.random.default_rng(0)
    true = rng.random((100_000, 3, 2)) * 2000
    began = time.process_time()
    pairs = match_many(distances(true + rng.normal(0, 60, true.shape), true), np.full(100_000, 141.0))
    assert time.process_time() - began < 10
    assert 280_000 < pairs.sum() < 283_000


@pytest.mark.parametrize("threshold", [-1.0, np.nan, np.inf])
def test_a_threshold_that_is_no_distance_is_refused(threshold):
    with pytest.raises(MetricInputError, match="threshold"):
        match(np.zeros((1, 1)), threshold)
    with pytest.raises(MetricInputError, match="threshold"):
        match_many(np.zeros((2, 1, 1)), np.array([1.0, threshold]))


# Four images, three nodules far apart on the first two; each detection lies on a nodule or far from all.
LESIONS = {"L0": (0, (0.0, 0.0)), "L1": (0, (100.0, 0.0)), "L2": (1, (0.0, 0.0))}
DETECTIONS = [(0.9, "L0"), (0.8, 0), (0.7, "L1"), (0.6, 2), (0.5, 3), (0.4, "L2"), (0.3, "L0")]


def test_froc_example_has_the_reference_sensitivities_and_cpm():
    found = {image: [] for image in range(4)}
    for confidence, where in DETECTIONS:
        image, place = LESIONS.get(where, (where, (500.0, 500.0)))
        found[image].append((confidence, place))
    confidences, verdicts = [], []
    for image, rows in found.items():
        true = [place for owner, place in LESIONS.values() if owner == image]
        scores = np.array([confidence for confidence, _ in rows])
        confidences.append(scores)
        verdicts.append(froc.judge(np.array([place for _, place in rows]).reshape(-1, 2), scores, np.array(true), 5.0))
    result = froc.sensitivities(np.concatenate(confidences), np.concatenate(verdicts), images=4, points=3)
    assert result == pytest.approx((1 / 3, 2 / 3, 2 / 3, 1, 1, 1, 1))
    assert np.mean(result) == pytest.approx(0.809524, abs=5e-7)


def test_a_second_hit_on_a_found_nodule_is_neither_true_nor_false():
    verdicts = froc.judge(np.array([[0.0, 0], [1, 0], [50, 0]]), np.array([0.5, 0.9, 0.7]), np.array([[0.0, 0]]), 2.0)
    assert verdicts.tolist() == [0, 1, -1]


def test_equal_confidences_are_one_operating_point():
    found = froc.sensitivities(np.array([0.5, 0.5]), np.array([1, -1]), images=1, points=1, rates=(0.5, 1.0))
    assert found == (0.0, 1.0)


def test_froc_needs_a_nodule_an_image_and_finite_confidences():
    with pytest.raises(UndefinedMetricError):
        froc.sensitivities(np.array([0.5]), np.array([-1]), images=3, points=0)
    with pytest.raises(UndefinedMetricError):
        froc.sensitivities(np.array([0.5]), np.array([-1]), images=0, points=3)
    with pytest.raises(MetricInputError, match="1 confidences"):
        froc.sensitivities(np.array([np.nan]), np.array([-1]), images=3, points=1)


def test_froc_is_read_at_the_seven_rates_of_luna16():
    assert froc.RATES == (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)


def test_a_nodule_at_exactly_the_threshold_is_found_and_each_prediction_takes_the_nearest_that_is_left():
    points = np.array([[0.0, 0], [6, 0]])
    assert froc.judge(np.array([[3.0, 4]]), np.array([0.5]), points[:1], 5.0).tolist() == [1]
    assert froc.judge(np.array([[3.0, 4]]), np.array([0.5]), points[:1], np.nextafter(5.0, 0)).tolist() == [-1]
    # The surest takes (0, 0), the second (6, 0), and none is left for the third; a fourth is out of reach.
    predictions, confidence = np.array([[3.0, 0], [2.5, 0], [2.0, 0], [50, 0]]), np.array([0.1, 0.2, 0.3, 0.4])
    assert froc.judge(predictions, confidence, points, 4.0).tolist() == [0, 1, 1, -1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.5, 0.9]), st.sampled_from([-1, 0, 1])), max_size=25),
    st.integers(1, 6),
)
def test_a_froc_sensitivity_is_the_best_of_all_cutoffs_that_keep_to_the_rate(found, images):
    confidence, verdicts = np.array([c for c, _ in found]), np.array([v for _, v in found], int)
    nodules = int((verdicts == 1).sum()) + 2
    for rate, value in zip(froc.RATES, froc.sensitivities(confidence, verdicts, images, nodules), strict=True):
        shown = [verdicts[confidence >= cutoff] for cutoff in (2.0, *set(confidence.tolist()))]
        kept = [(some == 1).sum() / nodules for some in shown if (some == -1).sum() / images <= rate]
        assert value == pytest.approx(max(kept))
