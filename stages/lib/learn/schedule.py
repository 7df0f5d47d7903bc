"""The learning rate as a function of the step: a linear rise, then a linear fall to 0."""

import math


def learning_rate(step: int, peak: float, warmup: int, steps: int) -> float:
    """Learning rate of one optimizer step.

    Args:
        step: Number of the step, from 0.
        peak: Learning rate after the warm-up.
        warmup: Steps in which it rises.
        steps: Steps in all.

    >>> [learning_rate(step, 8.0, 2, 6) for step in range(7)]
    [0.0, 4.0, 8.0, 6.0, 4.0, 2.0, 0.0]
    """
    rising = step < warmup
    return peak * (step / warmup if rising else max(0.0, (steps - step) / max(1, steps - warmup)))


def warmup_steps(warmup_ratio: float, steps: int) -> int:
    """Number of steps in which the learning rate rises.

    >>> warmup_steps(0.03, 4400)
    132
    """
    return math.ceil(warmup_ratio * steps)
