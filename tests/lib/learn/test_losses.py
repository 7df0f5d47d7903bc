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


def by_the_paper(p, label, gamma_negative, gamma_positive, clip):
    """Loss of one image by equations 4 to 7 of arXiv 2009.14119, in plain numbers."""
    if label:
        return -((1 - p) ** gamma_positive) * math.log(p)
    shifted = max(p - clip, 0.0)
    return -(shifted**gamma_negative) * math.log(1 - shifted) if shifted else 0.0


@pytest.mark.parametrize(
    "given", [(4.0, 1.0, 0.05), (2.0, 2.0, 0.0), (0.5, 0.25, 0.2), (0.0, 0.0, 0.3), (3.0, 0.0, 0.0)]
)
def test_the_asymmetric_loss_is_that_of_the_paper(given):
    import torch

    logits = torch.linspace(-6, 6, 41, dtype=torch.float32)
    for label in (0, 1):
        wanted = [by_the_paper(1 / (1 + math.exp(-z)), label, *given) for z in logits.double().tolist()]
        found = losses.asymmetric_loss(logits, torch.full((41,), label), *given, samples=41)
        assert float(found) == pytest.approx(np.mean(wanted), rel=1e-5)


def test_without_focus_and_clip_it_is_the_cross_entropy():
    import torch

    logits, labels = torch.linspace(-30, 30, 25), torch.arange(25) % 2
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.float())
    assert float(losses.asymmetric_loss(logits, labels, 0.0, 0.0, 0.0, 25)) == pytest.approx(float(wanted), rel=1e-6)
    assert float(losses.focal_loss(logits, labels, 0.0, 25)) == pytest.approx(float(wanted), rel=1e-6)


def test_the_focal_loss_is_the_cross_entropy_times_a_power_of_what_is_missing():
    import torch

    logits, labels = torch.linspace(-5, 5, 25, dtype=torch.float64), torch.arange(25) % 2
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.double(), reduction="none")
    wanted = ((1 - torch.exp(-entropy)) ** 2 * entropy).mean()
    assert float(losses.focal_loss(logits, labels, 2.0, 25)) == pytest.approx(float(wanted), rel=1e-5)


def test_a_negative_image_below_the_clip_has_neither_loss_nor_gradient():
    import torch

    logits = torch.tensor([-4.0, -3.0, 0.0], requires_grad=True)  # .018, .047, .5
    loss = losses.asymmetric_loss(logits, torch.zeros(3, dtype=torch.long), 0.5, 0.0, 0.05, 3)
    loss.backward()
    assert logits.grad.tolist()[:2] == [0.0, 0.0]
    assert logits.grad[2] > 0


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_losses_and_gradients_of_extreme_logits_are_finite(gamma, clip):
    import torch

    logits = torch.tensor([-200.0, -40.0, 0.0, 40.0, 200.0] * 2, requires_grad=True)
    loss = losses.asymmetric_loss(logits, torch.tensor([0] * 5 + [1] * 5), gamma, gamma, clip, 10)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_fractions_of_the_asymmetric_loss_add_up_at_any_micro_batch():
    import torch

    rng = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(16, generator=rng), torch.randint(0, 2, (16,), generator=rng)
    whole = losses.asymmetric_loss(logits, labels, 4.0, 1.0, 0.05, 16)
    for size in (1, 4, 8):
        cut = [
            losses.asymmetric_loss(logits[i : i + size], labels[i : i + size], 4.0, 1.0, 0.05, 16)
            for i in range(0, 16, size)
        ]
        assert float(sum(cut)) == pytest.approx(float(whole), rel=1e-6)


def test_gradients_are_those_of_finite_differences():
    import torch

    logits = torch.linspace(-2, 3, 8, requires_grad=True)
    labels = torch.arange(8) % 2
    losses.asymmetric_loss(logits, labels, 4.0, 1.0, 0.05, 8).backward()
    step = 1e-5
    for place in range(8):
        moved = [1 / (1 + math.exp(-(float(logits[place].detach()) + sign * step))) for sign in (-1, 1)]
        low, high = (by_the_paper(p, int(labels[place]), 4.0, 1.0, 0.05) for p in moved)
        assert float(logits.grad[place]) == pytest.approx((high - low) / (2 * step) / 8, rel=1e-3, abs=1e-7)
