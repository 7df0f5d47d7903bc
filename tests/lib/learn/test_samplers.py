import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.core.errors import TrainingError
from stages.lib.learn import samplers


def labels_of(positives, negatives, seed=0):
    return np.random.default_rng(seed).permutation([1] * positives + [0] * negatives)


def epochs_of(labels, epochs, seed=3):
    size = samplers.epoch_length(labels, "balanced_rotation")
    return samplers.stream(labels, "balanced_rotation", seed, epochs * size).reshape(epochs, size)


@pytest.mark.parametrize(("positives", "negatives"), [(7, 31), (5, 20), (4, 4), (1, 9), (10, 13)])
def test_each_balanced_epoch_holds_all_positives_and_as_many_different_negatives(positives, negatives):
    labels = labels_of(positives, negatives)
    for epoch in epochs_of(labels, 12):
        assert len(set(epoch)) == len(epoch) == 2 * positives
        assert set(np.flatnonzero(labels)) <= set(epoch)


@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 2**31), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_no_negative_comes_twice_before_all_have_come_once_and_so_on_for_every_rotation(few, more, seed, rotations):
    labels = labels_of(few, few + more)
    for epochs in range(1, rotations * -(-(few + more) // few) + 1):
        shown = np.bincount(epochs_of(labels, epochs, seed).ravel(), minlength=len(labels))[labels == 0]
        assert shown.max() - shown.min() <= 1
    assert np.bincount(epochs_of(labels, -(-(few + more) // few), seed).ravel(), minlength=len(labels)).all()


def test_where_negatives_are_fewer_they_are_all_shown_and_positives_rotate():
    labels = labels_of(9, 2)
    epochs = epochs_of(labels, 5)
    assert all(set(np.flatnonzero(labels == 0)) <= set(epoch) for epoch in epochs)
    assert set(epochs.ravel()) == set(range(11))


@pytest.mark.parametrize("sampler", ["balanced_rotation", "shuffled", "weighted"])
def test_the_stream_depends_on_the_seed_and_a_longer_one_of_epochs_only_goes_on(sampler):
    labels = labels_of(5, 23)
    one = samplers.stream(labels, sampler, 1, 100)
    assert (one == samplers.stream(labels, sampler, 1, 100)).all()
    assert (one != samplers.stream(labels, sampler, 2, 100)).any()
    assert (one[:37] == samplers.stream(labels, sampler, 1, 37)).all()


def test_shuffled_shows_every_image_once_per_epoch():
    labels = labels_of(3, 11)
    epochs = samplers.stream(labels, "shuffled", 5, 42).reshape(3, 14)
    assert (np.sort(epochs, axis=1) == np.arange(14)).all()
    assert (epochs[0] != epochs[1]).any()


def test_weighted_draws_both_classes_alike():
    labels = labels_of(10, 190)
    drawn = labels[samplers.stream(labels, "weighted", 5, 4000)]
    assert abs(drawn.mean() - 0.5) < 4 * 0.5 / 4000**0.5


def test_the_published_4400_steps_of_16_leave_negatives_unseen_on_the_real_counts():
    labels = labels_of(2164, 48289)
    seen = np.unique(samplers.stream(labels, "balanced_rotation", 0, 4400 * 16))
    fraction = (labels[seen] == 0).sum() / 48289
    assert fraction == pytest.approx(4400 * 16 / 2 / 48289, abs=0.001)
    assert fraction < 0.74


@pytest.mark.parametrize("labels", [np.zeros(4, int), np.ones(4, int), np.empty(0, int)])
def test_training_on_one_class_is_refused_with_the_counts(labels):
    with pytest.raises(TrainingError, match=f"found {labels.sum()} with and {(labels == 0).sum()} without"):
        samplers.stream(labels, "shuffled", 0, 8)


def test_labels_are_those_of_two_classes():
    with pytest.raises(TrainingError, match="with and without a nodule"):
        samplers.stream(np.array([0, 1, 2, 1]), "shuffled", 0, 8)


@pytest.mark.parametrize("sampler", ["balanced_rotation", "shuffled", "weighted"])
def test_a_stream_of_no_length_is_empty(sampler):
    assert len(samplers.stream(labels_of(2, 5), sampler, 0, 0)) == 0
