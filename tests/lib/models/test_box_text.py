"""Boxes as text: both conventions, what is lost in writing, and what cannot be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.models import box_text
from stages.lib.models.box_text import read, to_original, to_square, units, write

GOLDEN = to_square((100, 200, 300, 450), 800, 1000)
EDGES = st.tuples(*[st.floats(0, 1)] * 4).map(
    lambda four: (*map(min, four[:2], four[2:]), *map(max, four[:2], four[2:]))
)


def test_the_golden_box_is_written_x_first_by_lofi_and_y_first_by_medgemma():
    assert box_text.listed([GOLDEN], "round") == "[[200,200,400,450]]"
    assert "[200, 200, 450, 400]" in write([GOLDEN], "medgemma", "round", "opacity")
    assert read(write([GOLDEN], "lofi", "round"), "lofi").boxes == (GOLDEN,)
    assert read(write([GOLDEN], "medgemma", "round", "opacity"), "medgemma").boxes == (GOLDEN,)


@given(EDGES, st.sampled_from(["lofi", "medgemma"]))
def test_a_rounded_box_comes_back_within_a_2000th_of_the_side_if_it_is_wider_than_a_unit(box, convention):
    wide = min(box[2] - box[0], box[3] - box[1]) > 1.001 / box_text.UNITS and max(box) > 0.01
    found = read(write([box], convention, "round", "x"), convention)
    if wide:
        assert found.status == "ok"
        assert max(abs(ours - theirs) for ours, theirs in zip(found.boxes[0], box, strict=True)) <= 1 / 2000 + 1e-9


@given(EDGES)
def test_a_box_as_it_is_written_always_has_an_area_within_the_square(box):
    for rounding in ("round", "floor"):
        x0, y0, x1, y1 = units(box, rounding)
        assert 0 <= x0 < x1 <= box_text.UNITS
        assert 0 <= y0 < y1 <= box_text.UNITS


def test_flooring_moves_every_edge_by_half_a_unit_on_the_mean_and_rounding_by_none():
    import numpy as np

    rng = np.random.default_rng(0)
    corners = rng.uniform(0.1, 0.8, (4000, 2))
    boxes = [(x, y, x + 0.05, y + 0.05) for x, y in corners]
    for rounding, wanted in (("floor", -0.0005), ("round", 0.0)):
        moved = np.array([units(box, rounding) for box in boxes]) / box_text.UNITS - np.array(boxes)
        assert moved.mean() == pytest.approx(wanted, abs=2e-5)


@given(st.permutations([(0.5, 0.1, 0.6, 0.2), (0.2, 0.2, 0.4, 0.45), (0.2, 0.1, 0.4, 0.45)]))
def test_the_order_in_which_boxes_come_changes_no_letter_of_lofis_answer(boxes):
    assert write(boxes, "lofi", "round") == "```\n[[200,100,400,450],[200,200,400,450],[500,100,600,200]]\n```"


@pytest.mark.parametrize(("width", "height"), [(800, 1000), (1000, 800), (7, 7), (1001, 500)])
def test_a_box_of_an_original_comes_back_from_the_square(width, height):
    box = (0.25 * width, 0.5 * height, 0.75 * width, float(height))
    assert to_original(to_square(box, width, height), width, height) == pytest.approx(box)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("```\n[[1,2,30,40]]\n```", "ok"),
        ("```json\n[[1,2,30,40],[5,6,70,80]]```", "ok"),
        ("[[1, 2, 30, 40]]", "ok"),
        ("```\n[]\n```", "empty"),
        ("", "malformed"),
        ("there is none", "malformed"),
        ("[[1,2,30,40]", "malformed"),
        ("```\n[[1,2,30,40],[5,6,70", "malformed"),
        ("[[1,2,30,40],[5,6,5,80]]", "malformed"),
        ("[[30,2,1,40]]", "malformed"),
        ("[[1,40,30,40]]", "malformed"),
        ("[[1,2,30]]", "malformed"),
        ("[[1,2,30,1400]]", "malformed"),
        ("[[-1,2,30,140]]", "malformed"),
        ("[[0.1,0.2,0.3,0.4]]", "malformed"),
        ("[[NaN,2,30,40]]", "malformed"),
        ("[[true,2,30,40]]", "malformed"),
        ('[["1","2","30","40"]]', "malformed"),
        ("{}", "malformed"),
        ("[" * 100_000, "malformed"),
    ],
)
def test_an_answer_of_lofi_is_read_whole_or_not_at_all(answer, status):
    found = read(answer, "lofi")
    assert found.status == status
    assert bool(found.boxes) == (status == "ok")
    assert bool(found.problem) == (status == "malformed")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ('[{"box_2d": [2, 1, 40, 30], "label": "opacity"}]', "ok"),
        ("Final Answer: []", "empty"),
        ('[{"box_2d": [2, 1, 40, 30]}, {"box_2d": [2, 1, 2, 30]}]', "malformed"),
        ("nothing to be seen", "malformed"),
    ],
)
def test_an_answer_of_medgemma_with_one_box_that_cannot_be_read_has_none(answer, status):
    found = read(answer, "medgemma")
    assert found.status == status
    assert bool(found.boxes) == (status == "ok")


def test_an_answer_that_was_cut_is_malformed_whatever_it_says():
    assert read("[[1,2,30,40]]", "lofi", cut=True).problem == "cut at max_new_tokens"
