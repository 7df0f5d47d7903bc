"""A bright dot at a known place comes out there: normalized image, moved image, patch tokens, heatmap, peak."""

import cv2
import numpy as np
import pytest
import zoo_backbone as fake

from stages.lib.core import documents
from stages.lib.detect.map_head import Head
from stages.lib.detect.trainable import Known, Setting
from stages.lib.detect.trained import heatmap
from stages.lib.images.geometry import Geometry
from stages.zoo import marks, tokens
from stages.zoo.localize import candidates
from stages.zoo.records import Embedded

DOTS = ((5.0, 9.0), (9.5, 5.5), (12.0, 21.0), (22.0, 10.0), (26.0, 25.0), (15.5, 15.5))  # x, y


def row(shifts: int) -> heatmap.Params:
    own = {"supervision": "marks", "target_mm": 0.0, "target_fraction": 0.05, "loss": "weighted_cross_entropy"}
    own |= {"focus": 0.0, "strength": 1.0, "sharpness": 1.0, "negative_images": 1, "negative_weight": 1.0}
    own |= {"suppression_cells": 4.0, "peak_power": 2.0, "max_peaks": 1, "min_confidence": 0.0, "seed": 1}
    said = {"seen": "no", "licence": "none", "commercial": True}
    return heatmap.Params(**{**fake.BACKBONE, "shifts": shifts, **own, **said})


@pytest.mark.parametrize("shifts", [1, 2, 4])
def test_a_dot_comes_out_where_it_was_drawn_at_the_fineness_of_the_shifts(shifts, tmp_path, monkeypatch):
    study = fake.study(tmp_path / "study", images=9)
    down, right = np.mgrid[: fake.SIDE, : fake.SIDE]
    names = [f"i{number:03d}" for number in range(len(DOTS))]
    for name, (x, y) in zip(names, DOTS, strict=True):
        dot = 20 + 200 * np.exp(-((right - x) ** 2 + (down - y) ** 2) / (2 * 3.0**2))
        (study / f"{name}.png").write_bytes(cv2.imencode(".png", dot.astype(np.uint8))[1].tobytes())
    fake.plant(monkeypatch.setattr, fake.ByHand())
    out = tmp_path / "tokens/dino/cohort/1.parquet"
    tokens.main(fake.embed_options(study, out, stage="tokens", purpose="cohort", cache=study / "kept", shifts=shifts))
    geometry = Geometry(width_px=2 * fake.SIDE, height_px=2 * fake.SIDE, side_px=fake.SIDE)
    known = [
        Known(image_id=name, patient_id=name, geometry=geometry, spacing_mm=None, label=None, points=np.zeros((0, 2)))
        for name in names
    ]
    told = [documents.read(out.with_suffix(".json"), Embedded)]
    wanted = row(shifts)
    seen, rows = marks.with_tokens("dino", wanted, known, [str(out)], told, fake.HASH)
    setting = Setting(row="dino", folder=tmp_path, rows=rows)
    head = Head(np.array([0.04, 0.0, 0.0, 0.0, 0.0]), -6.0)  # of the mean grey value of a patch
    cell = 2 * fake.PATCH / shifts  # px of the original
    errors = []
    for image, (x, y) in zip(seen, DOTS, strict=True):
        [found] = candidates(heatmap.peaks(wanted, setting, head, image), geometry)
        errors.append((found.x - (2 * x + 0.5), found.y - (2 * y + 0.5)))
    assert np.abs(errors).max() < max(cell / 2, 2.5)
    assert np.abs(np.mean(errors, axis=0)).max() < cell / 4  # no way that all of them are moved
