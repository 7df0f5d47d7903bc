"""Claims about stages.lib.metrics.retrieval."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from stages.lib.core.errors import MetricInputError, UndefinedMetricError
from stages.lib.metrics import retrieval
from stages.lib.metrics.retrieval import Belonging

# Reference: three images, texts of images 0, 0, 1, 2.
SIMILARITIES = np.array([[0.9, 0.1, 0.8, 0.2], [0.3, 0.7, 0.2, 0.95], [0.1, 0.4, 0.6, 0.5]])
OWNER = np.array([0, 0, 1, 2])
RIGHT = np.arange(3)[:, None] == OWNER
IMAGES, TEXTS = np.arange(3), np.arange(4)


def recalls(found, ks=(1, 2, 3)):
    return [retrieval.recall_at_k(found.rank, k) for k in ks]


def vectors(rng, n, d=6):
    rows = rng.normal(size=(n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_sorting(similarities, right):
    """Second implementation: sort each pool, the wrong ones first among equals, and look where the first right is."""
    found = []
    for row, own in zip(similarities.tolist(), right.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda place: (-row[place], own[place]))
        found.append(1 + [own[place] for place in order].index(True))
    return found


def test_the_golden_matrix():
    of_images, of_texts = retrieval.ranks(SIMILARITIES, RIGHT), retrieval.ranks(SIMILARITIES.T, RIGHT.T)
    assert of_images.rank.tolist() == [1, 4, 2]
    assert of_texts.rank.tolist() == [1, 3, 3, 2]
    assert recalls(of_images) == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert recalls(of_texts) == [0.25, 0.5, 1.0]
    assert (of_images.n_right.tolist(), of_images.n_pool, of_texts.n_pool) == ([2, 1, 1], 4, 3)
    assert retrieval.median_rank(of_images.rank) == 2
    assert retrieval.mean_reciprocal_rank(of_images.rank) == pytest.approx((1 + 1 / 4 + 1 / 2) / 3)


def test_equal_similarities_score_nothing_though_an_optimist_would_score_all():
    owner = np.array([0, 0, 1, 1, 2, 3])
    right = np.arange(4)[:, None] == owner
    same = np.full(right.shape, 0.3)
    for found in (retrieval.ranks(same, right), retrieval.ranks(same.T, right.T)):
        assert retrieval.recall_at_k(found.rank, 1) == 0.0
        assert found.tied_fraction == 1.0
        assert retrieval.recall_at_k(found.rank - found.tied, 1) == 1.0


@pytest.mark.parametrize("n_texts", [1, 3])
def test_a_constant_encoder_scores_0_at_every_k_below_the_number_of_wrong_items(n_texts):
    owner = np.repeat(np.arange(8), n_texts)
    one = np.full((1, 5), 5**-0.5)
    same, belonging = np.repeat(one, 8, axis=0), Belonging(owner, 8)
    of_images = retrieval.image_to_text(same, same[owner], belonging)
    of_texts = retrieval.text_to_image(same, same[owner], belonging)
    assert retrieval.recall_at_k(of_images.rank, 7 * n_texts) == retrieval.recall_at_k(of_texts.rank, 7) == 0.0
    assert retrieval.recall_at_k(of_images.rank, 7 * n_texts + 1) == 1.0


def test_the_chance_of_some_drawn_items_is_counted():
    for m, pool, k in [(1, 5, 2), (2, 5, 2), (3, 6, 4), (5, 5, 1)]:
        draws = list(combinations(range(pool), k))
        wanted = Fraction(sum(any(item < m for item in drawn) for drawn in draws), len(draws))
        assert retrieval.chance_at_k([m], pool, k) == pytest.approx(float(wanted), abs=1e-15)


def test_the_chance_of_one_right_item_is_k_of_the_pool_and_of_several_the_mean_over_queries():
    assert [retrieval.chance_at_k([1], 400, k) for k in (1, 5, 10, 40)] == pytest.approx([0.0025, 0.0125, 0.025, 0.1])
    assert retrieval.chance_at_k([1, 1, 2], 10, 3) == pytest.approx((0.3 + 0.3 + 1 - 56 / 120) / 3)
    assert retrieval.chance_at_k([2], 20_000, 40) == pytest.approx(1 - (19_960 * 19_959) / (20_000 * 19_999))
    assert retrieval.chance_at_k([1], 3, 10) == 1.0


def test_random_orders_score_what_chance_says():
    rng = np.random.default_rng(4)
    owner = np.repeat(np.arange(30), rng.integers(1, 5, 30))
    right = np.arange(30)[:, None] == owner
    n_right = right.sum(axis=1)
    got = [retrieval.recall_at_k(retrieval.ranks(rng.random(right.shape), right).rank, 5) for _ in range(300)]
    assert np.mean(got) == pytest.approx(retrieval.chance_at_k(n_right, len(owner), 5), abs=0.01)


@given(
    npst.arrays(np.int64, (5, 7), elements=st.integers(0, 3)),
    npst.arrays(np.bool_, (5, 7)),
    st.integers(0, 6),
)
def test_ranks_are_those_of_a_sorted_pool_whatever_is_tied(similarities, right, always):
    right[:, always] = True
    found = retrieval.ranks(similarities, right)
    assert found.rank.tolist() == by_sorting(similarities, right)
    wanted = [
        sum(not ok and s == max(np.array(row)[own]) for s, ok in zip(row, own, strict=True))
        for row, own in zip(similarities.tolist(), right, strict=True)
    ]
    assert found.tied.tolist() == wanted


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_images_and_of_texts_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    owner = np.append(np.arange(6), rng.integers(0, 6, 5))
    text, study = rng.integers(0, 7, len(owner)), rng.integers(0, 4, 6)
    images, texts = vectors(rng, 6), vectors(rng, len(owner))
    texts[3] = texts[8]  # a tie
    order, turn = rng.permutation(6), rng.permutation(len(owner))
    moved = np.argsort(order)[owner[turn]]
    plain = Belonging(owner, 6, text, study)
    other = Belonging(moved, 6, text[turn], study[order])
    of_images = retrieval.image_to_text(images, texts, plain)
    assert retrieval.image_to_text(images[order], texts[turn], other).rank.tolist() == of_images.rank[order].tolist()
    of_texts = retrieval.text_to_image(images, texts, plain)
    assert retrieval.text_to_image(images[order], texts[turn], other).rank.tolist() == of_texts.rank[turn].tolist()


@given(st.integers(0, 2**32 - 1))
def test_a_lenient_rank_is_never_worse_than_a_strict_one(seed):
    rng = np.random.default_rng(seed)
    owner = np.append(np.arange(6), rng.integers(0, 6, 5))
    images, texts = vectors(rng, 6), vectors(rng, len(owner))
    strict = Belonging(owner, 6)
    lenient = Belonging(owner, 6, rng.integers(0, 7, len(owner)), rng.integers(0, 4, 6))
    for direction in (retrieval.image_to_text, retrieval.text_to_image):
        assert (direction(images, texts, lenient).rank <= direction(images, texts, strict).rank).all()


def test_an_equal_text_and_an_image_of_the_same_study_are_right_where_one_is_lenient():
    equal = Belonging(OWNER, 3, text=np.array([0, 1, 1, 2]))  # the second text of image 0 is that of image 1
    assert equal.texts_of(IMAGES).tolist() == [[1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]
    study = Belonging(OWNER, 3, study=np.array([0, 1, 1]))
    assert study.texts_of(IMAGES).tolist() == [[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    for one in (equal, study, Belonging(OWNER, 3)):
        assert (one.images_of(TEXTS) == one.texts_of(IMAGES).T).all()


def test_ranks_in_blocks_are_those_of_the_whole_matrix(monkeypatch):
    rng = np.random.default_rng(0)
    images, texts = vectors(rng, 9), vectors(rng, 14)
    belonging = Belonging(np.append(np.arange(9), np.arange(5)), 9)
    whole = retrieval.image_to_text(images, texts, belonging)
    monkeypatch.setattr(retrieval, "CELLS", 30)
    sizes = []

    def right(numbers):
        sizes.append(len(numbers))
        return belonging.texts_of(numbers)

    blocks = retrieval.ranks_of_vectors(images, texts, right)
    assert sizes == [2, 2, 2, 2, 1]  # of 14 cosines each, at most 30 at once
    for name in ("rank", "tied", "n_right", "n_pool"):
        assert np.array_equal(getattr(blocks, name), getattr(whole, name))


@pytest.mark.parametrize(("less", "rank"), [(3e-7, 2), (3e-6, 1)])
def test_what_differs_beneath_the_sixth_digit_is_tied(less, rank):
    texts = np.array([[1.0], [1.0 - less]])  # of the image, and of another
    found = retrieval.image_to_text(np.array([[1.0], [0.0]]), texts, Belonging(np.array([0, 1]), 2))
    assert (found.rank[0], found.tied[0]) == (rank, rank - 1)


@given(npst.arrays(np.int64, 6, elements=st.integers(1, 9)), npst.arrays(np.int64, (4, 6), elements=st.integers(0, 3)))
def test_the_median_on_resamples_is_that_of_the_queries_written_out(rank, weights):
    found = retrieval.resampled_medians(rank, weights.astype(float))
    for counts, got in zip(weights, found.tolist(), strict=True):
        queries = np.repeat(rank, counts)
        assert got == retrieval.median_rank(queries) if len(queries) else np.isnan(got)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: retrieval.ranks(SIMILARITIES, RIGHT.T), r"of shape \(3, 4\) and right items of shape \(4, 3\)"),
        (lambda: retrieval.ranks([[np.nan, 1.0]], [[True, False]]), "found 1 similarities that are not numbers"),
        (lambda: retrieval.ranks([[1.0, 0.5]], [[False, False]]), "found 1 queries without a right item, such as nu"),
        (
            lambda: retrieval.image_to_text(np.eye(2), np.eye(3), Belonging(np.array([0, 1, 1]), 2)),
            r"shapes \(2, 2\) and \(3, 3\)",
        ),
        (
            lambda: retrieval.ranks_of_vectors(np.eye(2), np.zeros(2), lambda rows: np.ones((2, 2))),
            r"\(2, 2\) and \(2,\)",
        ),
        (
            lambda: retrieval.ranks_of_vectors(np.zeros(2), np.eye(2), lambda rows: np.ones((2, 2))),
            r"\(2,\) and \(2, 2\)",
        ),
        (lambda: retrieval.recall_at_k([1], 0), "found k = 0, wanted 1 or more"),
        (lambda: retrieval.chance_at_k([1], 4, 0), "found k = 0, wanted 1 or more"),
        (lambda: retrieval.chance_at_k([0, 2], 4, 1), "found 0 to 2 right items in a pool of 4"),
        (lambda: retrieval.chance_at_k([5], 4, 1), "found 5 to 5 right items in a pool of 4"),
    ],
)
def test_what_is_no_retrieval_is_refused(call, message):
    with pytest.raises(MetricInputError, match=message):
        call()


def test_without_a_query_nothing_is_defined():
    nothing = retrieval.ranks_of_vectors(np.zeros((0, 3)), np.eye(3), lambda rows: np.ones((len(rows), 3), bool))
    for metric in (
        lambda: retrieval.recall_at_k(nothing.rank, 1),
        lambda: retrieval.median_rank(nothing.rank),
        lambda: retrieval.mean_reciprocal_rank(nothing.rank),
        lambda: retrieval.chance_at_k(nothing.n_right, 3, 1),
    ):
        with pytest.raises(UndefinedMetricError, match="there is no query"):
            metric()
    with pytest.raises(UndefinedMetricError, match="no query has a wrong item"):
        _ = retrieval.ranks([[0.5]], [[True]]).tied_fraction
