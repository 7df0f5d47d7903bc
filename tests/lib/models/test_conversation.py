"""Conversations with several images: what is kept and reused gives the bits that one pass over all gives."""

import numpy as np
import pytest
from tiny_base import EXACT, noise_images

from stages.lib.core.errors import ModelError
from stages.lib.models import conversation, gemma3
from stages.lib.models.conversation import Turn

TURNS = [
    Turn("user", "Where is the first finding?", "a"),
    Turn("model", '[{"box_2d": [100, 200, 300, 400], "label": "nodule"}]'),
    Turn("user", "Where is the second finding?", "b"),
    Turn("model", "[]"),
    Turn("user", "Where is the nodule?", "question"),
]


@pytest.fixture(scope="module")
def loaded(tiny_base):
    return gemma3.load(tiny_base.folder, EXACT)


@pytest.fixture(scope="module")
def features(loaded):
    return gemma3.features(loaded, list(noise_images(3)))


def whole(loaded, turns, **images):
    """What the library makes of the turns with its own processor, and the model's logits after the last token."""
    import torch

    messages = [
        {
            "role": "assistant" if turn.role == "model" else "user",
            "content": [*([{"type": "image"}] if turn.image else []), {"type": "text", "text": turn.text}],
        }
        for turn in turns
    ]
    talk = loaded.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    shown = [[np.dstack([image] * 3)] for image in noise_images(3)]
    flat = [image for one in shown for image in one]
    batch = loaded.processor(text=[talk], images=[flat], add_special_tokens=False, return_tensors="pt")
    with torch.inference_mode():
        said = loaded.model.generate(**batch, max_new_tokens=8, do_sample=False, top_k=None, top_p=None)
    return batch, said[0, batch["input_ids"].shape[1] :].tolist()


def test_tokens_are_those_of_the_library_and_the_question_stands_behind_what_is_shared(loaded):
    prompt = conversation.encode(loaded, TURNS)
    batch, _ = whole(loaded, TURNS)
    assert prompt.ids.tolist() == batch["input_ids"][0].tolist()
    assert prompt.images == ("a", "b", "question")
    other = conversation.encode(loaded, [*TURNS[:-1], Turn("user", "And the heart?", "question")])
    assert prompt.shared == other.shared
    assert prompt.ids[: prompt.shared].tolist() == other.ids[: prompt.shared].tolist()
    image = loaded.model.config.image_token_id
    assert prompt.ids[prompt.shared - 1] == image
    assert image not in prompt.ids[prompt.shared :]


def test_an_answer_from_kept_features_keys_and_values_is_that_of_the_whole_conversation(loaded, features):
    _, expected = whole(loaded, TURNS)
    prompt = conversation.encode(loaded, TURNS)
    kept = conversation.prefill(loaded, prompt, features)
    made = [conversation.answer(loaded, prompt, kept, 8) for _ in range(2)]  # the second finds them as they were
    assert made[0] == made[1]
    assert made[0].text == loaded.tokenizer.decode(expected, skip_special_tokens=True)


@pytest.mark.parametrize("examples", [0, 2, 7])
def test_logits_after_the_kept_beginning_are_those_of_one_pass_but_for_rounding(loaded, examples):
    """Seven examples are more tokens than the window that most layers see."""
    import copy

    import torch
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    shown = [turn for k in range(examples) for turn in (Turn("user", f"Where is finding {k}?", f"image{k}"), TURNS[1])]
    prompt = conversation.encode(loaded, [*shown, TURNS[-1]])
    window = loaded.model.config.get_text_config().sliding_window
    assert (len(prompt.ids) > window + 100) == (examples == 7)
    features = gemma3.features(loaded, list(noise_images(examples + 1)))
    kept = conversation.prefill(loaded, prompt, features)
    ids = prompt.ids[None]
    with torch.inference_mode():
        once = loaded.model(
            input_ids=ids,
            token_type_ids=(ids == loaded.model.config.image_token_id).long(),
            mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=features)},
            logits_to_keep=1,
        ).logits
        twice = loaded.model(
            input_ids=ids[:, prompt.shared :], past_key_values=copy.deepcopy(kept), logits_to_keep=1
        ).logits
    assert torch.allclose(once, twice, atol=1e-5, rtol=0)
    assert torch.equal(once.argmax(-1), twice.argmax(-1))


def test_another_image_makes_another_answer_possible(loaded, features):
    prompt = conversation.encode(loaded, TURNS)
    first = conversation.prefill(loaded, prompt, features)
    second = conversation.prefill(loaded, prompt, features.flip(0))
    assert any(not (a.keys == b.keys).all() for a, b in zip(first.layers, second.layers, strict=True))


def test_a_text_with_a_mark_of_an_image_is_refused(loaded):
    with pytest.raises(ModelError, match="found 2 marks of an image, wanted 1"):
        conversation.encode(loaded, [Turn("user", "Look: <start_of_image>", "a")])
    with pytest.raises(ModelError, match="found 65 image tokens, wanted 64"):
        conversation.encode(loaded, [Turn("user", "Look: <image_soft_token>", "a")])
