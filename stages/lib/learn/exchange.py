"""Vectors of all processes, with their gradients. torch is imported here: import this module where it is needed."""

from typing import Any

import torch
from torch import Tensor, distributed


def gathered(mine: Tensor) -> Tensor:
    """Rows of all processes, in the order of their ranks; each process has as many.

    A gradient of any process's rows goes back to the process that they are from, and adds up there. A gather without
    gradient gives the same loss, and a text tower that learns from its own images alone.

    Args:
        mine: Tensor of shape (n, ...).

    Returns:
        Tensor of shape (processes * n, ...).
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return mine
    found: Tensor = _Gathered.apply(mine)
    return found


def rank() -> int:
    """Rank of this process, 0 if it is alone."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


class _Gathered(torch.autograd.Function):
    """Gather forward, and the sum over processes of the gradient of these rows backward."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        ctx.n = len(mine)
        parts = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, mine.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        whole = gradient.contiguous().clone()
        distributed.all_reduce(whole)
        first = distributed.get_rank() * ctx.n
        return whole[first : first + ctx.n]
