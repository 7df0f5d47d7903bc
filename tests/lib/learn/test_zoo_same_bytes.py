"""Every kind of row, fitted twice to the same images: what it is fitted to, and its scores, are the same bytes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zoo_features
import zoo_tuning

from stages.lib.learn.candidate import Inputs, Setting
from stages.lib.learn.zoo import ensemble, knn, pooled, prevalence, probe, soup, tuned

SAID = {"seen": "no", "licence": "none", "commercial": True}
POOLED = {"method": "attention", "width": 4, "sharpness": 0.0, "learning_rates": (0.01,), "weight_decay": 0.01}
POOLED |= {"epochs": 2, "batch_size": 16, "repeats": 2, "seed": 1}


class Held:
    """Patch tokens in memory."""

    def __init__(self, tokens: np.ndarray) -> None:
        self.tokens, self.shape = tokens.astype(np.float16), tokens.shape[1:]

    def __getitem__(self, number: int) -> np.ndarray:
        return self.tokens[number]


def of_features(work: Path) -> Setting:
    tokens, labels = zoo_features.planted(150, 1, features=24)
    train, val = (
        replace(zoo_features.images(tokens[part], labels[part], part.start), tokens=Held(tokens[part]))
        for part in (slice(0, 100), slice(100, 150))
    )
    return zoo_features.setting(val, train, work)


def of_scores(work: Path) -> Setting:
    rng = np.random.default_rng(2)
    labels = (np.arange(90) % 3 == 0).astype(np.int64)
    scores = {name: 1 / (1 + np.exp(-labels - rng.normal(size=90))) for name in "ab"}
    ids = [f"i{number:03d}" for number in range(90)]
    images = Inputs(ids=ids, patients=np.array([f"p{n // 2}" for n in range(90)]), labels=labels, scores=scores)
    return zoo_features.setting(images, None, work)


def of_pixels(work: Path) -> Setting:
    train, val = (zoo_tuning.images(work / name, 18, seed) for seed, name in enumerate(("train", "val")))
    return zoo_tuning.setting(work, zoo_tuning.model(work / "resnet"), val, train)


def of_members(work: Path) -> Setting:
    whole = of_pixels(work)
    members = {name: work / name for name in "ab"}
    for seed, folder in enumerate(members.values()):
        folder.mkdir()
        row = zoo_tuning.params(seed=seed, max_steps=2)
        tuned.fit(row, replace(whole, work=work / f"work_{seed}"), folder)
    return replace(whole, members=members)


CASES: dict[str, tuple[Any, Any, Callable[[Path], Setting]]] = {
    "prevalence": (prevalence, prevalence.Params(**SAID), of_features),
    "probe": (
        probe,
        probe.Params(
            **zoo_features.BACKBONE,
            pool=("largest", "mean+deviation"),
            strengths=(0.01, 1.0),
            class_weight=("none", "balanced"),
            places=("logits",),
        ),
        of_features,
    ),
    "knn": (knn, knn.Params(**zoo_features.BACKBONE, pool=("largest",), k=(1, 5)), of_features),
    "pooled": (pooled, pooled.Params(**zoo_features.BACKBONE, **POOLED), of_features),
    "rank_mean": (
        ensemble,
        ensemble.Params(**SAID, members=("a", "b"), method="rank_mean", strengths=(), folds=0),
        of_scores,
    ),
    "stacking": (
        ensemble,
        ensemble.Params(**SAID, members=("a", "b"), method="stacking", strengths=(0.1, 1.0), folds=3),
        of_scores,
    ),
    "tuned": (tuned, zoo_tuning.params(), of_pixels),
    "soup": (
        soup,
        soup.Params(**SAID, members=("a", "b"), method="greedy_soup", side_px=zoo_tuning.SIDE, shifts=1),
        of_members,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_row_that_is_fitted_twice_is_the_same_bytes(name: str, tmp_path: Path) -> None:
    kind, row, make = CASES[name]
    found = []
    for turn in ("one", "two"):
        work, out = tmp_path / turn, tmp_path / f"{turn}_out"
        work.mkdir()
        out.mkdir()
        setting = make(work)
        told = kind.fit(row, setting, out)
        asked = replace(setting, images=replace(setting.images, labels=None), train=None)
        scores = kind.score(row, asked, out).score
        found.append((told, {path.name: path.read_bytes() for path in out.iterdir()}, scores.tobytes()))
    assert found[0] == found[1]
    assert found[0][1]  # something was written
