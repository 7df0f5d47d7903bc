import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.detect import views
from stages.lib.detect.detection import Detection
from stages.lib.detect.views import VIEWS

SIDE = 112
places = st.floats(0.05, 0.95)


def spot(u, v):
    """An image that is black but for one bright spot at (u, v), and that is asymmetric therefore."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    return (255 * np.exp(-((columns - u * SIDE) ** 2 + (rows - v * SIDE) ** 2) / 18)).astype(np.uint8)


def brightest(image):
    """Where the weight of the brightest pixels lies, in fractions of the square from edge to edge."""
    weight = np.where(image > 0.6 * image.max(), image, 0).astype(float)
    rows, columns = np.mgrid[0 : len(image), 0 : len(image)] + 0.5
    return (columns * weight).sum() / weight.sum() / len(image), (rows * weight).sum() / weight.sum() / len(image)


@given(u=places, v=places, name=st.sampled_from(views.NAMES))
def test_what_is_seen_in_a_view_is_brought_back_to_where_it_is_on_the_image(u, v, name):
    view = VIEWS[name]
    shown = view.show(spot(u, v))
    assert shown.shape == (SIDE, SIDE)
    assert shown.dtype == np.uint8
    margin = 0.05
    inside = view.left + margin < u < view.left + view.fraction - margin
    if not (inside and view.top + margin < v < view.top + view.fraction - margin):
        return
    found = view.back(Detection(*brightest(shown), box=None, confidence=0.5, phrase=None))
    assert (found.u, found.v) == (pytest.approx(u, abs=0.012), pytest.approx(v, abs=0.012))
    assert found.confidence == 0.5


def test_the_four_crops_cover_the_image_and_the_whole_view_is_the_image_itself():
    seen = np.zeros((SIDE, SIDE), bool)
    for name in views.NAMES[2:]:
        view = VIEWS[name]
        top, left, fraction = (round(part * SIDE) for part in (view.top, view.left, view.fraction))
        seen[top : top + fraction, left : left + fraction] = True
    assert seen.all()
    image = spot(0.3, 0.6)
    assert (VIEWS["whole"].show(image) == image).all()


def test_a_mirrored_box_keeps_its_corners_in_order_and_its_side_of_the_patient():
    found = VIEWS["mirrored"].back(Detection(0.2, 0.5, (0.1, 0.4, 0.3, 0.6), None, "nodule, LEFT upper lobe (left)"))
    assert found.box == pytest.approx((0.7, 0.4, 0.9, 0.6))
    assert found.phrase == "nodule, RIGHT upper lobe (right)"
    same = Detection(0.2, 0.5, (0.1, 0.4, 0.3, 0.6), None, "left")
    assert VIEWS["whole"].back(same) == same


@pytest.mark.parametrize(
    ("phrase", "u", "wrong"),
    [
        ("nodule in the left lung", 0.7, False),
        ("nodule in the left lung", 0.3, True),
        ("Right apex", 0.2, False),
        ("Right apex", 0.8, True),
        ("left or right", 0.2, False),
        ("bright nodule", 0.2, False),
        (None, 0.2, False),
        ("left base", 0.5, False),
        ("right base", 0.5, True),
    ],
)
def test_left_is_the_patients_left_which_is_on_the_right_of_the_image(phrase, u, wrong):
    assert views.contradicts(phrase, u) == wrong


def test_mirroring_twice_is_nothing():
    image, view = spot(0.2, 0.7), VIEWS["mirrored"]
    assert (view.show(view.show(image)) == image).all()
    detection = Detection(0.2, 0.7, (0.1, 0.6, 0.3, 0.8), 0.4, "Left hilum")
    again = view.back(view.back(detection))
    assert (again.u, again.phrase) == (pytest.approx(0.2), "Left hilum")
