"""Marks lie where geometry says; an image is shown as it is."""

import numpy as np
import pytest

from stages.lib.core.errors import ImageError
from stages.lib.images.geometry import Geometry
from stages.lib.metrics.measures import Estimate, Key
from stages.lib.report import gallery, numbers


def test_a_file_that_is_no_image_is_refused() -> None:
    with pytest.raises(ImageError, match="run normalize again"):
        gallery.embed(b"<html>", 64)


def test_marks_lie_where_geometry_says_on_a_padded_image() -> None:
    geometry = Geometry(width_px=100, height_px=200, side_px=50)
    (ring,) = gallery.rings([{"point": 0, "x": 49.5, "y": 99.5}], geometry, (0.02, 0.05))
    assert (ring.x, ring.y) == (50.0, 50.0)
    assert ring.radii[1] == pytest.approx(100 * 0.05 * np.hypot(100, 200) / 200, abs=0.01)
    row = {"rank": 0, "x": 24.5, "y": 49.5, "x0": -0.5, "y0": -0.5, "x1": 49.5, "y1": 99.5}
    row |= {"phrase": "nodule", "confidence": None}
    (found,) = gallery.marks([row], geometry, "MedGemma", look=0, boxed=True)
    assert (found.x, found.y) == (37.5, 25.0)
    assert found.box == (25.0, 0.0, 25.0, 50.0)
    (found,) = gallery.marks([row], geometry, "MedGemma", look=0, boxed=False)
    assert found.box is None


def test_a_zero_is_not_taken_for_a_missing_number() -> None:
    key = Key("roc_auc")
    assert numbers.number(key, Estimate(value=0.0, low=0.0, high=0.0)).interval == "[0.000, 0.000]"
    assert numbers.number(key, Estimate(value=0.0)).value == 0.0
    assert numbers.number(key, None).text == numbers.DASH
