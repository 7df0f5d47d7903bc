import math

import numpy as np
import pytest

from stages.lib.learn import losses


def test_the_weight_of_the_loss_acts_in_a_batch_of_one():
    import torch

    pair = torch.tensor([[0.0, 0.0]])
    one = losses.answer_loss(pair, torch.tensor([1]), 20.0, 1)
    assert float(one) == pytest.approx(20 * math.log(2))
    assert float(losses.answer_loss(pair, torch.tensor([0]), 20.0, 1)) == pytest.approx(math.log(2))


def test_fractions_of_micro_batches_add_up_to_the_loss_of_the_step():
    import torch

    rng = torch.Generator().manual_seed(0)
    pair, labels = torch.randn(16, 2, generator=rng), torch.randint(0, 2, (16,), generator=rng)
    whole = losses.answer_loss(pair, labels, 20.0, 16)
    for size in (1, 4, 8):
        cut = [losses.answer_loss(pair[i : i + size], labels[i : i + size], 20.0, 16) for i in range(0, 16, size)]
        assert float(sum(cut)) == pytest.approx(float(whole), rel=1e-6)
    margin = (pair[:, 1] - pair[:, 0]).numpy()
    sign = np.where(labels.numpy() == 1, 1, -1)
    by_hand = np.where(sign == 1, 20, 1) * np.log1p(np.exp(-sign * margin))
    assert float(whole) == pytest.approx(by_hand.mean(), rel=1e-6)
