"""Claims about neighbours: none of the same patient, the same scores whatever stands beside, as many as there are."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zoo_features
from zoo_features import BACKBONE

from stages.lib.core.errors import ModelError, TrainingError
from stages.lib.learn.zoo import knn


def directions(rng: np.random.Generator, n: int, places: int = 1, d: int = 6) -> np.ndarray:
    made = rng.standard_normal((n, places, d)).astype(np.float32)
    return np.asarray(made / np.linalg.norm(made, axis=-1, keepdims=True), np.float32)


def by_hand(queries: Any, own: Any, index: Any, patients: Any, labels: Any, k: int) -> list[float]:
    """The same with a loop over images and places."""
    scores = []
    for query, patient in zip(queries, own, strict=True):
        of_places = []
        for place, vector in enumerate(query):
            cosines = [(-float(vector @ other[place]), n) for n, other in enumerate(index) if patients[n] != patient]
            near = sorted(cosines)[:k]
            weights = [max(-cosine, 0.0) for cosine, _ in near]
            weights = weights if sum(weights) else [1.0] * len(near)
            of_places.append(sum(w * labels[n] for w, (_, n) in zip(weights, near, strict=True)) / sum(weights))
        scores.append(float(np.mean(of_places)))
    return scores


def test_neighbours_of_several_places_are_those_by_hand_where_patients_overlap() -> None:
    rng = np.random.default_rng(2)
    index, queries = directions(rng, 40, 2), directions(rng, 12, 2)
    patients = np.array([f"p{n // 4}" for n in range(40)])
    own = np.array([f"p{n}" for n in range(12)])  # p10 and p11 have no training image
    labels = rng.integers(0, 2, 40)
    for k, found in zip((1, 5, 38), knn.search(queries, own, index, patients, labels, (1, 5, 38)), strict=True):
        assert found == pytest.approx(by_hand(queries, own, index, patients, labels, k), abs=1e-5)


def test_an_image_whose_patient_has_most_training_images_takes_fewer_and_changes_no_other() -> None:
    rng = np.random.default_rng(3)
    index, queries = directions(rng, 20), directions(rng, 5)
    patients = np.array(["many"] * 17 + ["a", "b", "c"])
    own, labels = np.array(["many", "x", "y", "a", "z"]), rng.integers(0, 2, 20)
    [together] = knn.search(queries, own, index, patients, labels, (10,))
    assert together == pytest.approx(by_hand(queries, own, index, patients, labels, 10), abs=1e-5)
    alone = [knn.search(queries[[n]], own[[n]], index, patients, labels, (10,))[0][0] for n in range(5)]
    assert together.tolist() == alone


def test_an_image_that_taught_does_not_find_itself_when_it_is_scored(tmp_path: Any) -> None:
    tokens, _ = zoo_features.planted(60, 1)
    labels = np.random.default_rng(9).integers(0, 2, 60)  # which nothing tells: only the image itself would
    train = zoo_features.images(tokens, labels)
    row = knn.Params(**{**BACKBONE, "pool": ("largest",), "k": (1,)})
    knn.fit(row, zoo_features.setting(train, train, tmp_path), tmp_path)
    found = knn.score(row, zoo_features.setting(replace(train, labels=None), None, tmp_path), tmp_path).score
    assert 0.2 < np.mean(found == labels) < 0.8
    stranger = replace(train, labels=None, patients=np.array([f"q{n}" for n in range(60)]))
    found = knn.score(row, zoo_features.setting(stranger, None, tmp_path), tmp_path).score
    assert found.tolist() == labels.tolist()


def test_an_image_without_any_neighbour_of_another_patient_is_refused() -> None:
    index = directions(np.random.default_rng(1), 3)
    with pytest.raises(TrainingError, match="no training image of another patient"):
        knn.search(index[:1], np.array(["a"]), index, np.array(["a"] * 3), np.array([0, 1, 1]), (1,))


@pytest.mark.parametrize("shifts", [3, 5, 7])
def test_a_score_is_at_most_1_at_any_number_of_places(shifts: int) -> None:
    rng = np.random.default_rng(4)
    index, queries = directions(rng, 20, shifts**2), directions(rng, 30, shifts**2)
    [found] = knn.search(
        queries, np.array(["q"] * 30), index, np.array([f"p{n}" for n in range(20)]), np.ones(20, int), (5,)
    )
    assert found.tolist() == [1.0] * 30


def test_features_that_are_constant_in_a_pool_are_refused_by_the_row(tmp_path: Any) -> None:
    images = zoo_features.images(*zoo_features.planted(30, 1))
    flat = replace(images, features={**(images.features or {}), "prefix": np.ones((30, 1, 4), np.float16)})
    row = knn.Params(**{**BACKBONE, "pool": ("largest", "prefix"), "k": (3,)})
    with pytest.raises(ModelError, match="some_row: all features of pool prefix are constant, wanted features that"):
        knn.fit(row, zoo_features.setting(flat, flat, tmp_path), tmp_path)
