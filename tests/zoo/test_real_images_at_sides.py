"""A few real images, 8 and 16 bits deep, at the sides that models of the zoo are shown: the way of the data alone."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stages.data import normalize
from stages.lib.core import files
from stages.lib.core.feature_tables import STATISTICS
from stages.lib.demo import untrained
from stages.lib.images import normalized, reading
from stages.lib.models.backbone import BackboneParams, BackboneSetting
from stages.lib.models.embedding import Embedding
from stages.lib.models.snapshot import Snapshot

pytestmark = pytest.mark.real_images

SIDES = (112, 448, 518, 896)
PERCENTILES = {"low_percentile": 0.5, "high_percentile": 99.5}  # as in the presets


def squares(folder: Path, to: Path, side_px: int, count: int) -> pa.Table:
    """The first images of a folder, normalized."""
    rows = []
    for path in sorted(folder.glob("*.png"))[:count]:
        height, width = reading.read_grey(path, max_pixels=50_000_000).pixels.shape
        sizes = {"width_px": width, "height_px": height}
        named = {"image_id": path.stem, "file_name": path.name, "path": str(path)}
        rows.append({**named, **sizes, "sha256": files.sha256_file(path)})
    asked = normalize.Params(**PERCENTILES, side_px=side_px)
    return normalize.normalize(pa.Table.from_pylist(rows), asked, results=to, folder=to / "png")


@pytest.mark.parametrize("side_px", SIDES)
@pytest.mark.parametrize("part", ["lidc_png_16_bit", "nih_filtered_images"])
def test_no_image_is_saturated_at_any_side(part: str, side_px: int, real_images: Path, tmp_path: Path) -> None:
    made = squares(real_images / part, tmp_path, side_px, 3).to_pylist()
    assert len(made) == 3
    for row in made:
        pixels = normalized.load(tmp_path / row["png"])
        assert pixels.shape == (side_px, side_px)
        top, left = (int(np.ceil(row[name] * row["scale"])) for name in ("pad_y_px", "pad_x_px"))
        inside = pixels[top : side_px - top, left : side_px - left]  # without the padding, which is black
        assert np.mean(inside == 255) < 0.02, row["image_id"]
        assert np.percentile(inside, 90) - np.percentile(inside, 10) > 60, row["image_id"]
        assert len(np.unique(inside)) > 100, row["image_id"]


def test_a_backbone_tells_real_images_apart_at_each_place(real_images: Path, tmp_path: Path) -> None:
    """Its weights are random: finite features that differ are all that is claimed."""
    side_px, folder = 112, tmp_path / "model"
    untrained.build(folder, "Dinov2Model", 1, side_px)
    made = [
        *squares(real_images / "lidc_png_16_bit", tmp_path, side_px, 2).to_pylist(),
        *squares(real_images / "nih_filtered_images", tmp_path, side_px, 2).to_pylist(),
    ]
    asked = BackboneParams(
        library="transformers",
        source=str(folder),
        revision="none",
        architecture="Dinov2Model",
        side_px=side_px,
        shifts=2,
    )
    found = Snapshot(base=str(folder), revision="none", commit=None, folder=folder, sha256="0", files={})
    embedding = Embedding(asked, BackboneSetting(row="random", found=found), made[0]["preprocessing_hash"], None)
    images = list(embedding.images([tmp_path / row["png"] for row in made], 0))
    embedding.close()
    for name in STATISTICS:
        features = np.stack([image.statistics[name] for image in images])  # (images, places, features)
        assert features.shape[:2] == (4, 4)
        assert np.isfinite(features).all()
        flat = features.reshape(16, -1)
        assert len(np.unique(flat, axis=0)) == 16, name
