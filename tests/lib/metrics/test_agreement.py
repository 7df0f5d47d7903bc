"""Claims about stages.lib.metrics.agreement."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from stages.lib.core.errors import MetricInputError, UndefinedMetricError
from stages.lib.metrics.agreement import MISSING, cohen_kappa, confusion, krippendorff_alpha

PASSES = [[18, 0, 0], [0, 0, 0], [0, 3, 6]]  # of the published study, rows and columns poor, partial, good
AS_WRITTEN = [[20, 0, 0], [1, 0, 0], [2, 3, 6]]  # with failures of the second pass hidden as poor
tables = st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), min_size=3, max_size=3).map(np.array)


def units(table):
    """Ratings of two passes with this confusion matrix, shape (2, n)."""
    pairs = [(row, column) for row in range(3) for column in range(3) for _ in range(table[row][column])]
    return np.array(pairs, np.int64).reshape(-1, 2).T


def test_the_published_passes_have_the_kappa_that_their_matrix_gives():
    assert cohen_kappa(PASSES) == pytest.approx(0.769231, abs=1e-6)
    assert cohen_kappa(PASSES, "quadratic") == pytest.approx(0.930233, abs=1e-6)
    assert cohen_kappa(AS_WRITTEN) == pytest.approx(0.612121, abs=1e-6)


def test_single_ratings_of_the_published_passes_change_nothing():
    single = np.full((2, 13), MISSING)
    single[0, :8] = [0, 0, 1, 2, 2, 0, 0, 1]
    single[1, 8:] = 2
    all_of_them = np.concatenate([units(PASSES), single], axis=1)
    assert all_of_them.shape == (2, 40)
    assert krippendorff_alpha(all_of_them, 3, "nominal") == pytest.approx(0.770563, abs=1e-6)
    assert krippendorff_alpha(units(PASSES), 3, "ordinal") == krippendorff_alpha(all_of_them, 3, "ordinal")


@given(tables)
def test_kappa_is_that_of_statsmodels(table):
    for weights, wt in (("none", None), ("linear", "linear"), ("quadratic", "quadratic")):
        try:
            found = cohen_kappa(table, weights)
        except UndefinedMetricError:
            sums = table.sum(axis=1), table.sum(axis=0)
            assert table.sum() == 0 or max(sums[0]) == max(sums[1]) == table.sum()
            continue
        assert found == pytest.approx(cohens_kappa(table, wt=wt, return_results=False), abs=1e-9)


def by_definition(ratings, distance):
    """Alpha as the mean distance within units over that of all pairable ratings, by going through pairs."""
    columns = [[value for value in column if value != MISSING] for column in ratings.T.tolist()]
    columns = [column for column in columns if len(column) > 1]
    everything = [value for column in columns for value in column]
    n = len(everything)
    observed = sum(sum(distance(a, b) for a, b in permutations(one, 2)) / (len(one) - 1) for one in columns) / n
    expected = sum(distance(a, b) for a, b in permutations(everything, 2)) / (n * (n - 1))
    return 1 - observed / expected


ratings = st.integers(1, 4).flatmap(
    lambda passes: st.lists(
        st.lists(st.integers(MISSING, 2), min_size=passes, max_size=passes), min_size=1, max_size=12
    ).map(lambda rows: np.array(rows).T)
)


@given(ratings)
def test_alpha_is_what_its_definition_over_pairs_says(found):
    kept = found[:, (found != MISSING).sum(axis=0) > 1]
    counts = [(kept == grade).sum() for grade in range(3)]

    def ordinal(a, b):
        low, high = min(a, b), max(a, b)
        return (sum(counts[low : high + 1]) - (counts[a] + counts[b]) / 2) ** 2

    for level, distance in (("nominal", lambda a, b: float(a != b)), ("ordinal", ordinal)):
        try:
            value = krippendorff_alpha(found, 3, level)
        except UndefinedMetricError:
            assert sum(count > 0 for count in counts) < 2
        else:
            assert value == pytest.approx(by_definition(found, distance), abs=1e-9)


@given(tables)
def test_a_confusion_matrix_comes_back_from_its_units(table):
    first, second = units(table)
    assert (confusion(first, second, 3) == table).all()


def test_what_cannot_be_is_refused():
    with pytest.raises(UndefinedMetricError, match="rated by both"):
        cohen_kappa(np.zeros((3, 3)))
    with pytest.raises(UndefinedMetricError, match="same grade"):
        cohen_kappa([[4, 0], [0, 0]])
    with pytest.raises(UndefinedMetricError, match="twice"):
        krippendorff_alpha([[0, MISSING], [MISSING, 1]], 2, "nominal")
    with pytest.raises(UndefinedMetricError, match="same grade"):
        krippendorff_alpha([[1, 1], [1, 1]], 2, "ordinal")
    with pytest.raises(MetricInputError, match="square"):
        cohen_kappa([[1, 2, 3]])
    with pytest.raises(MetricInputError, match="wanted 2"):
        confusion([0, 2], [0, 1], 2)
    with pytest.raises(MetricInputError, match="wanted 2"):
        krippendorff_alpha([[0, -2]], 2, "nominal")
    with pytest.raises(MetricInputError, match="by both"):
        confusion([0], [0, 1], 2)
