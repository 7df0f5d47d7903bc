"""The tiny base: it loads as MedGemma does, its image matters, its tokenizer keeps every text."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.lib.demo import tiny
from stages.lib.models import first_use, gemma3, prompts

ASK = prompts.PromptParams(question="Is there a nodule?", answers="Yes/No", image_first=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder, seed=5)
    return folder


@pytest.fixture(scope="module")
def loaded(folder) -> gemma3.Loaded:
    return gemma3.load(
        folder, gemma3.ModelParams(dtype="float32", attention="sdpa", quantization="none", cache_features=False)
    )


def test_it_has_the_classes_of_medgemma(loaded):
    assert type(loaded.model).__name__ == "Gemma3ForConditionalGeneration"
    assert type(loaded.processor).__name__ == "Gemma3Processor"
    assert type(loaded.processor.image_processor).__name__ == "Gemma3ImageProcessorPil"


def test_it_has_fewer_parameters_than_the_repository_can_carry(folder):
    assert tiny.parameters([folder / "model.safetensors"]) < tiny.PARAMETERS_MOST
    assert sum(file.stat().st_size for file in folder.iterdir()) < 3.5e6


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_weights(folder, tmp_path):
    tiny.build(tmp_path / "same", seed=5)
    tiny.build(tmp_path / "other", seed=6)
    for file in folder.iterdir():
        assert (tmp_path / "same" / file.name).read_bytes() == file.read_bytes(), file.name
    weights = "model.safetensors"
    assert (tmp_path / "other" / weights).read_bytes() != (folder / weights).read_bytes()


def test_building_leaves_the_random_state_of_torch_alone(tmp_path):
    import torch

    before = torch.random.get_rng_state()
    tiny.build(tmp_path, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_image_changes_the_answer(loaded):
    images = np.random.default_rng(0).integers(0, 256, (2, tiny.SIDE_PX, tiny.SIDE_PX), dtype=np.uint8)
    logits = gemma3.answer_logits(loaded, images, ASK)
    assert abs(logits[0, 1] - logits[1, 1]) > 1e-3


@pytest.mark.parametrize("word", ["A", "B", "0", "9", *(word for word in tiny.WORDS if word[0] != "▁")])
def test_a_word_that_stands_alone_is_one_token(loaded, word):
    assert len(loaded.tokenizer.encode(word, add_special_tokens=False)) == 1


@pytest.mark.parametrize("word", [word for word in tiny.WORDS if word.startswith("▁")])
def test_a_listed_word_within_a_sentence_is_one_token(loaded, word):
    ids = loaded.tokenizer.encode(f"x{word.replace('▁', ' ')}", add_special_tokens=False)
    assert loaded.tokenizer.convert_ids_to_tokens(ids) == ["x", word]


def test_digits_are_never_merged(loaded):
    assert len(loaded.tokenizer.encode("1000", add_special_tokens=False)) == 4


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁<"), max_size=30))
def test_every_text_comes_back_from_its_tokens(loaded, text):
    tokenizer = loaded.tokenizer
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_conversation_has_gemmas_turns_and_one_beginning(loaded):
    talk = loaded.processor.apply_chat_template(
        prompts.messages("Is there a nodule?", image_first=True), tokenize=False, add_generation_prompt=True
    )
    assert talk == ("<bos><start_of_turn>user\n<start_of_image>Is there a nodule?<end_of_turn>\n<start_of_turn>model\n")


def test_an_answered_conversation_names_the_answering_side_model(loaded):
    talk = loaded.processor.apply_chat_template(
        [{"role": "user", "content": "Yes or no?"}, {"role": "assistant", "content": "No"}], tokenize=False
    )
    assert talk == "<bos><start_of_turn>user\nYes or no?<end_of_turn>\n<start_of_turn>model\nNo<end_of_turn>\n"


def test_a_base_that_is_made_anew_has_all_that_its_first_use_wants(folder):
    assert first_use.problems(folder) == []
