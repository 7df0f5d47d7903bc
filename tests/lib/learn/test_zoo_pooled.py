"""Learned pooling of patch tokens: a planted truth, both methods, the same after the disk, refusals."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zoo_features
from zoo_features import BACKBONE

from stages.lib.core.errors import ModelError, TrainingError
from stages.lib.learn.zoo import pooled
from stages.lib.metrics import binary


class Held:
    """Patch tokens in memory, read as those on the disk are."""

    def __init__(self, tokens: np.ndarray) -> None:
        self.tokens = tokens.astype(np.float16)
        self.shape = tokens.shape[1:]

    def __getitem__(self, number: int) -> np.ndarray:
        return self.tokens[number]


def params(method: str = "log_sum_exp", **changes: Any) -> pooled.Params:
    shipped = {
        "method": method,
        "width": 8 if method == "attention" else 0,
        "sharpness": 0.0 if method == "attention" else 4.0,
        "learning_rates": (0.02,),
        "weight_decay": 0.01,
        "epochs": 12,
        "batch_size": 32,
        "repeats": 1,
        "seed": 1,
    }
    return pooled.Params(**{**BACKBONE, **shipped, **changes})


def images(tokens: np.ndarray, labels: np.ndarray, first: int = 0) -> Any:
    return replace(zoo_features.images(tokens, labels, first), features=None, tokens=Held(tokens))


@pytest.fixture(scope="module")
def study() -> Any:
    train, labels = zoo_features.planted(500, 1, features=8)
    val, val_labels = zoo_features.planted(200, 2, features=8)
    return images(train, labels), images(val, val_labels, 10_000)


@pytest.mark.parametrize("method", ["attention", "log_sum_exp"])
def test_a_pooling_learns_which_patch_counts_and_is_the_same_after_the_disk(
    method: str, study: Any, tmp_path: Path
) -> None:
    train, val = study
    setting = zoo_features.setting(val, train, tmp_path)
    fitted = pooled.fit(params(method, learning_rates=(0.005, 0.02)), setting, tmp_path)
    assert len(fitted.tried) == 2
    assert fitted.trained_parameters == (8 * 8 * 2 + 16 + 8 + 9 if method == "attention" else 9)
    asked = replace(setting, train=None, images=replace(val, labels=None))
    found = pooled.score(params(method), asked, tmp_path).score
    assert binary.average_precision(val.labels, found) == pytest.approx(
        max(one.average_precision or 0.0 for one in fitted.tried)
    )
    assert binary.roc_auc(val.labels, found) > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(study: Any, tmp_path: Path) -> None:
    train, val = study
    made = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        folder = tmp_path / name
        folder.mkdir()
        pooled.fit(params(epochs=2, seed=seed), zoo_features.setting(val, train, tmp_path), folder)
        made.append((folder / pooled.WEIGHTS).read_bytes())
    assert made[0] == made[1] != made[2]


def test_scores_are_the_mean_of_the_logits_of_all_places_whatever_stands_beside(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    labels = (np.arange(60) % 2).astype(np.int64)
    tokens = rng.standard_normal((60, 4, 2, 2, 3)).astype(np.float32) + labels[:, None, None, None, None]
    whole = images(tokens, labels)
    setting = zoo_features.setting(whole, whole, tmp_path)
    pooled.fit(params(shifts=2, epochs=2), setting, tmp_path)
    together = pooled.score(params(shifts=2), setting, tmp_path).score
    alone = [
        pooled.score(params(), replace(setting, images=images(tokens[n : n + 1], labels[n : n + 1], n)), tmp_path).score
        for n in range(5)
    ]
    assert together[:5] == pytest.approx(np.concatenate(alone), abs=1e-6)
    places = [
        pooled.score(params(), replace(setting, images=images(tokens[:, p : p + 1], labels)), tmp_path).score
        for p in range(4)
    ]
    logits = np.mean([np.log(one / (1 - one)) for one in places], axis=0)
    assert together == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)


def test_a_pooling_refuses_constant_tokens_others_than_it_learned_and_a_lack_of_a_class(
    study: Any, tmp_path: Path
) -> None:
    train, val = study
    flat = replace(train, tokens=Held(np.ones_like(train.tokens.tokens)))
    with pytest.raises(ModelError, match="some_row: all features of its patch tokens are constant"):
        pooled.fit(params(), zoo_features.setting(val, flat, tmp_path), tmp_path)
    alone = replace(val, labels=np.ones_like(val.labels))
    with pytest.raises(TrainingError, match=r"some_row: .*both classes"):
        pooled.fit(params(), zoo_features.setting(alone, train, tmp_path), tmp_path)
    setting = zoo_features.setting(val, train, tmp_path)
    pooled.fit(params(epochs=1), setting, tmp_path)
    other = replace(val, tokens=Held(val.tokens.tokens[..., :3]))
    with pytest.raises(ModelError, match="found tokens of 3 features, wanted 8"):
        pooled.score(params(), replace(setting, images=other), tmp_path)
    (tmp_path / pooled.WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(ModelError, match="damaged"):
        pooled.score(params(), setting, tmp_path)
    with pytest.raises(ValueError, match="a width alone with attention"):
        params("attention", width=0)


@pytest.mark.parametrize("method", ["attention", "log_sum_exp"])
def test_a_pooling_scores_an_image_with_the_same_bits_in_any_shard(method: str, tmp_path: Path) -> None:
    tokens, labels = zoo_features.planted(90, 1, features=24)
    row, whole = params(method, epochs=2), images(tokens, labels)
    setting = zoo_features.setting(whole, whole, tmp_path)
    pooled.fit(row, setting, tmp_path)
    together = pooled.score(row, setting, tmp_path)
    assert together.logits is not None
    for size in (1, 7, 40):
        parts = [images(tokens[n : n + size], labels[n : n + size], n) for n in range(0, 90, size)]
        found = [pooled.score(row, replace(setting, images=part), tmp_path).score for part in parts]
        assert np.concatenate(found).tolist() == together.score.tolist()
