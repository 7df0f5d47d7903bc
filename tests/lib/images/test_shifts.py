"""Sub-token shifts: padding comes in behind, and nothing comes in again at the other side."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core.errors import ModelError
from stages.lib.images.shifts import UNMOVED, Shift, places, shifted


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_a_moved_image_has_black_behind_it_and_loses_what_leaves_the_square(down, right, seed):
    images = np.random.default_rng(seed).integers(1, 256, (2, 9, 9), dtype=np.uint8)
    found = shifted(images, Shift(down, right))
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    assert (found[:, down:, right:] == images[:, : 9 - down, : 9 - right]).all()
    assert np.count_nonzero(found) == 2 * (9 - down) * (9 - right)  # the rest is black


def test_places_are_even_parts_of_a_token_and_the_first_is_the_image_itself():
    assert places(1, 14, "x") == [UNMOVED]
    assert places(2, 56, "x") == [(0, 0), (0, 28), (28, 0), (28, 28)]
    assert {place.right_px for place in places(7, 14, "x")} == set(range(0, 14, 2))
    assert len(places(7, 14, "x")) == 49


def test_shifts_that_do_not_divide_a_token_are_refused_with_the_parameter():
    with pytest.raises(ModelError, match=r"nodules.infer.shifts: found 3, wanted a divisor of 14"):
        places(3, 14, "nodules.infer.shifts")
