"""Moving average of a network's weights, which is often better than the last of them, and never jumps.

Source: Polyak and Juditsky, SIAM J. Control Optim. 30: 838, 1992, for averages along a training; the exponential one
with a decay that grows, so that random first weights are forgotten, is that of TensorFlow's `num_updates`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.nn import Module


def decay_at(step: int, decay: float) -> float:
    """Fraction of the average that stays at a step, counted from 1: at most `decay`, and less at the beginning.

    >>> decay_at(1, 0.99), decay_at(8, 0.99), decay_at(10_000, 0.99)
    (0.18181818181818182, 0.5, 0.99)
    """
    return min(decay, (1 + step) / (10 + step))


def follow(average: "Module", network: "Module", step: int, decay: float) -> None:
    """Move an average towards a network's weights, in place.

    Parameters and running statistics are averaged; what is no floating-point number, as a norm's count of batches, is
    copied.

    Args:
        average: Of the same shape.
        network: As it is after the step.
        step: Number of the step, from 1.
        decay: See `decay_at`.
    """
    import torch

    kept = decay_at(step, decay)
    with torch.no_grad():
        now = network.state_dict()
        for name, held in average.state_dict().items():
            if held.is_floating_point():
                held.lerp_(now[name], 1 - kept)
            else:
                held.copy_(now[name])
