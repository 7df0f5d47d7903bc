"""Frozen features of made-up images, and settings of the kinds that read them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.learn.candidate import Bank, Inputs, Setting
from stages.lib.models import token_statistics

BACKBONE: Mapping[str, Any] = {
    "library": "transformers",
    "source": "some/folder",
    "revision": "none",
    "architecture": "Dinov2Model",
    "side_px": 56,
    "shifts": 1,
    "seen": "no",
    "licence": "Apache-2.0",
    "commercial": True,
}
BANK = Bank(questions=("Is there a nodule?",), answers=("Yes/No",), text_pairs=(("a nodule", "no nodule"),))


def statistics(tokens: NDArray[np.float32]) -> dict[str, NDArray[np.float16]]:
    """Features as `zoo.embed` has them, of tokens of shape (n, places, rows, columns, features)."""
    made = [[token_statistics.of_tokens(place) for place in image] for image in tokens]
    names = made[0][0]
    found = {name: np.array([[place[name] for place in image] for image in made]) for name in names}
    return {**found, "prefix": np.zeros((*tokens.shape[:2], 0), np.float16)}


def images(tokens: NDArray[np.float32], labels: NDArray[np.int64] | None, first: int = 0) -> Inputs:
    """Images of these tokens, each of its own patient."""
    names = [f"i{number:05}" for number in range(first, first + len(tokens))]
    return Inputs(
        ids=names, patients=np.array([f"p{name}" for name in names]), labels=labels, features=statistics(tokens)
    )


def setting(val: Inputs, train: Inputs | None, work: Path) -> Setting:
    """Setting of a row without a model of its own."""
    return Setting(
        row="some_row",
        images=val,
        train=train,
        found=None,
        model=None,
        bank=BANK,
        preprocessing_hash="h",
        batch_size=4,
        readers=0,
        seed=1,
        environment=None,
        work=work,
    )


def planted(
    count: int, seed: int, *, lifted: float = 5.0, side: int = 8, features: int = 16
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Tokens of noise, in which one patch of each positive image has one feature lifted by so many deviations."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 4 == 0).astype(np.int64)
    tokens = rng.standard_normal((count, 1, side, side, features)).astype(np.float32)
    for number in np.flatnonzero(labels):
        tokens[number, 0, rng.integers(side), rng.integers(side), 3] += lifted
    return tokens, labels
