"""Texts of the tower and of the decoder, and which sentences are taken."""

import lofi_models
import numpy as np
import pytest
import torch

from stages.lib.core.errors import ModelError
from stages.lib.models.lofi import weights, wording, words


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return weights.load(*lofi_models.both(tmp_path_factory.mktemp("lofi")), lofi_models.params())


def saved(folder, **changes):
    lofi_models.tokenizer(add_bos_token=False, **changes).save_pretrained(folder)
    return words.tower_words(folder, 16)


@pytest.mark.parametrize("side", ["left", "right"])
def test_whatever_side_a_tokenizer_pads_and_whatever_case_it_keeps_texts_end_lower_case_and_padded_right(
    tmp_path, side
):
    found = saved(tmp_path, padding_side=side).encode(["No Nodule", "no nodule"])
    assert found.shape == (2, 16)
    assert (found[0] == found[1]).all()
    assert found[0, -1] == 0
    assert found[0, 0] != 0


def test_a_tokenizer_that_keeps_case_or_pads_left_is_told_of(tmp_path, caplog):
    caplog.set_level("INFO")
    saved(tmp_path, padding_side="left")
    assert "keeps case and pads on the left; its texts are lower-cased and padded on the right" in caplog.text


def test_a_tokenizer_that_cannot_pad_is_refused(tmp_path):
    tokenizer = lofi_models.tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no token to pad with"):
        words.tower_words(tmp_path, 16)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ModelError, match="found no tokenizer"):
        words.tower_words(tmp_path, 16)


def test_65_tokens_are_refused_and_64_are_not(loaded):
    assert loaded.tower.encode(["!" * 64]).shape == (1, 64)
    with pytest.raises(ModelError, match=r"reads 64 tokens, and '!+' has 65 tokens"):
        loaded.tower.encode(["fine", "!" * 65])


def test_another_padding_or_a_mask_is_another_embedding(loaded):
    """So both are fixed: to the full length, without a mask."""
    text = loaded.network.encoder.text_model
    ids = torch.from_numpy(loaded.tower.encode(["no nodule"]))
    length = len(loaded.tower.ids("no nodule"))
    with torch.no_grad():
        wanted = text(input_ids=ids).pooler_output
        for other in (
            text(input_ids=ids[:, :length]),
            text(input_ids=ids[:, :32]),
            text(input_ids=ids, attention_mask=(ids != 0).long()),
        ):
            assert float(torch.nn.functional.cosine_similarity(wanted, other.pooler_output)) < 0.999
        np.testing.assert_allclose(
            loaded.embed_texts(["No nodule"])[0], torch.nn.functional.normalize(wanted)[0].numpy(), atol=1e-6
        )


def test_sentences_are_taken_in_the_order_of_the_report_and_none_twice():
    sentences = [f"Sentence {number}." for number in range(12)]
    rng = np.random.default_rng(1)
    found = [wording.sampled(sentences, 4, 8, rng) for _ in range(200)]
    assert {len(one) for one in found} == {4, 5, 6, 7, 8}
    assert all(one == sorted(set(one), key=sentences.index) for one in found)
    assert {sentence for one in found for sentence in one} == {*sentences}


def test_a_sentence_that_does_not_fit_is_left_out_whole_and_counted(loaded):
    long = "!" * 60
    found = loaded.tower.fit(["Small nodule.", long, "No mass."])
    assert found == wording.Fitted("Small nodule. No mass.", 1)


def test_the_decoder_is_asked_in_gemmas_turns_with_the_image_before_the_prompt(loaded):
    decoder = loaded.decoder
    tokenizer = decoder.tokenizer
    asked = [*decoder.begin, *tokenizer.encode("IMAGE", add_special_tokens=False), *decoder.asked("Say it.")]
    whole = [*asked, *decoder.answer("Yes.")]
    assert tokenizer.decode(whole) == (
        "<bos><start_of_turn>user\nIMAGE\nSay it.<end_of_turn>\n<start_of_turn>model\nYes.<end_of_turn>"
    )


def test_a_decoder_without_gemmas_turns_is_refused(tmp_path):
    from transformers import GemmaTokenizer

    tokens = {token: number for number, token in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", "<", "s", ">"])}
    GemmaTokenizer(vocab=tokens, merges=[]).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"no token <start_of_turn>, <end_of_turn>"):
        words.decoder_words(tmp_path, 64)


def test_prompts_are_those_of_the_successor():
    assert wording.ground_prompt("Left effusion.") == 'Detect all instances of "Left effusion".'
    assert wording.describe_prompt("[[1,2,3,4]]") == "Describe the regions: [[1,2,3,4]]"
