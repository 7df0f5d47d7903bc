"""The sigmoid loss: golden values, three readings of equal texts, and the library's own loss."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.learn.sigmoid import labels, sigmoid_loss, word_losses

LOGITS = torch.tensor([[2.0, 2.0, -3.0], [2.0, 2.0, -3.0], [-3.0, -3.0, 2.0]], dtype=torch.float64)
EQUAL = torch.tensor([[5, 1], [5, 1], [7, 1]])


def unit(rows):
    return torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def test_identity_embeddings_and_random_ones_have_their_golden_losses():
    logits = 10 * torch.eye(4, dtype=torch.float64) - 10
    assert float(sigmoid_loss(logits, 2 * torch.eye(4) - 1, 4)) == pytest.approx(0.6932834, abs=1e-7)
    rng = np.random.default_rng(0)
    images, texts = unit(rng.normal(size=(8, 16))), unit(rng.normal(size=(8, 16)))
    loss = sigmoid_loss(10 * images @ texts.T - 10, 2 * torch.eye(8) - 1, 8)
    assert float(loss) == pytest.approx(9.932704082, abs=1e-8)


@pytest.mark.parametrize(
    ("positives", "golden"), [("one_positive", 1.6096631), ("multi_positive", 0.2763298), ("masked", 0.1917111)]
)
def test_equal_texts_have_the_golden_loss_of_each_reading(positives, golden):
    loss = sigmoid_loss(LOGITS, labels(EQUAL, 0, 3, positives), 3)
    assert float(loss) == pytest.approx(golden, abs=1e-7)


@given(st.permutations(range(3)), st.sampled_from(["one_positive", "masked", "multi_positive"]))
def test_the_order_of_the_pairs_changes_nothing(order, positives):
    moved = sigmoid_loss(LOGITS[order][:, order], labels(EQUAL[list(order)], 0, 3, positives), 3)
    assert float(moved) == pytest.approx(float(sigmoid_loss(LOGITS, labels(EQUAL, 0, 3, positives), 3)))


@pytest.mark.parametrize("positives", ["one_positive", "masked", "multi_positive"])
def test_the_images_of_two_processes_add_up_to_the_loss_of_all(positives):
    whole = sigmoid_loss(LOGITS, labels(EQUAL, 0, 3, positives), 3)
    parts = [
        sigmoid_loss(LOGITS[first : first + n], labels(EQUAL, first, n, positives), 3) for first, n in ((0, 2), (2, 1))
    ]
    assert float(sum(parts)) == pytest.approx(float(whole))


def test_it_is_the_loss_of_the_librarys_siglip():
    from transformers import SiglipConfig, SiglipModel

    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": 9, "max_position_embeddings": 4, "projection_size": 8}
    config = SiglipConfig(text_config=text, vision_config={**small, "image_size": 8, "patch_size": 4})
    torch.manual_seed(0)
    model = SiglipModel(config).eval()
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8], [1, 1, 1, 1]])
    with torch.no_grad():
        told = model(input_ids=ids, pixel_values=torch.randn(3, 3, 8, 8), return_loss=True)
    found = sigmoid_loss(told.logits_per_image, labels(ids, 0, 3, "one_positive"), 3)
    assert float(found) == pytest.approx(float(told.loss), rel=1e-6)


def test_the_loss_of_words_is_the_mean_of_each_text_and_not_of_the_batch():
    rng = torch.Generator().manual_seed(0)
    targets = torch.tensor([[3, -100, 1, 2], [-100, 4, -100, -100]])
    logits = torch.randn(4, 6, generator=rng)
    each = -logits.log_softmax(dim=1)
    by_hand = [(each[0, 3] + each[1, 1] + each[2, 2]) / 3, each[3, 4]]
    found = word_losses(logits, targets)
    torch.testing.assert_close(found, torch.stack(by_hand))
    assert float(found.mean()) != pytest.approx(float(each[range(4), [3, 1, 2, 4]].mean()), rel=1e-3)
