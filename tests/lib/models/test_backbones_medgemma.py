"""The tower of MedGemma as a backbone: its patch tokens, and the features that training keeps, of one pass."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_base import EXACT, noise_images

from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.images.shifts import UNMOVED, Shift, shifted
from stages.lib.models import features, gemma3
from stages.lib.models.backbone import Backbone, BackboneParams, BackboneSetting
from stages.lib.models.backbones import medgemma
from stages.lib.models.snapshot import Snapshot

KEPT = replace(EXACT, cache_features=True)
IMAGES = noise_images(3)
SIDE = len(IMAGES[0])
NAME = "Gemma3ForConditionalGeneration"


def load(folder: Path, *, model: Any = KEPT, side_px: int = SIDE, architecture: str = NAME) -> Backbone:
    row = BackboneParams(
        library="medgemma", source="base", revision="none", architecture=architecture, side_px=side_px, shifts=1
    )
    found = Snapshot(base=str(folder), revision="none", commit=None, folder=folder, sha256="0", files={})
    return medgemma.load(row, BackboneSetting(row="my_row", found=found, model=model))


@pytest.fixture(scope="module")
def backbone(tiny_base: Any) -> Backbone:
    return load(tiny_base.folder)


@pytest.fixture
def pngs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(len(IMAGES))]
    for path, image in zip(paths, IMAGES, strict=True):
        cv2.imwrite(str(path), image)
    return paths


def test_patch_tokens_are_the_towers_own_before_the_projector(tiny_base: Any, backbone: Backbone) -> None:
    import torch

    loaded = gemma3.load(tiny_base.folder, EXACT)
    pixels = (np.stack([[image] * 3 for image in IMAGES]) / 255 - 0.5) / 0.5
    with torch.no_grad():
        tower = loaded.model.model.vision_tower
        last = tower(pixel_values=torch.from_numpy(pixels.astype(np.float32))).last_hidden_state.numpy()
    found, facts = backbone.tokens(IMAGES), backbone.facts
    assert found.patches.shape == (3, facts.rows, facts.rows, facts.features)
    assert found.prefix.shape == (3, 0, facts.features) and facts.prefix == 0
    np.testing.assert_allclose(found.patches.reshape(last.shape), last, rtol=1e-4, atol=1e-5)
    assert facts.rows * facts.patch_px == SIDE
    assert facts.parameters == sum(one.numel() for one in tower.parameters())


def test_what_is_kept_is_bitwise_what_training_would_have_kept(
    tiny_base: Any, backbone: Backbone, pngs: list[Path], tmp_path: Path
) -> None:
    import torch

    loaded = gemma3.load(tiny_base.folder, EXACT)
    place = Shift(0, 7)
    theirs = features.store(tmp_path / "theirs", loaded, "c0ffee")
    theirs.fill(loaded, pngs)
    theirs.fill(loaded, pngs, place)
    assert backbone.cache is not None
    ours = backbone.cache(tmp_path / "ours", "c0ffee")
    for moved in (UNMOVED, place):
        found = backbone.tokens([shifted(image, moved) for image in IMAGES])
        for png, one in zip(pngs, found.projected, strict=True):
            ours.put(png, moved, one)
            assert torch.equal(ours.load(png, moved), theirs.load(png, moved))
    names = [
        sorted(str(path.relative_to(tmp_path / who)) for path in (tmp_path / who).rglob("*.safetensors"))
        for who in ("ours", "theirs")
    ]
    assert names[0] == names[1] and len(names[0]) == 6


def test_what_training_kept_stays_as_it_is(
    tiny_base: Any, backbone: Backbone, pngs: list[Path], tmp_path: Path
) -> None:
    import torch

    assert backbone.cache is not None
    store = backbone.cache(tmp_path / "kept", "c0ffee")
    store.fill(gemma3.load(tiny_base.folder, EXACT), pngs[:1])
    before = store.load(pngs[0])
    store.put(pngs[0], UNMOVED, torch.zeros_like(before))
    assert torch.equal(store.load(pngs[0]), before)


def test_an_image_at_a_place_passes_the_tower_once(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    passed = []
    tower = gemma3.vision
    monkeypatch.setattr(gemma3, "vision", lambda loaded, images: passed.append(len(images)) or tower(loaded, images))
    found = backbone.tokens(IMAGES)
    assert passed == [1, 1, 1] and len(found.projected) == 3


def test_tokens_are_bitwise_independent_of_batch_and_order(backbone: Backbone) -> None:
    together, turned = backbone.tokens(IMAGES).patches, backbone.tokens(IMAGES[::-1]).patches
    np.testing.assert_array_equal(turned[::-1], together)
    np.testing.assert_array_equal(backbone.tokens(IMAGES[1:2]).patches[0], together[1])


def test_nothing_is_kept_where_the_study_keeps_no_features(tiny_base: Any, tmp_path: Path) -> None:
    backbone = load(tiny_base.folder, model=EXACT)
    assert backbone.cache is not None
    assert backbone.cache(tmp_path, "c0ffee") is None


def test_another_side_class_or_no_model_section_is_refused(tiny_base: Any) -> None:
    with pytest.raises(ModelError, match=f"my_row: side_px 56: wanted {SIDE} px"):
        load(tiny_base.folder, side_px=56)
    with pytest.raises(ModelError, match=f"my_row: architecture: found SiglipModel, wanted {NAME}"):
        load(tiny_base.folder, architecture="SiglipModel")
    with pytest.raises(ModelError, match=r"my_row: found no nodules.model"):
        load(tiny_base.folder, model=None)


def test_a_folder_with_another_model_is_refused(tiny_base: Any, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(tiny_base.folder, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architectures": ["PaliGemma"]}))
    with pytest.raises(ModelError, match=rf"my_row: .*config.json: found PaliGemma, wanted {NAME}"):
        load(folder)


def test_images_of_another_side_are_refused(backbone: Backbone) -> None:
    with pytest.raises(MismatchError, match=r"found images of shape \(28, 28\)"):
        backbone.tokens([IMAGES[0][:28, :28]])


def test_operations_of_the_real_tower_are_those_of_the_published_size() -> None:
    """27 layers of width 1152 on 4096 patches: projections, MLP and attention, and the patches' convolution."""
    from workflow.bench.architecture import real_4b

    patches, width, hidden, layers = 4096, 1152, 4304, 27
    layer = patches * (4 * width * width + 2 * width * hidden) + 2 * patches * patches * width
    wanted = 2 * (layers * layer + patches * 3 * 14 * 14 * width)
    assert medgemma.operations_of(real_4b().config.vision_config) == wanted
