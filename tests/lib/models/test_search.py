"""Claims about stages.lib.models.search."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core.errors import PoolError
from stages.lib.models import search


def units(rng, n, d=8):
    rows = rng.normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def by_sorting(queries, pool, k, blocked=()):
    """Second implementation: all cosines in float64, sorted one query at a time."""
    places = []
    for number, query in enumerate(queries.astype(float)):
        cosines = [round(float(query @ item), search.DIGITS) for item in pool.astype(float)]
        allowed = [place for place in range(len(pool)) if (number, place) not in blocked]
        places.append(sorted(allowed, key=lambda place: (-cosines[place], place))[:k])
    return places


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 40), st.booleans())
def test_it_finds_what_sorting_finds_whatever_the_chunks(seed, k, chunk, tied):
    rng = np.random.default_rng(seed)
    queries, pool = units(rng, 4), units(rng, 30)
    if tied:
        pool = pool[rng.integers(0, 5, 30)]  # five vectors, each several times
    blocked = {(int(q), int(p)) for q, p in zip(rng.integers(0, 4, 6), rng.integers(0, 30, 6), strict=True)}
    found = search.search(queries, pool, k, blocked=sorted(blocked), chunk=chunk)
    assert found.places.tolist() == by_sorting(queries, pool, k, blocked)


@pytest.mark.parametrize("spare", [0, 1, 64])
@pytest.mark.parametrize("chunk", [7, 100, 1000])
def test_few_candidates_give_the_same_as_all(monkeypatch, spare, chunk):
    rng = np.random.default_rng(1)
    queries, pool = units(rng, 20), units(rng, 300)
    pool[100:150] = pool[50:100]
    wanted = by_sorting(queries, pool, 12)
    monkeypatch.setattr(search, "SPARE", spare)
    monkeypatch.setattr(search, "QUERIES", 7)
    found = search.search(queries, pool, 12, chunk=chunk)
    assert found.places.tolist() == wanted
    cosines = np.take_along_axis(queries.astype(float) @ pool.astype(float).T, found.places, axis=1)
    np.testing.assert_allclose(found.similarities, cosines, atol=1e-6)


def test_an_encoder_that_gives_one_vector_to_everything_finds_the_first_ids():
    pool = np.repeat(units(np.random.default_rng(2), 1), 500, axis=0)
    found = search.search(pool[:3], pool, 4, chunk=90)
    assert found.places.tolist() == [[0, 1, 2, 3]] * 3
    assert set(found.similarities.ravel().tolist()) == {1.0}
    some = search.search(pool[:3], pool, 4, blocked=[[1, 0], [1, 2]], chunk=90)
    assert some.places.tolist() == [[0, 1, 2, 3], [1, 3, 4, 5], [0, 1, 2, 3]]


def test_the_order_of_the_queries_changes_nothing():
    rng = np.random.default_rng(3)
    queries, pool = units(rng, 9), units(rng, 50)
    order = rng.permutation(9)
    whole = search.search(queries, pool, 5)
    turned = search.search(queries[order], pool, 5)
    assert turned.places.tolist() == whole.places[order].tolist()
    assert turned.similarities.tolist() == whole.similarities[order].tolist()


def test_no_query_finds_nothing():
    assert search.search(np.zeros((0, 4)), np.eye(4), 2).places.shape == (0, 2)


EYE = np.eye(3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: search.search(EYE, EYE, 4), "found 4, wanted at most 3: there are no more in the pool"),
        (lambda: search.search(EYE, EYE, 0), "found 0, wanted 1 or more"),
        (
            lambda: search.search(EYE, EYE, 3, blocked=[[1, 0], [1, 0]]),
            "found 3, wanted at most 2: of 3 in the pool query 1 may find no more",
        ),
        (lambda: search.search(EYE, EYE, 1, blocked=[[0, 3]]), "pairs beyond 3 queries and 3 items"),
        (lambda: search.search(EYE, 2 * EYE, 1), "found 3 vectors that are not of length 1, such as number 0: 2"),
        (lambda: search.search(EYE * np.nan, EYE, 1), "queries:\n.*found 3 vectors that are not of length 1"),
        (lambda: search.search(EYE, np.eye(2), 1), "widths 3 and 2"),
        (lambda: search.search(EYE[0], EYE, 1), r"vectors of shape \(3,\), wanted \(n, d\)"),
    ],
)
def test_what_cannot_be_searched_is_refused(call, message):
    with pytest.raises(PoolError, match=message):
        call()
