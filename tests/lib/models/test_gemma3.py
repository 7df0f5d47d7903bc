import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_base import EXACT, NF4, PROMPT, noise_images, train_params

from stages.lib.core.errors import MismatchError, ModelError, TrainingError
from stages.lib.demo import tiny
from stages.lib.models import gemma3, lora, prompts
from workflow.bench.architecture import real_4b

IMAGES = noise_images(5)


@pytest.fixture(scope="module")
def loaded(tiny_base):
    return gemma3.load(tiny_base.folder, EXACT)


@pytest.fixture(scope="module")
def quantized(tiny_base):
    return gemma3.load(tiny_base.folder, NF4)


def test_the_stages_and_the_module_of_models_import_no_torch():
    modules = "stages.nodules.train, stages.nodules.infer, stages.lib.learn.loop"
    code = f"import {modules}, sys; print({{'torch', 'peft'}} & {{*sys.modules}})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert found.stdout == "set()\n", found.stderr


def test_pixels_are_those_of_the_models_own_processor_bit_by_bit(loaded):
    from PIL import Image

    images = [Image.fromarray(image).convert("RGB") for image in IMAGES]
    theirs = loaded.processor.image_processor(images, return_tensors="pt")["pixel_values"]
    ours = gemma3.encode(loaded, IMAGES, PROMPT.question, image_first=True)["pixel_values"]
    assert (ours == theirs).all()


