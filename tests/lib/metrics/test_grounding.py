"""Grounded sentences: golden values, matching by trying every way, pointing, and refusals."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core.errors import MetricInputError
from stages.lib.metrics import boxes, grounding
from stages.lib.metrics.grounding import Answer, Sentence
from stages.lib.metrics.localization import precision_recall_f1
from stages.lib.metrics.parts import value

TRUTHS = [[0, 0, 10, 10], [3, 0, 13, 10]]
PREDICTIONS = [[1.4, 0, 11.4, 10], [-3, 0, 7, 10]]


def array(given):
    return np.array(given, float).reshape(-1, 4)


def sentence(truths, **other):
    return Sentence(
        **{"image_id": "a", "number": 0, "patient_id": "p", "width_px": 100.0, "height_px": 50.0} | other,
        truths=array(truths),
    )


def answer(predictions, status="ok", confidences=()):
    return Answer(status, array(predictions), np.array(confidences, float))


def values(sentences, answers, iou=0.5):
    scored = grounding.score(sentences, answers, iou)
    return {key.metric: value(part) for key, part in grounding.parts(scored, iou).items()}


@pytest.mark.parametrize(
    ("found", "predicted", "actual", "percent"),
    [
        (376, 1447, 1521, (25.98, 24.72, 25.34)),
        (329, 1406, 1521, (23.40, 21.63, 22.48)),
        (504, 1493, 1521, (33.76, 33.14, 33.44)),
        (118, 567, 1521, (20.81, 7.76, 11.30)),
        (103, 680, 1521, (15.15, 6.77, 9.36)),
    ],
)
def test_pooled_precision_recall_and_f1_are_those_of_the_papers_tables(found, predicted, actual, percent):
    square, away = [0, 0, 1, 1], [50, 0, 51, 1]
    right, silent = sentence([square]), actual - found
    answers = [answer([square])] * found + [answer([], "empty")] * silent
    answers[-1] = answer([away] * (predicted - found))
    got = values([right] * actual, answers)
    assert [round(100 * got[name], 2) for name in ("precision", "recall", "f1")] == list(percent)
    other = precision_recall_f1(found, predicted, actual)
    assert [got[name] for name in ("precision", "recall", "f1")] == pytest.approx(
        [other[k] for k in ("precision", "recall", "f1")]
    )


def test_the_order_of_boxes_decides_a_greedy_matching_and_not_the_greatest_one():
    overlaps = boxes.iou(array(TRUTHS), array(PREDICTIONS))
    assert grounding.found_greedily(overlaps, 0.5) == 1
    assert grounding.found_greedily(overlaps[::-1], 0.5) == 2
    assert grounding.found(overlaps, 0.5) == grounding.found(overlaps[::-1], 0.5) == 2


overlap_tables = st.tuples(st.integers(1, 4), st.integers(0, 4)).flatmap(
    lambda shape: st.lists(st.floats(0, 1), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]).map(
        lambda flat: np.array(flat, float).reshape(shape)
    )
)


@given(overlap_tables, st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_the_matching_finds_as_many_pairs_as_any_way_to_pair(overlaps, least):
    table = overlaps if overlaps.shape[0] <= overlaps.shape[1] else overlaps.T
    ways = permutations(range(table.shape[1]), table.shape[0])
    most = max(sum(table[row, column] >= least for row, column in enumerate(way)) for way in ways)
    assert grounding.found(overlaps, least) == most >= grounding.found_greedily(overlaps, least)


def test_f1_of_a_greedy_matching_stands_beside_that_of_the_greatest():
    got = values([sentence(TRUTHS)], [answer(PREDICTIONS)])
    assert (got["f1"], got["f1_greedy"]) == (1.0, 0.5)
    assert (got["precision"], got["precision_sentences"]) == (1.0, 1.0)


def test_means_over_sentences_weigh_each_sentence_alike_and_pooled_measures_each_box():
    square, away = [0, 0, 10, 10], [60, 20, 70, 30]
    got = values(
        [sentence([square]), sentence([square, [20, 20, 30, 30], away], number=1)],
        [answer([square, away]), answer([square])],
    )
    assert (got["precision"], got["precision_sentences"]) == (2 / 3, 0.75)
    assert (got["recall"], got["recall_sentences"]) == (0.5, pytest.approx((1 + 1 / 3) / 2))
    assert (got["f1"], got["f1_sentences"]) == (4 / 7, pytest.approx((2 / 3 + 0.5) / 2))
    assert (got["best_iou"], got["pointing_accuracy"]) == (1.0, 0.75)
    assert (got["rodeo_localization"], got["rodeo_shape"]) == (pytest.approx(40), pytest.approx(40))


def test_a_malformed_answer_is_a_miss_and_stays_in():
    asked = [sentence([[0, 0, 10, 10]]), sentence([[0, 0, 10, 10]], number=1)]
    got = values(asked, [answer([[0, 0, 10, 10]]), answer([[0, 0, 10, 10]], "malformed")])
    assert (got["precision"], got["recall"], got["malformed_fraction"]) == (1.0, 0.5, 0.5)
    assert (got["recall_sentences"], got["f1_sentences"], got["best_iou"], got["pointing_accuracy"]) == (0.5,) * 4
    assert (got["rodeo_localization"], got["rodeo_shape"]) == (50.0, 50.0)


def test_each_measure_is_its_own_where_statuses_boxes_and_shapes_differ():
    square = [0, 0, 10, 10]
    asked = [sentence([square], number=k) for k in range(4)]
    said = [answer([], "empty"), answer([square], "malformed"), answer([[0, 0, 5, 5]]), answer([[10, 0, 20, 10]])]
    got = values(asked, said)
    assert (got["malformed_fraction"], got["empty_fraction"]) == (0.25, 0.25)
    assert got["precision_sentences"] == 0.0
    # half the size a quarter of a side off in both directions; beside it by its width; and two without a box
    assert got["rodeo_localization"] == pytest.approx(100 * (2**-0.125 + 0.5) / 4)
    assert got["rodeo_shape"] == pytest.approx(100 * (0.25 + 1) / 4)


def test_precision_over_sentences_is_of_those_with_a_predicted_box():
    square = [0, 0, 10, 10]
    got = values([sentence([square]), sentence([square], number=1)], [answer([square]), answer([], "empty")])
    assert (got["precision_sentences"], got["recall_sentences"]) == (1.0, 0.5)


def test_an_overlap_of_exactly_the_least_is_enough():
    half = np.array([[0.5]])
    assert grounding.found(half, 0.5) == grounding.found_greedily(half, 0.5) == 1
    square = [0, 0, 10, 10]
    assert values([sentence([square])], [answer([square])], iou=1.0)["f1"] == 1.0


def test_an_empty_answer_is_counted_and_nothing_is_predicted():
    got = values([sentence([[0, 0, 10, 10]])], [answer([], "empty")])
    assert (got["empty_fraction"], got["f1"]) == (1.0, 0.0)
    assert "no box was predicted" in str(got["precision"])


def test_pointing_takes_the_most_confident_boxes_and_without_confidences_all():
    asked, hit, miss = sentence([[0, 0, 10, 10]]), [4, 4, 6, 6], [30, 30, 40, 40]
    assert values([asked], [answer([miss, hit], confidences=(0.2, 0.9))])["pointing_accuracy"] == 1.0
    assert values([asked], [answer([miss, hit], confidences=(0.9, 0.2))])["pointing_accuracy"] == 0.0
    assert values([asked], [answer([miss, hit], confidences=(0.9, 0.9))])["pointing_accuracy"] == 0.5
    assert values([asked], [answer([miss, hit])])["pointing_accuracy"] == 0.5


def test_the_chance_of_pointing_is_what_the_true_boxes_cover_of_the_image():
    got = values([sentence([[0, 0, 10, 10], [5, 0, 15, 10]])], [answer([])])
    assert got["pointing_chance"] == pytest.approx(150 / 5000)


def test_a_random_point_hits_as_often_as_the_chance_says():
    rng = np.random.default_rng(3)
    asked = sentence([[0, 0, 50, 25], [40, 10, 60, 40]])
    points = rng.uniform([0, 0], [100, 50], (4000, 2))
    drawn = boxes.within(points, asked.truths).mean()
    assert values([asked], [answer([])])["pointing_chance"] == pytest.approx(drawn, abs=0.03)


box = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 20), st.integers(1, 20)).map(
    lambda e: [e[0], e[1], e[0] + e[2], e[1] + e[3]]
)
pairs = st.lists(
    st.tuples(st.lists(box, min_size=1, max_size=3), st.lists(box, max_size=3), st.sampled_from(grounding.STATUSES)),
    min_size=1,
    max_size=5,
)


@given(pairs, st.randoms())
def test_the_order_of_sentences_and_of_boxes_changes_nothing(given, random):
    def all_of(rows):
        return values([sentence(row[0]) for row in rows], [answer(row[1], row[2]) for row in rows])

    before = all_of(given)
    after = [(random.sample(t, len(t)), random.sample(p, len(p)), status) for t, p, status in given]
    random.shuffle(after)
    for name, number in all_of(after).items():
        if isinstance(before[name], float) and name != "f1_greedy":
            assert number == pytest.approx(before[name], abs=1e-9), name


def test_all_that_cannot_be_scored_is_told_at_once():
    asked = [sentence([]), sentence([[0, 0, 1, 1]], image_id="b"), sentence([[0, 0, 1, 1]], image_id="c", number=7)]
    given = [answer([]), answer([[5, 5, 1, 1]]), replace(answer([[0, 0, 1, 1]], "odd"), confidences=np.ones(2))]
    with pytest.raises(MetricInputError) as told:
        grounding.score(asked, given, 0.5)
    for part in (
        "a, sentence 0: found no true box",
        "b, sentence 0, predicted boxes: found [[5.0, 5.0, 1.0, 1.0]]",
        "c, sentence 7: found the status 'odd'",
        "c, sentence 7: found 1 boxes and 2 confidences",
    ):
        assert part in str(told.value)
    with pytest.raises(MetricInputError, match="found 3 sentences and 1 answers"):
        grounding.score(asked, given[:1], 0.5)
    with pytest.raises(MetricInputError, match="found the IoU 0, wanted"):
        grounding.score(asked[1:2], given[:1], 0)
