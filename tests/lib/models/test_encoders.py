"""Frozen encoders are loaded as their real models are, and give one vector per image."""

from pathlib import Path

import numpy as np
import pytest
import tiny_siglip

from stages.lib.core import files
from stages.lib.core.errors import ModelError
from stages.lib.models import gemma3
from stages.lib.models.encoders import medgemma, siglip
from stages.lib.models.snapshot import Snapshot

RGB = np.random.default_rng(3).integers(0, 256, (40, 52, 3), np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return tiny_siglip.build(tmp_path_factory.mktemp("siglip"))


def params(module: object) -> object:
    return module.Params(model="here", revision="none", dtype="float32")  # type: ignore[attr-defined]


def test_siglip_gives_what_the_whole_model_gives_of_the_image(tiny: Snapshot) -> None:
    import torch
    from transformers import AutoImageProcessor, SiglipModel

    found = siglip.encoder(params(siglip), tiny).features(RGB)
    whole = SiglipModel.from_pretrained(tiny.folder).eval()
    pixels = AutoImageProcessor.from_pretrained(tiny.folder, backend="pil")(RGB, return_tensors="pt")
    with torch.no_grad():
        wanted = whole.get_image_features(**pixels).pooler_output[0].numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_vision_side_alone_is_enough(tiny: Snapshot, tmp_path: Path) -> None:
    alone = tiny_siglip.build(tmp_path, vision_only=True)
    both = [siglip.encoder(params(siglip), one) for one in (tiny, alone)]
    np.testing.assert_allclose(both[0].features(RGB), both[1].features(RGB), atol=1e-6)
    assert both[0].identity != both[1].identity


def test_a_model_that_lacks_a_weight_is_refused(tiny: Snapshot, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    for file in tiny.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    (gone,) = [name for name in weights if name.endswith("head.probe")]
    del weights[gone]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    found = Snapshot(base="x", revision="none", commit=None, folder=tmp_path, sha256="0" * 64, files={})
    with pytest.raises(ModelError, match=r"found no weights for .*head\.probe"):
        _ = siglip.encoder(params(siglip), found).features


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    found = Snapshot(base="x", revision="none", commit=None, folder=tmp_path, sha256="0" * 64, files={})
    for module in (siglip, medgemma):
        with pytest.raises(ModelError, match=r"wanted the folder of a model|cannot be loaded"):
            _ = module.encoder(params(module), found).features


def test_medgemma_gives_the_mean_of_the_tokens_that_its_language_model_reads(tiny_base: Snapshot) -> None:
    encoder = medgemma.encoder(params(medgemma), tiny_base)
    held = gemma3.ModelParams(dtype="float32", attention="sdpa", quantization="none", cache_features=False)
    loaded = gemma3.load(tiny_base.folder, held)
    grey = np.random.default_rng(4).integers(0, 256, (loaded.side_px, loaded.side_px), np.uint8)
    wanted = gemma3.features(loaded, [grey])[0].mean(dim=0).numpy()
    np.testing.assert_allclose(encoder.features(np.dstack([grey] * 3)), wanted, atol=1e-5)
    assert encoder.features(RGB).shape == wanted.shape
    assert files.sha256_file(tiny_base.folder / "model.safetensors") in encoder.identity
