"""A model as its library opened it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Opened:
    """A model as its library opened it, on the CPU.

    Attributes:
        model: Module, whole.
        tokens: What makes of it and of pixels (n, channels, side, side) a sequence (n, prefix + cells, features).
        cell_px: Side of the square of pixels that a token stands for.
        prefix: Number of tokens before those of the cells.
        values: What each of 256 grey values becomes, float32 of shape (channels, 256).
        beside: How the names of those weights begin that tokens do not pass.
        targets: Names of its outputs; none where it has no use of its own.
        random_weights: Whether its files say that it was never trained.
    """

    model: Any
    tokens: Callable[[Any, Any], Any]
    cell_px: int
    prefix: int
    values: np.ndarray
    beside: tuple[str, ...]
    targets: Sequence[str] = ()
    random_weights: bool = False