def test_the_tokens_are_those_of_the_models_own_chat_template(loaded):
    talk = prompts.messages(PROMPT.question, image_first=True)
    talk[0]["content"][0]["image"] = np.dstack([IMAGES[0]] * 3)
    theirs = loaded.processor.apply_chat_template(
        talk, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    ours = gemma3.encode(loaded, IMAGES[:1], PROMPT.question, image_first=True)
    for name in ("input_ids", "attention_mask", "token_type_ids", "pixel_values"):
        assert (ours[name] == theirs[name]).all(), name


def test_every_image_has_its_image_tokens_and_nothing_is_padded(loaded):
    batch = gemma3.encode(loaded, IMAGES, PROMPT.question, image_first=True)
    assert ((batch["input_ids"] == loaded.model.config.image_token_id).sum(dim=1) == tiny.IMAGE_TOKENS).all()
    assert (batch["token_type_ids"].sum(dim=1) == tiny.IMAGE_TOKENS).all()
    assert batch["attention_mask"].all()


def test_the_image_stands_before_or_after_the_question(loaded):
    ids = [gemma3.encode(loaded, IMAGES[:1], "nodule?", image_first=first)["input_ids"][0].tolist() for first in (1, 0)]
    image, word = loaded.model.config.image_token_id, loaded.tokenizer.encode("nodule?", add_special_tokens=False)[-1]
    assert [row.index(image) < row.index(word) for row in ids] == [True, False]
    assert sorted(ids[0]) == sorted(ids[1]) or len(ids[0]) != len(ids[1])


@pytest.mark.parametrize("shape", [(2, 111, 111), (2, 112, 100), (1, 112, 112, 3)])
def test_an_image_of_another_shape_is_refused_not_resized(loaded, shape):
    with pytest.raises(MismatchError, match=r"wanted \(112, 112\).*data.normalize.side_px"):
        gemma3.encode(loaded, np.zeros(shape, np.uint8), "nodule?", image_first=True)


def test_pan_and_scan_is_refused(loaded):
    loaded.processor.image_processor.do_pan_and_scan = True
    try:
        with pytest.raises(ModelError, match="pan_and_scan"):
            gemma3.ready(loaded.model, loaded.processor)
    finally:
        loaded.processor.image_processor.do_pan_and_scan = False


def test_a_chat_template_that_loses_the_image_is_found(loaded):
    blind = replace(
        loaded, processor=type(loaded.processor).from_pretrained(loaded.model.name_or_path), tokens={}, masks={}
    )
    blind.processor.chat_template = "{{ bos_token }}{{ bos_token }}<start_of_image>nodule?"
    with pytest.raises(ModelError, match="2 beginnings, wanted 1"):
        gemma3.encode(blind, IMAGES, "nodule?", image_first=True)


def test_each_answer_has_to_be_one_token(loaded):
    assert gemma3.answer_ids(loaded, PROMPT) == tuple(loaded.tokenizer.convert_tokens_to_ids(["No", "Yes"]))
    for odd in ("Nodule present", "Ж"):
        with pytest.raises(ModelError, match="wanted one token each"):
            gemma3.answer_ids(loaded, replace(PROMPT, answers=f"{odd}/No"))


def test_answers_are_the_logits_after_the_last_token_and_their_fraction_of_the_probability(loaded):
    import torch

    batch = gemma3.encode(loaded, IMAGES, PROMPT.question, image_first=True)
    with torch.no_grad():
        logits = loaded.model(**batch).logits[:, -1].double()
    no, yes = gemma3.answer_ids(loaded, PROMPT)
    wanted = torch.stack([logits[:, no], logits[:, yes], logits.softmax(1)[:, [no, yes]].sum(1)], dim=1)
    np.testing.assert_allclose(gemma3.answer_logits(loaded, IMAGES, PROMPT), wanted, atol=1e-6)


def test_one_pass_of_tower_and_text_answers_for_a_batch_with_logits_for_one_position_each(loaded):
    seen = {"tower": [], "text": [], "head": []}
    inner = loaded.model.model
    watched = {"tower": inner.vision_tower, "text": inner.language_model, "head": loaded.model.lm_head}
    hooks = [
        module.register_forward_hook(lambda _, given, made, name=name: seen[name].append(made))
        for name, module in watched.items()
    ]
    gemma3.answer_logits(loaded, IMAGES, PROMPT)
    for hook in hooks:
        hook.remove()
    assert {name: len(made) for name, made in seen.items()} == {"tower": 1, "text": 1, "head": 1}
    assert seen["head"][0].shape == (5, 1, loaded.model.config.text_config.vocab_size)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_masks_made_once_give_the_bits_of_masks_made_by_the_model(tiny_base, attention):
    import torch

    model = gemma3.load(tiny_base.folder, replace(EXACT, attention=attention))
    batch = gemma3.encode(model, IMAGES, PROMPT.question, image_first=True)
    with torch.no_grad():
        theirs = model.model(**batch, logits_to_keep=1).logits[:, -1]
        assert (gemma3.ask(model, IMAGES, PROMPT, (0, 1)).all == theirs).all()


def test_an_images_answer_does_not_depend_on_the_others_in_its_batch_beyond_rounding(loaded):
    together = gemma3.answer_logits(loaded, IMAGES, PROMPT)
    alone = np.concatenate([gemma3.answer_logits(loaded, image[None], PROMPT) for image in IMAGES])
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_the_image_reaches_the_answer(loaded):
    assert np.ptp(gemma3.answer_logits(loaded, IMAGES, PROMPT)[:, :2], axis=0).min() > 1e-3


def test_without_token_types_the_tokens_of_an_image_would_not_attend_both_ways(loaded):
    import torch

    batch = gemma3.encode(loaded, IMAGES, PROMPT.question, image_first=True)
    kept = {name: value for name, value in batch.items() if name != "token_type_ids"}
    with torch.no_grad():
        both, one = (loaded.model(**given, logits_to_keep=1).logits for given in (batch, kept))
    assert (both - one).abs().max() > 1e-4


def test_sdpa_equals_eager_with_the_image_attending_both_ways(loaded, tiny_base):
    eager = gemma3.load(tiny_base.folder, replace(EXACT, attention="eager"))
    assert eager.model.config._attn_implementation == "eager"
    assert loaded.model.config._attn_implementation == "sdpa"
    found = [gemma3.answer_logits(each, IMAGES, PROMPT) for each in (loaded, eager)]
    np.testing.assert_allclose(*found, atol=2e-6)


def test_greedy_words_begin_with_the_likeliest_token_and_hold_no_special_ones(loaded):
    import torch

    said = gemma3.generate(loaded, IMAGES, PROMPT.question, 3)
    with torch.no_grad():
        first = gemma3.ask(loaded, IMAGES, PROMPT, (0, 1)).all.argmax(dim=1)
    tokens = loaded.tokenizer.batch_decode(first[:, None], skip_special_tokens=True)
    whole = [token.rstrip("�") for token in tokens]
    assert all(one.text.startswith(token) for one, token in zip(said, whole, strict=True))
    assert not any("<" in one.text for one in said if "_" in one.text)


def test_generated_text_says_whether_it_was_cut_or_ended_by_itself(loaded, monkeypatch):
    import torch

    assert [one.cut for one in gemma3.generate(loaded, IMAGES, PROMPT.question, 3)] == [True] * 5
    with torch.no_grad():
        first = gemma3.ask(loaded, IMAGES, PROMPT, (0, 1)).all.argmax(dim=1).tolist()
    assert len(set(first)) > 1
    for ends in ([first[0]], [1, first[0]]):  # one image's first word ends its response; the others go on
        monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", ends)
        made = gemma3.generate(loaded, IMAGES, PROMPT.question, 3)
        assert made[0].cut is False
        assert all(one.cut for one, token in zip(made, first, strict=True) if token != first[0])


def test_weights_are_really_nf4_with_double_quantization_and_only_in_the_language_model(quantized):
    found = gemma3.quantized(quantized.model)
    assert len(found) == quantized.model.config.text_config.num_hidden_layers * 7
    assert all(name.startswith("model.language_model.layers.") for name in found)
    for layer in found.values():
        state = layer.weight.quant_state
        assert (state.quant_type, state.nested, state.blocksize) == ("nf4", True, 64)
    assert str(quantized.model.lm_head.weight.dtype) == "torch.float32"


def test_a_skip_list_that_matches_nothing_is_found(tiny_base, monkeypatch):
    config = gemma3.quantization_config

    def careless(params):
        found = config(params)
        found.llm_int8_skip_modules = ["lm_head", "vision_tower"]  # matches nothing, silently
        return found

    monkeypatch.setattr(gemma3, "quantization_config", careless)
    with pytest.raises(ModelError, match="that were to stay as they are"):
        gemma3.load(tiny_base.folder, NF4)


def test_quantization_moves_the_answers_a_little_and_not_beyond(loaded, quantized):
    off = gemma3.answer_logits(loaded, IMAGES, PROMPT) - gemma3.answer_logits(quantized, IMAGES, PROMPT)
    assert 1e-4 < np.abs(off[:, :2]).max() < 1.0


def test_an_evaluation_does_not_change_the_gradients_of_nf4_training(tiny_base):
    base = gemma3.load(tiny_base.folder, NF4)
    assert all(layer.support_avx512bf16_for_cpu is False for layer in gemma3.quantized(base.model).values())
    model = lora.add(base.model, train_params(lora_dropout=0.0, lora_target_modules="language"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.01)
    asked = gemma3.ready(model, base.processor)

    def gradients():
        model.train()
        model.zero_grad()
        gemma3.ask(asked, IMAGES, PROMPT, (0, 1)).all.square().sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}

    before = gradients()
    model.eval()
    asked.masks.clear()
    gemma3.answer_logits(asked, IMAGES, PROMPT)
    after = gradients()
    assert all((after[name] == grad).all() for name, grad in before.items())
    assert all(grad.abs().sum() > 0 for grad in before.values())


@pytest.mark.parametrize(
    ("targets", "millions"), [("all-linear", 38.50), ("language", 29.80), ("vision", 8.70), ("attention", 12.89)]
)
def test_rank_16_trains_this_many_parameters_of_the_real_4b(targets, millions):
    model = lora.add(real_4b(), train_params(lora_r=16, lora_target_modules=targets))
    trainable, total = model.get_nb_trainable_parameters()
    assert trainable / 1e6 == pytest.approx(millions, abs=0.01)
    assert (total - trainable) / 1e9 == pytest.approx(4.300, abs=0.001)


def test_the_language_target_leaves_the_tower_and_the_head_alone(loaded, tiny_base):
    model = lora.add(gemma3.load(tiny_base.folder, EXACT).model, train_params(lora_target_modules="language"))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert len(trained) == loaded.model.config.text_config.num_hidden_layers * 7 * 2
    assert all("language_model.layers" in name and ".lora_" in name for name in trained)


def test_a_fresh_adapter_changes_nothing_and_depends_on_the_seed_alone(loaded, tiny_base):
    made = []
    for seed in (1, 1, 2):
        model = lora.add(gemma3.load(tiny_base.folder, EXACT).model, train_params(seed=seed))
        made.append(next(p.detach().numpy().copy() for n, p in model.named_parameters() if "lora_A" in n))
        answers = gemma3.answer_logits(gemma3.ready(model.eval(), loaded.processor), IMAGES, PROMPT)
        np.testing.assert_allclose(answers, gemma3.answer_logits(loaded, IMAGES, PROMPT), atol=1e-6)
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()


def test_lora_targets_that_match_no_layer_are_an_error(monkeypatch, tiny_base):
    monkeypatch.setitem(lora.TARGETS, "vision", ".*no_such_layer")
    with pytest.raises(TrainingError, match="lora_target_modules 'vision'"):
        lora.add(gemma3.load(tiny_base.folder, EXACT).model, train_params(lora_target_modules="vision"))


def test_bfloat16_gives_the_same_answers_to_its_precision(loaded, tiny_base):
    half = gemma3.load(tiny_base.folder, replace(EXACT, dtype="bfloat16"))
    assert str(half.model.dtype) == "torch.bfloat16"
    found = [gemma3.answer_logits(each, IMAGES, PROMPT)[:, :2] for each in (loaded, half)]
    np.testing.assert_allclose(*found, atol=0.05)
    assert all(math.isfinite(value) for value in found[1].ravel())


def test_in_bfloat16_as_many_margins_differ_as_images_and_float32_keeps_the_model_s_own_bits(loaded, tiny_base):
    import torch

    many = noise_images(96)
    half = gemma3.load(tiny_base.folder, replace(EXACT, dtype="bfloat16"))
    found = gemma3.answer_logits(half, many, PROMPT)
    margins = found[:, 1] - found[:, 0]
    with torch.inference_mode():
        last = gemma3.ask(half, many, PROMPT, gemma3.answer_ids(half, PROMPT))
    rounded = last.all[:, list(gemma3.answer_ids(half, PROMPT))].double()
    assert len(np.unique(margins)) == len(many) > len((rounded[:, 1] - rounded[:, 0]).unique())
    np.testing.assert_allclose(found[:, :2], rounded.numpy(), rtol=2**-7, atol=1e-3)
    with torch.inference_mode():
        exact = gemma3.ask(loaded, many[:4], PROMPT, gemma3.answer_ids(loaded, PROMPT))
    assert (exact.pair == exact.all[:, list(gemma3.answer_ids(loaded, PROMPT))]).all()


def test_a_folder_that_is_not_a_model_is_refused_with_its_name(tmp_path):
    with pytest.raises(ModelError, match=r"found no config\.json"):
        gemma3.load(tmp_path, EXACT)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be loaded"):
        gemma3.load(tmp_path, EXACT)


def test_a_kernel_that_is_not_installed_frightens_nobody_and_other_warnings_are_shown(tiny_base):
    """In a process of its own, since the message comes when bitsandbytes is imported."""
    program = (
        "import logging; logging.basicConfig()\n"
        "from pathlib import Path\n"
        "from stages.lib.models import gemma3\n"
        f"gemma3.load(Path({str(tiny_base.folder)!r}), gemma3.{NF4!r})\n"
        "logging.getLogger('bitsandbytes.backends.cpu.ops').warning('another one')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
    )
    assert "gemm_4bit_forward" not in done.stdout + done.stderr
    assert "another one" in done.stderr
