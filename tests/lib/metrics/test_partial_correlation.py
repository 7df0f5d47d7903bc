"""Claims about stages.lib.metrics.partial_correlation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from stages.lib.core.errors import MetricInputError, UndefinedMetricError
from stages.lib.metrics.partial_correlation import partial_spearman


@given(st.integers(0, 1000), st.integers(15, 40))
def test_it_is_the_formula_of_three_rank_correlations(seed, n):
    rng = np.random.default_rng(seed)
    held = rng.normal(size=n)
    first, second = rng.normal(size=n) + held, rng.integers(0, 3, size=n) + held
    ab, ac, bc = (spearmanr(*pair).statistic for pair in ((first, second), (first, held), (second, held)))
    wanted = (ab - ac * bc) / np.sqrt((1 - ac**2) * (1 - bc**2))
    assert partial_spearman(first, second, held).value == pytest.approx(wanted, abs=1e-6)


def test_a_common_cause_is_taken_out_and_an_effect_is_not():
    rng = np.random.default_rng(1)
    held = rng.normal(size=400)
    first, second = (held + rng.normal(size=400) for _ in range(2))
    assert spearmanr(first, second).pvalue < 1e-6
    assert partial_spearman(first, second, held).p > 0.05
    assert partial_spearman(first, second + first, held).p < 1e-6


def test_without_anything_held_it_is_spearman_s_and_p_is_near():
    rng = np.random.default_rng(2)
    first = rng.normal(size=50)
    second = first + 3 * rng.normal(size=50)
    found = partial_spearman(first, second, np.zeros(50))
    assert found.value == pytest.approx(spearmanr(first, second).statistic)
    assert found.p == pytest.approx(spearmanr(first, second).pvalue, abs=0.01)
    assert found.n == 50


def test_what_is_undefined_is_said():
    some = np.arange(6.0)
    with pytest.raises(UndefinedMetricError, match="does not vary"):
        partial_spearman(np.ones(6), some, np.zeros(6))
    with pytest.raises(UndefinedMetricError, match="does not vary"):
        partial_spearman(some, rankdata(-some), some)
    with pytest.raises(UndefinedMetricError, match="four"):
        partial_spearman([1, 2, 3], [1, 2, 3], [3, 1, 2])
    with pytest.raises(MetricInputError, match="finite"):
        partial_spearman([1, 2, 3, np.nan], some[:4], some[:4])
    assert partial_spearman(some, some, [1, 0, 1, 0, 0, 1]).p == 0
