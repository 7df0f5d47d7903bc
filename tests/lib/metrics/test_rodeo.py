"""RoDeO by hand, by property, and against a second implementation that tries every way to pair the boxes."""

from itertools import permutations
from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.metrics.rodeo import sums

UNIT = [0.0, 0.0, 1.0, 1.0]
values = st.floats(0, 20).map(lambda value: round(value, 2))
sides = st.floats(0.5, 9).map(lambda value: round(value, 2))
box = st.tuples(values, values, sides, sides).map(lambda e: [e[0], e[1], e[0] + e[2], e[1] + e[3]])


def array(given):
    return np.array(given, float).reshape(-1, 4)


def scores(truths, predictions):
    found = sums(array(truths), array(predictions))
    return found.localization / found.boxes, found.shape / found.boxes


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        ([UNIT], (1, 1)),
        ([[1, 0, 2, 1]], (0.5, 1)),  # shifted by one width
        ([[0.25, 0.25, 0.75, 0.75]], (1, 0.25)),  # half the size
        ([UNIT, [5, 5, 6, 6]], (0.5, 0.5)),  # one too many
        ([], (0, 0)),
    ],
)
def test_the_values_of_the_reference(predictions, expected):
    assert scores([UNIT], predictions) == pytest.approx(expected)


def by_hand(truths, predictions):
    """The same from the paper's equations, box by box, over every way to pair."""
    if not truths or not predictions:
        return 0.0, 0.0

    def overlap(a, b):
        wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        return max(wide, 0) * max(high, 0)

    def area(a):
        return (a[2] - a[0]) * (a[3] - a[1])

    def general(a, b):
        union = area(a) + area(b) - overlap(a, b)
        around = area([min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])])
        return overlap(a, b) / union - (around - union) / around

    def near(true, one):
        across = ((one[0] + one[2]) - (true[0] + true[2])) / 2 / (true[2] - true[0])
        down = ((one[1] + one[3]) - (true[1] + true[3])) / 2 / (true[3] - true[1])
        return exp(-log(2) * (across**2 + down**2))

    def alike(a, b):
        shared = min(a[2] - a[0], b[2] - b[0]) * min(a[3] - a[1], b[3] - b[1])
        return shared / (area(a) + area(b) - shared)

    longer, shorter = sorted((truths, predictions), key=len, reverse=True)
    ways = [
        [(one, other) if longer is truths else (other, one) for one, other in zip(way, shorter, strict=True)]
        for way in permutations(longer, len(shorter))
    ]
    best = max(ways, key=lambda way: sum(general(true, one) for true, one in way))
    return sum(near(*pair) for pair in best) / len(longer), sum(alike(*pair) for pair in best) / len(longer)


@settings(deadline=None)
@given(st.lists(box, min_size=1, max_size=3), st.lists(box, max_size=3))
def test_a_second_implementation_agrees(truths, predictions):
    assert scores(truths, predictions) == pytest.approx(by_hand(truths, predictions), abs=1e-9)


def test_the_unit_matters_two_sentences_with_exchanged_boxes_are_all_wrong_and_one_image_with_them_all_right():
    left, right = [0.1, 0.1, 0.2, 0.2], [0.6, 0.6, 0.7, 0.7]
    apart = [sums(array([left]), array([right])), sums(array([right]), array([left]))]
    assert sum(one.localization for one in apart) / sum(one.boxes for one in apart) < 1e-6
    assert scores([left, right], [right, left]) == (pytest.approx(1), pytest.approx(1))


@settings(deadline=None)
@given(st.lists(box, min_size=1, max_size=4), st.lists(box, max_size=4), st.randoms())
def test_the_order_of_boxes_changes_nothing(truths, predictions, random):
    before = scores(truths, predictions)
    random.shuffle(truths)
    random.shuffle(predictions)
    assert scores(truths, predictions) == pytest.approx(before, abs=1e-9)
