"""Boxes come into pixels of the original, and one that is none is told apart from one that is."""

from hypothesis import assume, given
from hypothesis import strategies as st

from stages.lib.images.reports.edges import FRACTION, PIXELS, fault, in_pixels
from stages.lib.images.reports.reported import Box

WIDTH, HEIGHT = 800, 1000
EDGES = st.tuples(*[st.floats(0, 0.999)] * 4).map(
    lambda e: (min(e[0], e[2]), min(e[1], e[3]), max(e[0], e[2]), max(e[1], e[3]))
)


def box(edges: tuple[float, ...], unit: str) -> Box:
    return Box(0, "first", (edges[0], edges[1], edges[2], edges[3]), unit, str(edges), "boxes.csv line 2")


@given(EDGES)
def test_a_box_within_its_image_has_no_fault_in_its_own_unit_and_both_units_are_the_same_pixels(edges) -> None:
    pixels = (edges[0] * WIDTH, edges[1] * HEIGHT, edges[2] * WIDTH, edges[3] * HEIGHT)
    assume(edges[2] > edges[0] and edges[3] > edges[1] and max(pixels) > 1)
    for one, unit in ((edges, FRACTION), (pixels, PIXELS)):
        assert fault(box(one, unit), WIDTH, HEIGHT) is None
        assert in_pixels(one, unit, WIDTH, HEIGHT) == pixels


@given(EDGES)
def test_the_other_unit_is_noticed(edges) -> None:
    assert "in fractions, wanted pixels" in str(fault(box(edges, PIXELS), WIDTH, HEIGHT))
    pixels = (edges[0] * WIDTH, edges[1] * HEIGHT, edges[2] * WIDTH, edges[3] * HEIGHT)
    assume(max(pixels) > 2)
    assert "in pixels, wanted fractions" in str(fault(box(pixels, FRACTION), WIDTH, HEIGHT))


@given(EDGES, st.sampled_from([(1.1, 0), (0, 1.1), (-1.1, 0), (0, -1.1)]), st.sampled_from([FRACTION, PIXELS]))
def test_a_box_moved_by_more_than_its_image_is_outside(edges, by, unit) -> None:
    assume(edges[2] - edges[0] > 0.01 and edges[3] - edges[1] > 0.01)
    x, y = (1, 1) if unit == FRACTION else (WIDTH, HEIGHT)
    moved = tuple((edge + by[place % 2]) * (x, y)[place % 2] for place, edge in enumerate(edges))
    assume(max(map(abs, moved)) <= 2 or unit == PIXELS)
    assert "outside of the image" in str(fault(box(moved, unit), WIDTH, HEIGHT))


@given(EDGES, st.integers(0, 3), st.sampled_from([float("nan"), float("inf"), float("-inf")]))
def test_an_edge_that_is_no_number_is_noticed_whatever_the_others_are(edges, place, value) -> None:
    wrong = tuple(value if here == place else edge for here, edge in enumerate(edges))
    assert "no number" in str(fault(box(wrong, FRACTION), WIDTH, HEIGHT))


def test_edges_up_to_one_pixel_outside_are_put_on_the_border() -> None:
    assert fault(box((-1, 5, 801, 1001), PIXELS), WIDTH, HEIGHT) is None
    assert in_pixels((-1, 5, 801, 1001), PIXELS, WIDTH, HEIGHT) == (0.0, 5.0, 800.0, 1000.0)
    assert "outside of the image by 1.5 pixels" in str(fault(box((-1.5, 5, 30, 60), PIXELS), WIDTH, HEIGHT))
    assert fault(box((0.5, 0.5, 1.001, 1.0), FRACTION), WIDTH, HEIGHT) is None
