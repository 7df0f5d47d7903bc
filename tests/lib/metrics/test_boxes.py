"""Boxes against boxes: by hand, by property, against counting the cells of a grid, and refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core.errors import MetricInputError
from stages.lib.detect import fusion
from stages.lib.metrics import boxes

edges = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 5), st.integers(1, 5))
some = st.lists(edges.map(lambda e: [e[0], e[1], e[0] + e[2], e[1] + e[3]]), min_size=1, max_size=4)


def cells(box):
    """Cells of the grid of side 1 that a box with whole edges covers."""
    left, top, right, bottom = map(int, box)
    return {(x, y) for x in range(left, right) for y in range(top, bottom)}


def array(given):
    return np.array(given, float).reshape(-1, 4)


@given(some, some)
def test_overlaps_are_those_of_the_cells_that_boxes_cover(first, second):
    found, general = boxes.iou(array(first), array(second)), boxes.generalized_iou(array(first), array(second))
    for row, a in enumerate(first):
        for column, b in enumerate(second):
            shared, union = cells(a) & cells(b), cells(a) | cells(b)
            around = cells([min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])])
            assert found[row, column] == pytest.approx(len(shared) / len(union))
            outside = len(around - union) / len(around)
            wide = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
            assert wide == len(around)
            # what lies between two boxes and in neither
            assert general[row, column] == pytest.approx(len(shared) / len(union) - outside)
            assert found[row, column] == pytest.approx(fusion.iou(tuple(a), tuple(b)))


@given(some)
def test_the_area_that_boxes_cover_together_counts_each_cell_once(given):
    assert boxes.covered_area(array(given)) == len(set().union(*map(cells, given)))


def test_boxes_put_on_one_centre_differ_by_their_shape_alone():
    wide, tall = array([[0, 0, 4, 1]]), array([[50, 50, 51, 54]])
    assert boxes.centred_iou(wide, tall)[0] == pytest.approx(1 / 7)
    assert boxes.centred_iou(wide, wide + 100)[0] == 1.0


def test_centres_are_halfway_between_the_edges_and_lie_within_their_boxes_and_not_beside_them():
    given = array([[0, 0, 4, 1], [10, 20, 12, 30]])
    assert boxes.centres(given).tolist() == [[2, 0.5], [11, 25]]
    assert boxes.within(boxes.centres(given), given).tolist() == [True, True]
    assert boxes.within(boxes.centres(given), given[:1]).tolist() == [True, False]
    corners = np.array([[0, 0], [4, 1], [4.1, 1], [4, 1.1], [-0.1, 0], [0, -0.1]], float)
    assert boxes.within(corners, given[:1]).tolist() == [True, True, False, False, False, False]
    assert boxes.areas(given).tolist() == [4, 20]


def test_no_box_is_a_box_list_too():
    nothing = boxes.checked([], "true boxes")
    assert nothing.shape == (0, 4)
    assert boxes.iou(nothing, array([[0, 0, 1, 1]])).shape == (0, 1)


def test_every_box_that_is_none_is_named_at_once():
    bad = [[0, 0, 0, 5], [9, 0, 3, 5], [0, 0, np.nan, 5], [0, 0, 2, 2]]
    with pytest.raises(
        MetricInputError, match=r"true boxes: found .*0\.0, 5\.0\], \[9\.0, .*nan.*wanted finite"
    ) as told:
        boxes.checked(bad, "true boxes")
    assert "[0.0, 0.0, 2.0, 2.0]" not in str(told.value)
    with pytest.raises(MetricInputError, match=r"found shape \(1, 3\), wanted \(n, 4\)"):
        boxes.checked([[0, 0, 1]], "true boxes")
