"""What the base of the findings demo is taught: facts of patches, and conversations as they are in inference."""

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from stages.lib.core import kinds
from stages.lib.core.errors import ParamsError
from stages.lib.core.params import parse
from stages.lib.demo import slice_teaching, tiny
from stages.lib.demo.bases import slices as base
from stages.lib.demo.slice_teaching import FACTS, OF_A_FINDING
from stages.lib.demo.synthetic import slice_texts
from stages.lib.demo.synthetic.slice_anatomy import MODALITIES, REGIONS
from stages.lib.demo.synthetic.slice_findings import KINDS, Finding
from stages.lib.demo.synthetic.slices import Place, Slice
from stages.lib.models import first_use, gemma3
from workflow import base_record

ROOT = Path(__file__).parents[3]
PARAMS = base_record.bases(ROOT)["slices"].params
BLACK = np.zeros((112, 112), np.uint8)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> gemma3.Loaded:
    folder = tmp_path_factory.mktemp("slices") / "base"
    tiny.build(folder, 3, tiny.SLICES)
    assert first_use.problems(folder) == []
    assert tiny.parameters([folder / "model.safetensors"]) < tiny.PARAMETERS_MOST
    return gemma3.load(folder, base.MODEL)


def conversations(number: int, **changes) -> list[slice_teaching.Example]:
    draw = base.conversations(np.random.default_rng(7), replace(PARAMS, **changes))
    return [example for _ in range(number // 4) for example in draw(4)]


def test_the_facts_of_a_patch_by_hand() -> None:
    finding = Finding("cyst", "left", "large", 0.5, 0.0, 12.0)
    one = Slice(BLACK, "MR", "abdomen", (Place(finding, x=76.5, y=48.5, radius_px=12.0),))
    facts = slice_teaching.dense_facts([one, replace(one, modality="CT", places=())], 8, 14)
    assert facts.shape == (2, 64, FACTS)
    covered = np.flatnonzero(facts[0, :, 0])
    assert covered.tolist() == [3 * 8 + 5]  # the patch of rows 42 to 55 and columns 70 to 83
    assert facts[0, covered[0], :OF_A_FINDING].tolist() == [1, 0, 1, 0, 0, 1, 1]  # cyst, large, left
    assert not facts[1, :, :OF_A_FINDING].any()
    assert facts[:, 0, OF_A_FINDING : OF_A_FINDING + 2].tolist() == [[-0.875, -0.875]] * 2
    region = np.eye(5)[REGIONS.index("abdomen")].tolist()
    assert facts[0, 9, -6:].tolist() == [*region, 1] and facts[1, 9, -6:].tolist() == [*region, -1]


def test_every_finding_covers_a_patch_wherever_it_lies() -> None:
    finding = Finding("mass", "right", "small", -0.5, 0.0, 5.5)
    rng = np.random.default_rng(0)
    for x, y in rng.uniform(7, 104, (200, 2)):
        facts = slice_teaching.dense_facts([Slice(BLACK, "CT", "head", (Place(finding, x, y, 5.5),))], 8, 14)
        assert facts[0, :, 0].any(), (x, y)


@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("image_first", [True, False])
def test_a_prompt_has_its_images_before_or_after_its_text(loaded, images, image_first) -> None:
    ids = slice_teaching.prompt_ids(loaded, "Describe the findings.", "", image_first, images)
    assert ids.count(loaded.model.config.image_token_id) == images * tiny.IMAGE_TOKENS
    text = loaded.tokenizer.decode([i for i in ids if i != loaded.model.config.image_token_id])
    first = text.index("<start_of_image>") < text.index("Describe the findings.")
    assert first == image_first
    assert text.startswith("<bos><start_of_turn>user\n") and text.endswith("<end_of_turn>\n<start_of_turn>model\n")


def test_the_system_message_stands_at_the_head_of_the_users_turn(loaded) -> None:
    turns = [
        {"role": "system", "content": [{"type": "text", "text": "You are a radiologist. "}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is there a mass?"}]},
    ]
    wanted = "<bos><start_of_turn>user\nYou are a radiologist.\n\n<start_of_image>Is there a mass?<end_of_turn>\n"
    assert loaded.processor.apply_chat_template(turns, tokenize=False) == wanted
    plain = [{"role": "system", "content": "You are a radiologist."}, {"role": "user", "content": "Is it?"}]
    told = loaded.processor.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
    assert told == ("<bos><start_of_turn>user\nYou are a radiologist.\n\nIs it?<end_of_turn>\n<start_of_turn>model\n")


def test_without_a_system_message_the_template_is_the_chest_bases(loaded) -> None:
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "image"}]},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Three."},
    ]
    told = [
        processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        for processor in (loaded.processor, tiny.processor())
    ]
    assert told[0] == told[1]


