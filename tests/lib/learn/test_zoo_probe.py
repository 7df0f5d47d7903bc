"""Probes and neighbours on frozen features: a planted truth, scikit-learn as a second implementation, refusals."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zoo_features
from zoo_features import BACKBONE

from stages.lib.core.errors import ModelError, ParamsError, TrainingError
from stages.lib.core.params import parse
from stages.lib.learn import pooled_features
from stages.lib.learn.zoo import knn, prevalence, probe
from stages.lib.metrics import binary
from stages.lib.models import token_statistics


def probe_params(**changes: Any) -> probe.Params:
    shipped = {"pool": ("largest",), "strengths": (1.0,), "class_weight": ("none",), "places": ("logits",)}
    return probe.Params(**{**BACKBONE, **shipped, **changes})


def knn_params(**changes: Any) -> knn.Params:
    return knn.Params(**{**BACKBONE, "pool": ("largest",), "k": (5,), **changes})


@pytest.fixture(scope="module")
def study() -> Any:
    train, labels = zoo_features.planted(700, 1)
    val, val_labels = zoo_features.planted(300, 2)
    return zoo_features.images(train, labels), zoo_features.images(val, val_labels, 10_000)


def test_of_a_planted_patch_the_largest_value_knows_and_the_mean_hardly_does(study: Any, tmp_path: Path) -> None:
    train, val = study
    for pool, low, high in (("largest", 0.95, 1.01), ("mean", 0.0, 0.75)):
        folder = tmp_path / pool
        folder.mkdir()
        made = zoo_features.setting(val, train, tmp_path)
        probe.fit(probe_params(pool=(pool,), strengths=(0.01, 1.0)), made, folder)
        found = probe.score(probe_params(), replace(made, images=replace(val, labels=None)), folder)
        assert low < binary.roc_auc(val.labels, found.score) < high


def test_a_probe_is_scikit_learn_s_on_the_same_matrix(study: Any, tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    train, val = study
    probe.fit(probe_params(pool=("largest+mean",)), zoo_features.setting(val, train, tmp_path), tmp_path)
    columns = [np.concatenate([one.features[name][:, 0] for name in ("largest", "mean")], 1) for one in (train, val)]
    scaler = StandardScaler().fit(columns[0].astype(np.float64))
    model = LogisticRegression(C=1.0, max_iter=2000, tol=1e-6).fit(scaler.transform(columns[0]), train.labels)
    wanted = model.predict_proba(scaler.transform(columns[1].astype(np.float64)))[:, 1]
    found = probe.score(probe_params(), zoo_features.setting(val, None, tmp_path), tmp_path).score
    assert np.abs(found - wanted).max() < 2e-3


def test_all_that_was_tried_is_told_and_the_best_on_validation_is_taken(study: Any, tmp_path: Path) -> None:
    train, val = study
    params = probe_params(pool=("mean", "largest"), strengths=(0.001, 0.1), class_weight=("none", "balanced"))
    fitted = probe.fit(params, zoo_features.setting(val, train, tmp_path), tmp_path)
    assert len(fitted.tried) == 8
    best = max(fitted.tried, key=lambda one: one.average_precision or 0.0)
    assert fitted.chosen == best.option
    scores = probe.score(params, zoo_features.setting(val, None, tmp_path), tmp_path).score
    assert binary.average_precision(val.labels, scores) == pytest.approx(best.average_precision)


def test_at_one_place_both_ways_to_join_places_are_one_that_is_tried_once(study: Any, tmp_path: Path) -> None:
    train, val = study
    params = probe_params(places=("logits", "features"))
    fitted = probe.fit(params, zoo_features.setting(val, train, tmp_path), tmp_path)
    assert [one.option for one in fitted.tried] == ["pool largest, places logits, class weight none, C 1"]


def test_over_places_logits_are_averaged_or_features_are_joined(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    labels = (np.arange(80) % 2).astype(np.int64)
    tokens = rng.standard_normal((80, 4, 3, 3, 5)).astype(np.float32) + labels[:, None, None, None, None]
    train, val = zoo_features.images(tokens[:60], labels[:60]), zoo_features.images(tokens[60:], labels[60:], 60)
    for places in ("logits", "features"):
        folder = tmp_path / places
        folder.mkdir()
        params = probe_params(places=(places,), shifts=2)
        assert probe.fit(params, zoo_features.setting(val, train, tmp_path), folder).passes == 4
        found = probe.logits(zoo_features.setting(val, None, tmp_path), folder)
        one = probe.documents.read(folder / probe.FILE, probe.Head)
        if places == "logits":
            seen = val.features["largest"].astype(np.float64)  # (n, places, d)
            by_hand = ((seen - one.centre) / one.scale @ np.array(one.weights) + one.bias).mean(axis=1)
        else:
            seen = token_statistics.over_places(val.features)["largest"].astype(np.float64)
            by_hand = (seen - one.centre) / one.scale @ np.array(one.weights) + one.bias
        assert found == pytest.approx(by_hand, abs=1e-4)


def test_a_probe_refuses_constant_features_other_features_and_a_lack_of_a_class(study: Any, tmp_path: Path) -> None:
    train, val = study
    flat = {name: np.ones_like(values) for name, values in train.features.items()}
    with pytest.raises(ModelError, match="some_row: all features of pool largest are constant"):
        probe.fit(probe_params(), zoo_features.setting(val, replace(train, features=flat), tmp_path), tmp_path)
    with pytest.raises(ModelError, match="some_row: its model has no prefix tokens"):
        probe.fit(probe_params(pool=("prefix",)), zoo_features.setting(val, train, tmp_path), tmp_path)
    alone = replace(val, labels=np.zeros_like(val.labels))
    with pytest.raises(TrainingError, match="both classes"):
        probe.fit(probe_params(), zoo_features.setting(alone, train, tmp_path), tmp_path)
    probe.fit(probe_params(), zoo_features.setting(val, train, tmp_path), tmp_path)
    fewer = {name: values[..., :3] for name, values in val.features.items()}
    with pytest.raises(ModelError, match="found 3 features, wanted 16"):
        probe.score(probe_params(), zoo_features.setting(replace(val, features=fewer), None, tmp_path), tmp_path)


def test_an_unknown_statistic_is_told_with_its_nearest_name_and_all_problems_at_once() -> None:
    row = {**BACKBONE, "kind": "probe", "pool": ["largst", "mean+mean"], "strengths": [], "class_weight": ["none"]}
    sections = {"zoo.models": probe.params.Rows({"probe": probe.Params})}
    with pytest.raises(ParamsError) as told:
        parse({"zoo": {"models": {"p": {**row, "places": ["logits"]}}}}, sections)
    for part in ("did you mean 'largest'?", "mean+mean: found a statistic twice", "strengths that is empty"):
        assert part in str(told.value)


def test_neighbours_vote_by_hand() -> None:
    index = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.6, 0.8]]], np.float32)
    queries = np.array([[[1.0, 0.0]]], np.float32)
    patients, labels = np.array(["a", "b", "c"]), np.array([1, 0, 0])
    one, two = knn.search(queries, np.array(["x"]), index, patients, labels, (1, 2))
    assert one == pytest.approx([1.0])
    assert two == pytest.approx([1.0 / 1.6])
    [own] = knn.search(queries, np.array(["a"]), index, patients, labels, (1,))
    assert own == pytest.approx([0.0])
    with pytest.raises(TrainingError, match="another patient"):
        knn.search(queries, np.array(["a"]), index[:1], patients[:1], labels[:1], (1,))


def test_neighbours_are_those_of_scikit_learn(study: Any, tmp_path: Path) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    train, val = study
    fitted = knn.fit(knn_params(k=(3, 25)), zoo_features.setting(val, train, tmp_path), tmp_path)
    assert len(fitted.tried) == 2
    found = knn.score(knn_params(), zoo_features.setting(val, None, tmp_path), tmp_path).score
    k = documents_k(tmp_path)
    centre, scale = pooled_features.spread(train.features["largest"][:, 0].astype(np.float32))
    matrices = [(one.features["largest"][:, 0].astype(np.float64) - centre) / scale for one in (train, val)]
    second = KNeighborsClassifier(k, metric="cosine", weights=lambda distance: np.maximum(1 - distance, 0))
    wanted = second.fit(matrices[0], train.labels).predict_proba(matrices[1])[:, 1]
    assert np.abs(found - wanted).max() < 1e-3
    assert binary.roc_auc(val.labels, found) > 0.8


def documents_k(folder: Path) -> int:
    return knn.documents.read(folder / knn.FILE, knn.Index).k


def test_a_damaged_index_is_told(study: Any, tmp_path: Path) -> None:
    train, val = study
    knn.fit(knn_params(), zoo_features.setting(val, train, tmp_path), tmp_path)
    (tmp_path / knn.VECTORS).write_bytes((tmp_path / knn.VECTORS).read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"some_row: .*damaged"):
        knn.score(knn_params(), zoo_features.setting(val, None, tmp_path), tmp_path)


def test_prevalence_is_that_of_training_images(study: Any, tmp_path: Path) -> None:
    train, val = study
    row = prevalence.Params(seen="no", licence="none", commercial=True)
    prevalence.fit(row, zoo_features.setting(val, train, tmp_path), tmp_path)
    found = prevalence.score(row, zoo_features.setting(val, None, tmp_path), tmp_path).score
    assert set(found.tolist()) == {float(train.labels.mean())}


def test_a_probe_scores_an_image_with_the_same_bits_in_any_shard(tmp_path: Path) -> None:
    tokens, labels = zoo_features.planted(120, 1, features=200)
    whole = zoo_features.images(tokens, labels)
    params = probe_params(pool=("largest+smallest",))
    setting = zoo_features.setting(whole, whole, tmp_path)
    probe.fit(params, setting, tmp_path)
    together = probe.score(params, setting, tmp_path).score
    for size in (1, 7, 50):
        shards = [
            zoo_features.images(tokens[start : start + size], labels[start : start + size], start)
            for start in range(0, 120, size)
        ]
        scores = [probe.score(params, replace(setting, images=shard), tmp_path).score for shard in shards]
        assert np.concatenate(scores).tolist() == together.tolist()


def test_a_probe_keeps_its_logits_where_scores_are_1_in_double_precision(tmp_path: Path) -> None:
    tokens, labels = zoo_features.planted(200, 1, lifted=4.0)
    train, val = zoo_features.images(tokens[:150], labels[:150]), zoo_features.images(tokens[150:], labels[150:], 150)
    setting = zoo_features.setting(val, train, tmp_path)
    params = probe_params(pool=("largest+smallest+mean",), strengths=(1e6,))
    probe.fit(params, setting, tmp_path)
    found = probe.score(params, setting, tmp_path)
    logits = probe.logits(setting, tmp_path)
    assert (found.score == 1.0).sum() > 1
    assert found.logits is not None and (found.logits[:, 1] - found.logits[:, 0]).tolist() == logits.tolist()
    assert len(set(logits[found.score == 1.0].tolist())) == (found.score == 1.0).sum()
