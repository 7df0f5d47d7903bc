import pytest

from stages.lib.learn import schedule


@pytest.mark.parametrize(("steps", "warmup"), [(4400, 132), (6, 1), (100, 3)])
def test_a_warm_up_of_three_per_cent_is_that_many_steps(steps, warmup):
    assert schedule.warmup_steps(0.03, steps) == warmup
    assert schedule.learning_rate(warmup, 0.01, warmup, steps) == 0.01
    assert schedule.learning_rate(steps, 0.01, warmup, steps) == 0


def test_a_run_without_warm_up_starts_at_the_peak():
    assert schedule.learning_rate(0, 0.01, 0, 4) == 0.01


@pytest.mark.parametrize(("warmup", "steps"), [(0, 7), (3, 11), (132, 4400), (6, 7), (5, 5)])
def test_the_rates_are_those_of_transformers_bit_by_bit(warmup, steps):
    import torch
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2e-4)
    theirs = get_scheduler("linear", optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    for step in range(steps):
        assert schedule.learning_rate(step, 2e-4, warmup, steps) == theirs.get_last_lr()[0]
        optimizer.step()
        theirs.step()
