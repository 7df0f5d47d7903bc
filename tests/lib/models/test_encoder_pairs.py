"""Encoders give images and texts as vectors of one space, as the whole models of their libraries do."""

from pathlib import Path

import lofi_models
import numpy as np
import pytest
import tiny_siglip

from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.models.encoder import Pair, PairSetting, unit
from stages.lib.models.encoders import lofi, medgemma, siglip
from stages.lib.models.lofi import card, weights
from stages.lib.models.snapshot import Snapshot

SIDE = lofi_models.SIDE_PX
IMAGES = list(np.random.default_rng(3).integers(0, 256, (3, SIDE, SIDE), np.uint8))
TEXTS = ["A nodule in the left lung.", "Heart of normal size."]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return lofi_models.encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def pair(base: Snapshot) -> Pair:
    return siglip.pair(row(siglip), setting(base))


def row(module):
    return module.Params(model="here", revision="none", dtype="float32")


def setting(found: Snapshot, preprocessing_hash: str = "pixels") -> PairSetting:
    return PairSetting(found=found, preprocessing_hash=preprocessing_hash)


def test_siglip_gives_what_the_library_gives_of_images_and_texts(base: Snapshot, pair: Pair) -> None:
    import torch
    from transformers import AutoImageProcessor, AutoTokenizer, SiglipModel

    whole = SiglipModel.from_pretrained(base.folder).eval()
    pixels = AutoImageProcessor.from_pretrained(base.folder, backend="pil")(
        [np.dstack([grey] * 3) for grey in IMAGES], return_tensors="pt"
    )
    tokens = AutoTokenizer.from_pretrained(base.folder, padding_side="right")(
        [text.lower() for text in TEXTS], padding="max_length", max_length=64, return_tensors="pt"
    )
    with torch.no_grad():
        images = whole.get_image_features(**pixels).pooler_output.numpy()
        texts = whole.get_text_features(input_ids=tokens["input_ids"]).pooler_output.numpy()
    np.testing.assert_allclose(pair.embed(IMAGES), images / np.linalg.norm(images, axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(pair.texts(TEXTS), texts / np.linalg.norm(texts, axis=1, keepdims=True), atol=1e-5)


def test_vectors_are_of_length_1_and_of_one_width(pair: Pair) -> None:
    for found in (pair.embed(IMAGES), pair.texts(TEXTS)):
        assert found.dtype == np.float32
        assert found.shape[1] == lofi_models.WIDTH
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_neither_case_nor_company_changes_a_text_s_vector(pair: Pair) -> None:
    together = pair.texts([*TEXTS, TEXTS[0].upper()])
    np.testing.assert_allclose(pair.texts(TEXTS[:1])[0], together[0], atol=1e-6)
    np.testing.assert_array_equal(together[2], together[0])


def test_a_text_that_is_too_long_is_refused_and_sentences_that_do_not_fit_are_left_out_whole(pair: Pair) -> None:
    long = " ".join(["opacity"] * 80)
    with pytest.raises(ModelError, match=r"the text tower reads 64 tokens, and .* tokens; leave sentences out"):
        pair.texts([TEXTS[0], long])
    assert pair.reader
    found = pair.reader.fit([TEXTS[0], long, TEXTS[1]])
    assert (found.text, found.left_out) == (" ".join(TEXTS), 1)


def test_images_of_another_side_are_scaled_to_siglip_s_own(pair: Pair) -> None:
    sides = [np.full((side, side), 100, np.uint8) for side in (SIDE // 2, SIDE, 3 * SIDE)]
    found = pair.embed(sides)
    np.testing.assert_allclose(found, np.repeat(pair.embed([sides[1]]), 3, axis=0), atol=1e-5)


def test_a_vision_side_alone_and_a_checkpoint_without_a_fixed_size_are_refused(tmp_path: Path) -> None:
    import json

    alone = tiny_siglip.build(tmp_path / "alone", vision_only=True)
    with pytest.raises(ModelError, match="wanted 'siglip'"):
        siglip.pair(row(siglip), setting(alone))
    naflex = lofi_models.encoder(tmp_path / "naflex")
    config = json.loads((naflex.folder / "config.json").read_text())
    (naflex.folder / "config.json").write_text(json.dumps({**config, "model_type": "siglip2"}))
    with pytest.raises(ModelError, match="NaFlex"):
        siglip.pair(row(siglip), setting(naflex))


def test_medgemma_embeds_images_alone_and_refuses_texts(tiny_base: Snapshot) -> None:
    pair = medgemma.pair(row(medgemma), setting(tiny_base))
    one = medgemma.encoder(row(medgemma), tiny_base).features(np.dstack([IMAGES[0]] * 3))
    np.testing.assert_allclose(pair.embed(IMAGES)[0], one / np.linalg.norm(one), atol=1e-6)
    with pytest.raises(ModelError, match="has no text side, and embeds images alone; name one of kind siglip or lofi"):
        pair.texts(TEXTS)


@pytest.fixture(scope="module")
def adapter(base: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoFi adapter whose LoRA is not 0, with its card."""
    import torch

    params = lofi_models.params()
    folder = tmp_path_factory.mktemp("lofi")
    loaded = weights.load(base, None, params, trainable=True)
    torch.manual_seed(1)
    for name, parameter in loaded.network.named_parameters():
        if "lora_B" in name:
            parameter.data += 0.3 * torch.randn_like(parameter)
    (folder / "checkpoint").mkdir()
    weights.save(loaded.network, folder / "checkpoint")
    told = card.Card(
        preprocessing_hash="pixels",
        encoder=base.identity,
        decoder=None,
        model=dict(lofi_models.MODEL),
        train={"learning_rate": 0.1},
        step=1,
    )
    card.write(folder / "adapter", folder / "checkpoint", told)
    return folder / "adapter"


def test_lofi_gives_the_adapted_vectors_of_its_base(base: Snapshot, pair: Pair, adapter: Path) -> None:
    tuned = lofi.pair(lofi.Params(adapter=str(adapter)), setting(base))
    loaded = weights.load(base, None, lofi_models.params(), adapter)
    np.testing.assert_array_equal(tuned.embed(IMAGES), loaded.embed_images(IMAGES))
    np.testing.assert_array_equal(tuned.texts(TEXTS), loaded.embed_texts(TEXTS))
    assert np.abs(tuned.embed(IMAGES) - pair.embed(IMAGES)).max() > 1e-3
    assert np.abs(tuned.texts(TEXTS) - pair.texts(TEXTS)).max() > 1e-3
    assert tuned.identity != pair.identity


def test_the_adapter_that_a_rule_names_goes_before_that_of_the_row(base: Snapshot, adapter: Path) -> None:
    named = PairSetting(found=base, preprocessing_hash="pixels", adapter=adapter)
    row_s = lofi.pair(lofi.Params(adapter=str(adapter)), setting(base))
    assert lofi.pair(lofi.Params(adapter="elsewhere"), named).identity == row_s.identity


def test_an_adapter_is_refused_with_other_pixels_or_on_another_base(
    base: Snapshot, adapter: Path, tmp_path: Path
) -> None:
    params = lofi.Params(adapter=str(adapter))
    with pytest.raises(MismatchError, match="preprocessing hash 'pixels', now 'other'"):
        lofi.pair(params, setting(base, "other"))
    with pytest.raises(MismatchError, match="encoder sha256"):
        lofi.pair(params, setting(lofi_models.encoder(tmp_path, seed=5)))


def test_a_vector_of_length_0_or_not_finite_is_refused() -> None:
    for odd in (0.0, np.nan, np.inf):
        with pytest.raises(ModelError, match="0 or not finite"):
            unit(np.array([[1.0, 2.0], [odd, odd]]))