def test_every_taught_text_is_made_of_whole_words(loaded) -> None:
    letters = Counter()
    for example in conversations(200):
        for text in (example.prompt, example.answer, *([example.system] if example.system else [])):
            tokens = loaded.tokenizer.convert_ids_to_tokens(loaded.tokenizer.encode(text, add_special_tokens=False))
            letters.update(token for token in tokens if token.strip("▁").isalpha() and len(token.strip("▁")) == 1)
    assert set(letters) <= {"▁a", "A", "▁A"}


def test_what_is_taught_and_what_is_left_out() -> None:
    seen = Counter((one.prompt, one.image_first, bool(one.system), len(one.slices)) for one in conversations(1500))
    prompts = {prompt for prompt, *_ in seen}
    specific = {
        PARAMS.specific_prompt.format(modality=modality, region=word)
        for modality in MODALITIES
        for word in slice_texts.REGION_WORDS.values()
    }
    focused = {PARAMS.focused_prompt.format(kind=kind) for kind in KINDS}
    assert prompts == {PARAMS.general_prompt, PARAMS.reworded_prompt, *specific, *focused}
    for images in (1, 2):
        assert seen[PARAMS.general_prompt, True, False, images] and seen[PARAMS.general_prompt, True, True, images]
        assert seen[PARAMS.reworded_prompt, True, False, images]
    text_first = {(prompt, images) for prompt, image_first, _, images in seen if not image_first}
    assert text_first == {(PARAMS.general_prompt, 1)}
    assert {prompt for prompt, _, system, _ in seen if system} == {PARAMS.general_prompt}


def test_an_answer_is_about_the_findings_on_either_image_and_leaves_small_ones_out_where_it_is_taught_to() -> None:
    where, left_out = Counter(), 0
    for example in conversations(600, two_images_fraction=1.0):
        where[tuple(bool(one.findings) for one in example.slices)] += 1
        found = {finding.kind: finding.size for one in example.slices for finding in one.findings}
        asked = example.prompt.split()[-1].strip("?")
        if asked in KINDS:
            assert example.answer.startswith(f"Yes, there is a {found[asked]} {asked}" if asked in found else "No.")
            continue
        in_general = example.prompt in (PARAMS.general_prompt, PARAMS.reworded_prompt)
        wanted = {kind for kind, size in found.items() if size == "large" or not in_general}
        assert {kind for kind in KINDS if f"{kind} in" in example.answer} == wanted
        assert (example.answer == slice_texts.NORMAL) == (not wanted)
        left_out += len(found) - len(wanted)
    assert left_out > 50
    assert set(where) == {(True, True), (True, False), (False, True), (False, False)}


def test_small_findings_are_told_where_a_parameter_says_so() -> None:
    told = [example.answer for example in conversations(300, small_told_fraction=1.0, general_fraction=1.0 - 0.4)]
    assert sum("small" in answer for answer in told) > 60
    assert not any(
        "small" in one.answer
        for one in conversations(300, general_fraction=0.85, specific_fraction=0.0)
        if one.prompt == PARAMS.general_prompt
    )


def test_impossible_parameters_are_refused_all_at_once() -> None:
    row = {"kind": "slices", **base.recorded(PARAMS, None)["pretrain"]}
    assert set(row) == {"kind", *asdict(PARAMS)}
    row |= {"contrast": [1.0, 0.5], "focused_prompt": "Is it?", "general_fraction": 0.9}
    with pytest.raises(ParamsError) as refused:
        parse({"weights": {"pretrain": {"slices": row}}}, {"weights.pretrain": kinds.rows(kinds.BASES)})
    for told in (
        "contrast from small to large",
        "focused_prompt with {kind}",
        "at most 1 together",
    ):
        assert told in str(refused.value)
