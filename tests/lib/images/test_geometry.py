"""A point keeps its place through normalization, and comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.images.geometry import Geometry
from stages.lib.images.preprocess import normalize_pixels

SIZES = st.integers(1, 4000)
SIDES = st.sampled_from([1, 112, 448, 896])
POINT = st.floats(-5000, 5000)


@settings(deadline=None)
@given(SIZES, SIZES, SIDES, POINT, POINT)
def test_there_and_back_is_where_one_was(width: int, height: int, side: int, x: float, y: float) -> None:
    geometry = Geometry(width_px=width, height_px=height, side_px=side)
    assert geometry.to_original(*geometry.to_normalized(x, y)) == pytest.approx((x, y), abs=1e-6)
    assert geometry.from_unit(*geometry.to_unit(x, y)) == pytest.approx((x, y), abs=1e-6)


@settings(deadline=None)
@given(SIZES, SIZES, SIDES, POINT, POINT)
def test_the_unit_square_is_the_normalized_image_divided_by_its_side(
    width: int, height: int, side: int, x: float, y: float
) -> None:
    geometry = Geometry(width_px=width, height_px=height, side_px=side)
    u, v = geometry.to_unit(x, y)
    assert geometry.to_normalized(x, y) == pytest.approx((u * side - 0.5, v * side - 0.5), abs=1e-6)


@settings(deadline=None)
@given(SIZES, SIZES, SIDES)
def test_the_edges_of_an_image_fall_inside_the_square_and_those_of_its_longer_side_on_its_edge(
    width: int, height: int, side: int
) -> None:
    geometry = Geometry(width_px=width, height_px=height, side_px=side)
    u0, v0 = geometry.to_unit(-0.5, -0.5)
    u1, v1 = geometry.to_unit(width - 0.5, height - 0.5)
    assert 0 <= u0 < u1 <= 1 and 0 <= v0 < v1 <= 1
    longer = (u0, u1) if width >= height else (v0, v1)
    assert longer == (0, 1)


@pytest.mark.parametrize(("width", "height"), [(400, 400), (400, 301), (301, 400), (97, 250), (333, 90), (60, 47)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_bright_dot_is_found_where_the_geometry_says(width: int, height: int, dtype: type) -> None:
    """Painted on the pixels, found on the normalized pixels by its centre of mass: shrunk, enlarged, padded."""
    side_px = 112
    geometry = Geometry(width_px=width, height_px=height, side_px=side_px)
    radius = max(4, geometry.square_px // 40)
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    for across, down in [(0.5, 0.5), (0.15, 0.2), (0.85, 0.3), (0.3, 0.8), (0.77, 0.66)]:
        x, y = round(across * (width - 1)), round(down * (height - 1))
        bright = np.clip(radius - np.hypot(columns - x, rows - y), 0, None) / radius
        pixels = (bright * np.iinfo(dtype).max).astype(dtype)
        square, _, _ = normalize_pixels(pixels, low_percentile=0.0, high_percentile=100.0, side_px=side_px)
        mass = square / square.sum()
        found = (
            float((mass.sum(axis=0) * np.arange(side_px)).sum()),
            float((mass.sum(axis=1) * np.arange(side_px)).sum()),
        )
        assert np.hypot(*np.subtract(found, geometry.to_normalized(x, y))) < 0.1
        assert np.hypot(*np.subtract(geometry.to_original(*found), (x, y))) < 0.5


def test_a_nearest_edge_convention_would_be_noticed() -> None:
    """The check above is worth something: without the half pixels the dot would be off by more than it allows."""
    geometry = Geometry(width_px=400, height_px=301, side_px=112)
    x, y = geometry.to_normalized(200, 150)
    naive = (200 * geometry.scale, (150 + geometry.pad_y_px) * geometry.scale)
    assert np.hypot(x - naive[0], y - naive[1]) > 0.3
