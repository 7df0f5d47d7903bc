import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from tiny_base import EXACT, NF4, PROMPT, noise_images, train_params

from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.images import normalized
from stages.lib.models import features, gemma3, lora

IMAGES = noise_images(6)


@pytest.fixture(scope="module")
def loaded(tiny_base):
    return gemma3.load(tiny_base.folder, EXACT)


@pytest.fixture
def pngs(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(len(IMAGES))]
    for path, image in zip(paths, IMAGES, strict=True):
        cv2.imwrite(str(path), image)
    return paths


@pytest.fixture
def store(tmp_path, loaded):
    return features.store(tmp_path / "features", loaded, "c0ffee")


@pytest.mark.parametrize("model", [EXACT, NF4, replace(NF4, dtype="bfloat16")], ids=["float32", "nf4", "nf4 bfloat16"])
@pytest.mark.parametrize("image_first", [True, False])
def test_logits_from_kept_features_are_bitwise_those_from_the_images(tiny_base, tmp_path, pngs, model, image_first):
    loaded, prompt = gemma3.load(tiny_base.folder, model), replace(PROMPT, image_first=image_first)
    store = features.store(tmp_path / "features", loaded, "c0ffee")
    store.fill(loaded, pngs)
    for size in (1, 4, 6):
        kept = gemma3.answer_logits(loaded, [store.load(png) for png in pngs[:size]], prompt)
        assert (kept == gemma3.answer_logits(loaded, IMAGES[:size], prompt)).all()


def test_gradients_of_an_adapter_on_the_language_model_are_bitwise_the_same_from_kept_features(tiny_base):
    import torch

    ends = []
    for kept in (False, True):
        loaded = gemma3.load(tiny_base.folder, NF4)
        model = lora.add(loaded.model, train_params(lora_target_modules="language", lora_dropout=0.0))
        loaded = gemma3.ready(model, loaded.processor)
        images = gemma3.features(loaded, IMAGES) if kept else IMAGES
        loss = gemma3.ask(loaded, images, PROMPT, gemma3.answer_ids(loaded, PROMPT)).pair.sum()
        loss.backward()
        ends.append({name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad})
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert any(gradient.any() for gradient in ends[0].values())


def test_an_image_goes_through_the_tower_once(loaded, store, pngs, monkeypatch):
    passed = []
    tower = gemma3.features
    monkeypatch.setattr(gemma3, "features", lambda model, images: passed.append(len(images)) or tower(model, images))
    store.fill(loaded, [*pngs[:4], pngs[0]])
    store.fill(loaded, pngs)
    assert passed == [1] * 6


def test_another_image_tower_preprocessing_hash_or_type_has_no_features_yet(tiny_base, tmp_path, loaded, store, pngs):
    import torch

    store.fill(loaded, pngs)
    cv2.imwrite(str(pngs[0]), IMAGES[0] ^ 1)
    with pytest.raises(ModelError, match="not in"):
        store.load(pngs[0])
    other = gemma3.load(tiny_base.folder, EXACT)
    assert features.store(tmp_path / "features", other, "c0ffee") == store
    with torch.no_grad():
        other.model.model.vision_tower.embeddings.position_embedding.weight[3, 5] += 1e-6
    others = [
        features.store(tmp_path / "features", other, "c0ffee"),
        features.store(tmp_path / "features", loaded, "decaf"),
        features.store(
            tmp_path / "features", gemma3.load(tiny_base.folder, replace(EXACT, dtype="bfloat16")), "c0ffee"
        ),
        features.store(
            tmp_path / "features", gemma3.load(tiny_base.folder, replace(EXACT, attention="eager")), "c0ffee"
        ),
    ]
    assert len({store.folder, *(one.folder for one in others)}) == 5


@pytest.mark.parametrize(("targets", "kept"), [("language", True), ("all-linear", False), ("vision", False)])
def test_a_tuned_tower_has_no_features_and_a_frozen_one_has_those_of_the_base(
    tiny_base, tmp_path, store, targets, kept
):
    loaded = gemma3.load(tiny_base.folder, EXACT)
    tuned = gemma3.ready(lora.add(loaded.model, train_params(lora_target_modules=targets)), loaded.processor)
    assert features.store(tmp_path / "features", tuned, "c0ffee") == (store if kept else None)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damaged_features_are_found_deleted_and_made_anew(loaded, store, pngs, damage):
    store.fill(loaded, pngs[:1])
    path, whole = store.path(pngs[0]), store.load(pngs[0])
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes({"flip": content, "cut": content[:-100], "empty": b""}[damage])
    with pytest.raises(ModelError, match=r"damaged.*deleted now"):
        store.load(pngs[0])
    store.fill(loaded, pngs[:1])
    assert (store.load(pngs[0]) == whole).all()


def test_features_are_written_whole_or_not_at_all(loaded, store, pngs, monkeypatch):
    import safetensors.torch

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        store.fill(loaded, pngs)
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_an_image_of_another_side_has_no_features(loaded):
    with pytest.raises(MismatchError, match=r"wanted \(112, 112\)"):
        gemma3.features(loaded, [np.zeros((64, 64), np.uint8)])


def test_the_images_themselves_are_not_read_where_features_are_kept(loaded, store, pngs, monkeypatch):
    store.fill(loaded, pngs)
    monkeypatch.setattr(normalized, "load", lambda path: pytest.fail(f"{path} was read"))
    store.fill(loaded, pngs)
    assert math.prod(store.load(pngs[2]).shape) == loaded.image_tokens * loaded.model.config.text_config.hidden_size
