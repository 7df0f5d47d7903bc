"""Claims about stages.lib.learn.logistic, with scikit-learn as a second implementation."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from stages.lib.learn import logistic


@pytest.fixture(scope="module")
def data():
    """1,100 images, more than two blocks, with 30 features that are far from independent."""
    rng = np.random.default_rng(4)
    features = rng.standard_normal((1100, 5)) @ rng.standard_normal((5, 30)) + 0.2 * rng.standard_normal((1100, 30))
    labels = (features[:, 0] + rng.standard_normal(1100) > 3).astype(np.int64)
    return ((features - features.mean(0)) / features.std(0)).astype(np.float32), labels


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("strength", [1e-4, 0.01, 1.0])
def test_it_is_scikit_learn_s_solution(data, class_weight, strength):
    features, labels = data
    counts = np.random.default_rng(5).uniform(0.5, 2.0, len(labels))
    second = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000)
    own = counts if class_weight is None else logistic.balanced(labels, counts)
    second.fit(features.astype(np.float64), labels, sample_weight=own)
    found = logistic.fit(features, labels, own, strength)
    assert found.converged
    logits = [features @ found.weights + found.bias, features @ second.coef_[0] + second.intercept_[0]]
    assert np.abs(logits[0] - logits[1]).max() < 0.01
    assert found.bias == pytest.approx(second.intercept_[0], abs=2e-3)


def test_balanced_counts_are_scikit_learn_s(data):
    features, labels = data
    second = LogisticRegression(C=0.01, tol=1e-10, max_iter=10_000, class_weight="balanced").fit(features, labels)
    found = logistic.fit(features, labels, logistic.balanced(labels, np.ones(len(labels))), 0.01)
    assert found.weights == pytest.approx(second.coef_[0], abs=2e-3)


def test_where_it_begins_does_not_matter(data):
    features, labels = data
    counts = np.ones(len(labels))
    strong = logistic.fit(features, labels, counts, 1e-4)
    cold, warm = logistic.fit(features, labels, counts, 0.1), logistic.fit(features, labels, counts, 0.1, strong)
    assert cold.weights == pytest.approx(warm.weights, abs=5e-3)


def test_an_image_that_counts_twice_is_that_image_twice(data):
    features, labels = data[0][:200], data[1][:200]
    counts = np.where(np.arange(200) % 3 == 0, 2.0, 1.0)
    twice = np.repeat(np.arange(200), counts.astype(int))
    one = logistic.fit(features, labels, counts, 0.1)
    other = logistic.fit(features[twice], labels[twice], np.ones(len(twice)), 0.1)
    assert one.weights == pytest.approx(other.weights, abs=2e-3)


def test_too_few_steps_are_told(data):
    features, labels = data
    assert not logistic.fit(features, labels, np.ones(len(labels)), 1.0, iterations=2).converged
