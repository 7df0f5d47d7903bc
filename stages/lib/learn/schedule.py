"""The learning rate as a function of the step: a linear rise, then a fall to 0 along a line or a cosine."""

import math
from typing import Literal

Fall = Literal["linear", "cosine"]


def learning_rate(step: int, peak: float, warmup: int, steps: int, fall: Fall = "linear") -> float:
    """Learning rate of one optimizer step.

    Args:
        step: Number of the step, from 0.
        peak: Learning rate after the warm-up.
        warmup: Steps in which it rises.
        steps: Steps in all.
        fall: How it falls after them. Source of the cosine: Loshchilov and Hutter, SGDR, 2017, equation 5, without
            restarts.

    >>> [learning_rate(step, 8.0, 2, 6) for step in range(7)]
    [0.0, 4.0, 8.0, 6.0, 4.0, 2.0, 0.0]
    >>> [round(learning_rate(step, 8.0, 2, 6, "cosine"), 2) for step in range(7)]
    [0.0, 4.0, 8.0, 6.83, 4.0, 1.17, 0.0]
    """
    if step < warmup:
        return peak * (step / warmup)
    left = max(0.0, (steps - step) / max(1, steps - warmup))
    return peak * (left if fall == "linear" else (1 - math.cos(math.pi * left)) / 2)


def warmup_steps(warmup_ratio: float, steps: int) -> int:
    """Number of steps in which the learning rate rises.

    >>> warmup_steps(0.03, 4400)
    132
    """
    return math.ceil(warmup_ratio * steps)
