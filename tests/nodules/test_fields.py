"""Where points of chance are thrown."""

import numpy as np
import pytest

from stages.lib.images.geometry import Geometry
from stages.lib.metrics import localization as loc
from stages.nodules import fields


def test_points_of_chance_lie_in_the_field_and_cover_it_evenly():
    mask = np.zeros((20, 20), bool)
    mask[5:15, 3:7] = mask[5:15, 13:17] = True  # two lungs
    geometry = Geometry(width_px=300, height_px=400, side_px=20)  # a pixel is 20 wide, 50 are padded on each side
    field = fields.of_mask(mask, geometry)
    thrown = field.throw((500, 40), np.random.default_rng(0)).reshape(-1, 2)
    across, down = ((thrown - (-50.5, -0.5)) // 20).T
    assert mask[down.astype(int), across.astype(int)].all()
    counts = np.bincount((20 * down + across).astype(int), minlength=400).reshape(20, 20)
    assert counts[mask].min() > 0 and counts[mask].max() < 1.5 * counts[mask].mean()
    assert np.ptp((thrown - (-50.5, -0.5)) % 20, axis=0) == pytest.approx([20, 20], abs=0.1)


def test_chance_in_the_lungs_is_the_area_of_a_disc_over_that_of_the_lungs_and_more_than_on_the_whole_image():
    lung = np.zeros((100, 100), bool)
    lung[20:80, 20:80] = True
    field = fields.of_mask(lung, Geometry(width_px=400, height_px=400, side_px=100))
    whole = loc.Image("i", "p", 400, 400, np.array([[200.0, 200.0]]), np.zeros((1, 2)))
    inside = loc.Image("i", "p", 400, 400, whole.points, whole.predictions, field=field)
    radius, throws = whole.threshold_px(0.05), 40_000
    for image, area in ((whole, 400**2), (inside, 240**2)):
        wanted = np.pi * radius**2 / area
        found = loc.chance_hits(image, 0.05, throws, np.random.default_rng(0))
        assert found == pytest.approx(wanted, abs=4 * (wanted / throws) ** 0.5)


def test_pixels_of_the_padding_are_no_part_of_a_field():
    wide = Geometry(width_px=400, height_px=200, side_px=8)  # rows 0, 1, 6 and 7 are padding
    field = fields.of_mask(np.ones((8, 8), bool), wide)
    assert len(field.corners) == 4 * 8
    assert field.corners.min(axis=0).tolist() == [-0.5, -0.5]
    assert (field.corners.max(axis=0) + field.side_px).tolist() == [399.5, 199.5]
    padding = np.zeros((8, 8), bool)
    padding[:2] = True
    assert fields.of_mask(padding, wide) is None
