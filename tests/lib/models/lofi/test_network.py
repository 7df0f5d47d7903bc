"""The network against plain transformers, and LoRA where it can learn."""

import json
import re

import lofi_models
import numpy as np
import pytest
import torch

from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.models.lofi import card, weights
from stages.lib.models.lofi.pooling import averaged

IMAGES = np.random.default_rng(0).integers(0, 256, (3, lofi_models.SIDE_PX, lofi_models.SIDE_PX), np.uint8)
TEXTS = ["No nodule.", "Small nodule in the left lung.", "x"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return lofi_models.both(tmp_path_factory.mktemp("lofi"))


def passed(loaded):
    """A pass through all parts: embeddings and logits."""
    network, decoder = loaded.network, loaded.decoder
    patches = network.patches(loaded.pixels(torch.from_numpy(IMAGES)))
    ids = torch.tensor([decoder.asked("Is it?")[:8] for _ in IMAGES])
    logits = network.logits(torch.tensor(decoder.begin), network.prefix(patches), ids, ids > 0)
    texts = network.text_embedding(torch.from_numpy(loaded.tower.encode(TEXTS)))
    return network.image_embedding(patches), texts, logits


def test_embeddings_are_those_of_the_librarys_model_of_the_same_pixels_and_tokens(folders):
    from transformers import AutoImageProcessor, AutoModel

    loaded = weights.load(*folders, lofi_models.params())
    plain = AutoModel.from_pretrained(folders[0].folder).eval()
    pixels = AutoImageProcessor.from_pretrained(folders[0].folder, backend="pil")(
        [np.dstack([image] * 3) for image in IMAGES], return_tensors="pt"
    )["pixel_values"]
    ids = torch.from_numpy(loaded.tower.encode(TEXTS))
    with torch.no_grad():
        told = plain(input_ids=ids, pixel_values=pixels)
    np.testing.assert_allclose(loaded.embed_images(IMAGES), told.image_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(loaded.embed_texts(TEXTS), told.text_embeds.numpy(), atol=1e-5)
    cosines = torch.from_numpy(loaded.embed_images(IMAGES) @ loaded.embed_texts(TEXTS).T)
    logits = cosines * loaded.network.scale + loaded.network.bias
    torch.testing.assert_close(logits, told.logits_per_image, atol=1e-4, rtol=1e-4)


def test_the_decoder_reads_words_image_words_and_its_logits_are_those_of_the_library(folders):
    loaded = weights.load(*folders, lofi_models.params())
    network = loaded.network
    begin, ids = torch.tensor(loaded.decoder.begin), torch.tensor([[300, 301, 302], [303, 304, 0]])
    prefix = torch.randn(2, 8, lofi_models.HIDDEN, generator=torch.Generator().manual_seed(0))
    wanted = torch.tensor([[False, True, True], [True, True, False]])
    embed = network.decoder.model.embed_tokens
    with torch.no_grad():
        found = network.logits(begin, prefix, ids, wanted)
        whole = torch.cat([embed(begin).expand(2, -1, -1), prefix, embed(ids)], dim=1)
        mask = torch.ones(whole.shape[:2], dtype=torch.long)
        mask[1, -1] = 0
        every = network.decoder(inputs_embeds=whole, attention_mask=mask).logits[:, -3:]
    torch.testing.assert_close(found, every[wanted], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pooling", ["heads", "queries"])
@pytest.mark.parametrize("head", [True, False])
def test_after_one_step_every_trained_tensor_has_a_gradient_and_no_other_has(folders, pooling, head):
    params = lofi_models.params(pooling=pooling, train_head=head, average_patches=True)
    loaded = weights.load(*folders, params, trainable=True, seed=1)
    for name, parameter in loaded.network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)  # zero as made, which keeps gradients from A
    sum(part.square().sum() + part.sum() for part in passed(loaded)).backward()
    graded = {name for name, one in loaded.network.named_parameters() if one.grad is not None and one.grad.any()}
    # a key's bias adds the same to all scores of a query: softmax takes it away, but for the last bit
    assert graded == {*weights.trained(loaded.network)}
    trained, total = weights.count(loaded.network)
    assert trained == sum(one.numel() for one in weights.trained(loaded.network).values())
    assert trained < total
    assert any("vision_model.head" in name for name in graded) == head


def test_lora_is_on_attention_layers_of_the_towers_and_the_decoder_alone_with_two_ranks(folders):
    loaded = weights.load(*folders, lofi_models.params(), trainable=True)
    ranks = {
        re.sub(r"\.\d+\.", ".N.", name.split(".lora_A")[0]): parameter.shape[0]
        for name, parameter in loaded.network.named_parameters()
        if ".lora_A." in name
    }
    towers = [
        f"encoder.{tower}_model.encoder.layers.N.self_attn.{layer}_proj"
        for tower in ("text", "vision")
        for layer in ("k", "out", "q", "v")
    ]
    decoder = [f"decoder.model.layers.N.self_attn.{layer}_proj" for layer in ("q", "v")]
    assert ranks == {**dict.fromkeys(towers, 4), **dict.fromkeys(decoder, 2)}
    scales = {module.scaling["default"] for module in loaded.network.modules() if hasattr(module, "lora_A")}
    assert scales == {1.0}


def test_an_adapter_comes_back_bit_by_bit_and_as_peft_has_it(folders, tmp_path):
    first = weights.load(*folders, lofi_models.params(), trainable=True, seed=1)
    for parameter in weights.trained(first.network).values():
        torch.nn.init.normal_(parameter, std=0.05)
    weights.save(first.network, tmp_path)
    again = weights.load(*folders, lofi_models.params(), tmp_path)
    for name, parameter in weights.trained(first.network).items():
        assert torch.equal(parameter, again.network.get_parameter(name)), name
    config = json.loads((tmp_path / weights.CONFIG).read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (4, 4, "LORA")
    assert config["rank_pattern"] == config["alpha_pattern"] == {weights.DECODER: 2}
    assert not any(parameter.requires_grad for parameter in again.network.parameters())


def test_first_values_follow_the_seed_and_leave_the_global_generator_alone(folders):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, same, other = (weights.load(*folders, lofi_models.params(), seed=seed).network for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for name, parameter in weights.trained(one).items():
        assert torch.equal(parameter, same.get_parameter(name))
    assert not torch.equal(one.pooling.probe, other.pooling.probe)


def test_an_encoder_alone_takes_its_part_of_an_adapter_and_a_decoder_begins_anew_on_an_adapter_of_towers(
    folders, tmp_path
):
    encoder, decoder = folders
    whole = weights.load(encoder, decoder, lofi_models.params(), trainable=True)
    for parameter in weights.trained(whole.network).values():
        torch.nn.init.normal_(parameter, std=0.05)
    (tmp_path / "whole").mkdir()
    weights.save(whole.network, tmp_path / "whole")
    alone = weights.load(encoder, None, lofi_models.params(), tmp_path / "whole")
    np.testing.assert_allclose(
        alone.embed_images(IMAGES), whole.network.eval() and whole.embed_images(IMAGES), atol=1e-5
    )
    (tmp_path / "towers").mkdir()
    weights.save(alone.network, tmp_path / "towers")
    both = weights.load(encoder, decoder, lofi_models.params(), tmp_path / "towers", seed=5)
    np.testing.assert_allclose(both.embed_images(IMAGES), alone.embed_images(IMAGES), atol=1e-6)


def test_merged_weights_are_plain_modules_that_embed_alike(folders):
    loaded = weights.load(*folders, lofi_models.params(), trainable=True)
    for name, parameter in weights.trained(loaded.network).items():
        if ".lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    loaded.network.eval()
    before = loaded.embed_images(IMAGES), loaded.embed_texts(TEXTS)
    fresh = weights.load(*folders, lofi_models.params())
    assert np.abs(before[0] - fresh.embed_images(IMAGES)).max() > 1e-3
    weights.merge(loaded.network)
    assert not any("lora" in name for name, _ in loaded.network.named_modules())
    np.testing.assert_allclose(loaded.embed_images(IMAGES), before[0], atol=1e-5)
    np.testing.assert_allclose(loaded.embed_texts(TEXTS), before[1], atol=1e-5)


def test_frozen_towers_leave_pooling_projection_and_decoder_to_train(folders):
    loaded = weights.load(*folders, lofi_models.params(), trainable=True)
    weights.freeze_towers(loaded.network)
    left = {name.split(".")[0] for name, one in loaded.network.named_parameters() if one.requires_grad}
    assert left == {"pooling", "projection", "decoder"}


def test_answers_do_not_depend_on_the_length_of_other_prompts(folders):
    loaded = weights.load(*folders, lofi_models.params())
    prompts = ["Is it?", "Describe the image, all of it, with each nodule.", "x"]
    prefix = loaded.prefixes(IMAGES)
    together = loaded.generate(prefix, prompts, 6)
    alone = [loaded.generate(prefix[i : i + 1], [prompts[i]], 6)[0] for i in range(3)]
    assert together == alone
    with pytest.raises(ModelError, match="the decoder reads 512"):
        loaded.generate(prefix, prompts, 500)


@pytest.mark.parametrize("pooling", ["heads", "queries"])
def test_activations_that_are_computed_twice_give_the_same_gradients(folders, pooling):
    found = []
    for of in ("none", "tower", "all"):
        loaded = weights.load(*folders, lofi_models.params(pooling=pooling), trainable=True, seed=1)
        loaded.network.checkpoint_activations(of)
        sum(part.square().sum() + part.sum() for part in passed(loaded)).backward()
        found.append([parameter.grad.clone() for parameter in weights.trained(loaded.network).values()])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, two)


def test_bfloat16_holds_frozen_weights_small_and_trained_ones_exact(folders):
    loaded = weights.load(*folders, lofi_models.params(dtype="bfloat16"), trainable=True)
    kinds = {name: one.dtype for name, one in loaded.network.named_parameters()}
    changed = weights.trained(loaded.network)
    assert {kinds[name] for name in changed} == {torch.float32}
    assert {kind for name, kind in kinds.items() if name not in changed} == {torch.bfloat16}
    parts = passed(loaded)
    sum(part.square().sum() for part in parts).backward()
    exact = weights.load(*folders, lofi_models.params())
    assert (loaded.network.eval() and loaded.embed_images(IMAGES) * exact.embed_images(IMAGES)).sum(axis=1).min() > 0.99


def test_means_of_patches_keep_their_place():
    grid = torch.arange(16.0).reshape(1, 16, 1)
    assert averaged(grid).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_a_grid_that_cannot_be_averaged_is_refused(folders, tmp_path):
    odd = lofi_models.encoder(tmp_path, image_size=24)
    with pytest.raises(ModelError, match="an even number of patches a side, found 3"):
        weights.load(odd, folders[1], lofi_models.params(average_patches=True))


def test_images_of_another_side_are_refused(folders):
    with pytest.raises(MismatchError, match="found images of shape"):
        weights.load(*folders, lofi_models.params()).embed_images(IMAGES[:, :16, :16])


def changed_type(folder, model_type):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": model_type}))


def test_a_naflex_checkpoint_and_other_models_are_refused(folders, tmp_path):
    naflex = lofi_models.encoder(tmp_path / "naflex")
    changed_type(naflex.folder, "siglip2")
    with pytest.raises(ModelError, match="a NaFlex checkpoint of SigLIP 2"):
        weights.load(naflex, None, lofi_models.params())
    with pytest.raises(ModelError, match=r"found a model of type 'gemma3_text', wanted 'siglip'"):
        weights.load(folders[1], None, lofi_models.params())
    with pytest.raises(ModelError, match=r"found a model of type 'siglip', wanted 'gemma3_text'"):
        weights.load(folders[0], folders[0], lofi_models.params())


def bound(folders, **changes):
    encoder, decoder = folders
    given = {
        "encoder": encoder.identity,
        "decoder": decoder.identity,
        "model": lofi_models.MODEL,
        "train": {},
        "step": 3,
    }
    return card.Card(**{"preprocessing_hash": "c0ffee", **given, **changes})


def test_an_adapter_of_other_pixels_another_base_or_another_pooling_is_refused(folders, tmp_path):
    encoder, decoder = folders
    network = weights.load(encoder, decoder, lofi_models.params()).network
    (tmp_path / "checkpoint").mkdir()
    weights.save(network, tmp_path / "checkpoint")
    card.write(tmp_path / "adapter", tmp_path / "checkpoint", bound(folders))
    at = tmp_path / "adapter"
    found = card.check(at, "c0ffee", encoder.identity, decoder.identity, lofi_models.params())
    assert found == bound(folders)
    other = lofi_models.params(pooling="heads", visual_tokens=4)
    with pytest.raises(MismatchError) as told:
        card.check(at, "0ther", decoder.identity, encoder.identity, other)
    for words in (
        "preprocessing hash",
        "encoder sha256",
        "decoder sha256",
        "pooling 'queries', now 'heads'",
        "tokens 8",
    ):
        assert words in str(told.value)
    with pytest.raises(ModelError, match=r"has pooling\.attention|lacks pooling\.heads"):
        weights.load(encoder, decoder, other, at)
    (at / weights.WHOLE).unlink()
    with pytest.raises(ModelError, match=r"lacks whole\.safetensors"):
        card.check(at, "c0ffee", encoder.identity, None, lofi_models.params())
