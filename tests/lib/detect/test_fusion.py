import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.detect.fusion import Candidate, by_distance, by_iou, consensus, iou

candidate = st.builds(
    Candidate,
    x=st.floats(0, 1000),
    y=st.floats(0, 1000),
    box=st.none(),
    confidence=st.one_of(st.none(), st.floats(0, 1)),
    phrase=st.none(),
)
detectors = st.lists(st.lists(candidate, max_size=4), min_size=2, max_size=5)


def point(x, y=0.0, confidence=None, phrase=None):
    return Candidate(x, y, None, confidence, phrase)


def test_a_single_voter_is_left_as_it_is():
    alone = [point(5), point(5.1, confidence=0.2), point(1, confidence=0.9)]
    assert consensus([alone], by_distance(10)) == alone


def test_confidence_is_the_fraction_of_voters_that_agree():
    found = consensus([[point(0)], [point(3)], [point(100)], []], by_distance(10))
    assert [(one.x, one.confidence) for one in found] == [(1.5, 0.5), (100.0, 0.25)]


def test_confidences_weigh_the_candidates_and_where_they_meet():
    found = consensus([[point(0, confidence=0.9)], [point(4, confidence=0.3)]], by_distance(10))
    assert [(one.x, one.confidence) for one in found] == [(pytest.approx(1.0), pytest.approx(0.6))]


def test_one_voter_has_one_vote_for_a_place():
    found = consensus([[point(0), point(2)], [point(1)]], by_distance(10))
    assert sorted((one.x, one.confidence) for one in found) == [(0.5, 1.0), (2.0, 0.5)]


@given(detectors)
def test_nothing_is_lost_or_made_up_and_order_is_by_confidence(found):
    merged = consensus(found, by_distance(50))
    assert sum(one.weight for one in merged) * len(found) == pytest.approx(sum(p.weight for v in found for p in v))
    assert [one.weight for one in merged] == sorted((one.weight for one in merged), reverse=True)
    assert all(0 <= one.weight <= 1 + 1e-9 for one in merged)
    xs = [p.x for v in found for p in v]
    assert all(min(xs) - 1e-6 <= one.x <= max(xs) + 1e-6 for one in merged)


@given(detectors)
def test_findings_of_one_place_are_no_farther_apart_than_is_allowed(found):
    assert len(consensus(found, by_distance(0))) >= len({(p.x, p.y) for v in found for p in v})
    everything = consensus(found, by_distance(1e6))
    assert len(everything) == max(len(v) for v in found)


def test_boxes_are_averaged_and_linked_by_their_overlap():
    one = Candidate(5, 5, (0, 0, 10, 10), None, "a")
    near = Candidate(6, 5, (2, 0, 10, 10), None, "b")
    inside = Candidate(5, 5, (4, 4, 6, 6), None, "c")
    merged = consensus([[one], [near]], by_iou(0.5, 1))
    assert [found.box for found in merged] == [(1.0, 0.0, 10.0, 10.0)]
    assert len(consensus([[one], [inside]], by_iou(0.5, 100))) == 2
    assert len(consensus([[one], [point(5.5, 5)]], by_iou(0.5, 1))) == 1


def test_intersection_over_union_against_counted_pixels():
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = (
            [*low, *(low + size)]
            for low, size in zip(rng.integers(0, 9, (2, 2)), rng.integers(1, 9, (2, 2)), strict=True)
        )
        grids = []
        for x0, y0, x1, y1 in (a, b):
            grid = np.zeros((20, 20), bool)
            grid[y0:y1, x0:x1] = True
            grids.append(grid)
        assert iou(tuple(a), tuple(b)) == pytest.approx((grids[0] & grids[1]).sum() / (grids[0] | grids[1]).sum())
    assert iou((1, 1, 1, 1), (1, 1, 1, 1)) == 0.0
    assert iou((0, 0, 0.5, 0.5), (0, 0, 0.5, 0.25)) == 0.5  # boxes may be smaller than a pixel


def test_points_at_exactly_the_radius_and_boxes_of_exactly_the_least_overlap_are_one():
    assert [one.x for one in consensus([[point(0)], [point(3)]], by_distance(3))] == [1.5]
    one, other = Candidate(2, 1, (0, 0, 4, 2), None, None), Candidate(1, 1, (0, 0, 2, 2), None, None)
    assert [found.box for found in consensus([[one], [other]], by_iou(0.5, 0))] == [(0.0, 0.0, 3.0, 2.0)]
    assert len(consensus([[one], [other]], by_iou(0.51, 0))) == 2


def test_a_box_joins_the_group_that_it_overlaps_most():
    left, right = Candidate(5, 2, (0, 0, 10, 4), 0.9, "left"), Candidate(9, 2, (4, 0, 14, 4), 0.8, "right")
    other = Candidate(8, 2, (3, 0, 13, 4), 0.1, "other")
    found = consensus([[left, right], [other]], by_iou(0.3, 1))
    assert [(one.phrase, one.confidence) for one in found] == [
        ("left", pytest.approx(0.45)),
        ("right", pytest.approx(0.45)),
    ]


def test_a_group_has_the_name_that_its_most_confident_member_gave():
    unsure, sure = point(0, confidence=0.2, phrase="unsure"), point(4, confidence=0.6, phrase="sure")
    assert [one.phrase for one in consensus([[unsure], [sure]], by_distance(9))] == ["sure"]


def test_the_edges_of_a_box_are_weighted_each_by_itself():
    one, other = Candidate(2, 3, (0, 1, 4, 5), 0.75, None), Candidate(4, 6, (2, 3, 6, 9), 0.25, None)
    assert [found.box for found in consensus([[one], [other]], by_distance(9))] == [pytest.approx((0.5, 1.5, 4.5, 6))]
