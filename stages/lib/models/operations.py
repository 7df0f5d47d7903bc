"""Floating-point operations of a model, counted on the meta device: no weight and no image has a value."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _Whole:
    """In the place of torch's tracker of modules, which refuses `torch.autograd.grad`: counts are not told apart."""

    parents = ("Global",)

    def __enter__(self) -> None:
        pass

    def __exit__(self) -> None:
        pass


def count(work: Callable[[], Any]) -> float:
    """Floating-point operations of `work`, two per multiply-add.

    Matrix products, convolutions and attention are counted; additions, norms and activations are not.

    Args:
        work: Computes with tensors of the meta device.
    """
    from torch.utils.flop_counter import FlopCounterMode

    counter: Any = FlopCounterMode(display=False)
    counter.mod_tracker = _Whole()
    with without_values(), counter:
        work()
    return float(counter.get_total_flops())


@contextmanager
def without_values() -> Iterator[None]:
    """Let a model run on the meta device: transformers compares numbers of tokens there, which have no values."""
    name = "TRANSFORMERS_DISABLE_TORCH_CHECK"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
