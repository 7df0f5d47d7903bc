"""Claims about stages.lib.metrics.power and the exact tests of comparison."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as other_mcnemar

from stages.lib.core.errors import MetricInputError, UndefinedMetricError
from stages.lib.metrics.bootstrap import wilson
from stages.lib.metrics.comparison import fisher, mcnemar
from stages.lib.metrics.power import cases_for_power, mcnemar_power

PUBLISHED = (1 / 13, 3 / 13)  # only the first, only the second good


@pytest.mark.parametrize(("n", "wanted"), [(20, 0.11), (50, 0.42), (100, 0.76), (200, 0.98)])
def test_power_at_the_published_discordant_fractions(n, wanted):
    assert mcnemar_power(n, *PUBLISHED, alpha=0.05) == pytest.approx(wanted, abs=0.03)


def test_power_is_the_fraction_of_simulated_studies_that_find_the_difference():
    rng = np.random.default_rng(3)
    drawn = rng.multinomial(60, [0.05, 0.25, 0.7], size=4000)
    found = np.mean([mcnemar(int(first), int(second)) <= 0.05 for first, second, _ in drawn])
    assert mcnemar_power(60, 0.05, 0.25, alpha=0.05) == pytest.approx(found, abs=0.02)


@settings(max_examples=20)
@given(st.integers(1, 14), st.floats(0, 0.5), st.floats(0, 0.5), st.sampled_from([0.01, 0.05, 0.2]))
def test_power_is_the_sum_over_all_outcomes(n, one, other, alpha):
    from scipy.stats import multinomial

    cells = [(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)]
    chances = multinomial.pmf(cells, n, [one, other, 1 - one - other])
    by_hand = sum(p for (a, b, _), p in zip(cells, chances, strict=True) if mcnemar(a, b) <= alpha)
    assert mcnemar_power(n, one, other, alpha=alpha) == pytest.approx(by_hand, abs=1e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_power_is_that_sum_with_many_discordant_pairs_too(alpha):
    from scipy.stats import binom

    n, first, second = 60, 0.3, 0.45
    pairs = np.arange(n + 1)
    found = [sum(binom.pmf(a, d, 0.4) for a in range(d + 1) if mcnemar(a, d - a) <= alpha) for d in pairs.tolist()]
    assert mcnemar_power(n, first, second, alpha=alpha) == pytest.approx(binom.pmf(pairs, n, 0.75) @ found, abs=1e-9)


def test_the_number_of_cases_has_the_power_and_one_case_fewer_has_not():
    n = cases_for_power(*PUBLISHED, power=0.8, alpha=0.05, most=2000)
    assert 100 < n < 125
    assert mcnemar_power(n, *PUBLISHED, alpha=0.05) >= 0.8 > mcnemar_power(n - 1, *PUBLISHED, alpha=0.05)


def test_where_no_number_of_cases_is_enough_it_is_said():
    with pytest.raises(UndefinedMetricError, match="as many cases"):
        cases_for_power(0.1, 0.1, power=0.8, alpha=0.05, most=100)
    with pytest.raises(UndefinedMetricError, match="more than 100"):
        cases_for_power(0.10, 0.11, power=0.8, alpha=0.05, most=100)
    with pytest.raises(MetricInputError, match="at most 1"):
        mcnemar_power(10, 0.7, 0.6, alpha=0.05)
    assert mcnemar_power(10, 0.0, 0.0, alpha=0.05) == 0


@pytest.mark.parametrize(
    ("only", "p"), [((1, 3), 0.625), ((2, 5), 0.453125), ((0, 4), 0.125), ((0, 5), 0.0625), ((0, 0), 1.0)]
)
def test_mcnemar_of_the_published_passes(only, p):
    assert mcnemar(*only) == pytest.approx(p, abs=1e-9)
    table = [[5, only[0]], [only[1], 5]]
    assert other_mcnemar(table, exact=True).pvalue == pytest.approx(p, abs=1e-9)


@pytest.mark.parametrize(
    ("successes", "trials", "ends"),
    [(4, 16, (0.1018, 0.4950)), (7, 16, (0.2310, 0.6682)), (1, 17, (0.0105, 0.2698)), (6, 18, (0.1628, 0.5625))],
)
def test_wilson_s_intervals_of_the_published_passes(successes, trials, ends):
    assert wilson(successes, trials, 0.95) == pytest.approx(ends, abs=5e-5)


def test_fisher_s_test_of_the_published_pass_and_what_it_refuses():
    assert fisher((4, 16), (7, 16)) == pytest.approx(0.457794, abs=1e-6)
    assert fisher((0, 5), (5, 5)) == pytest.approx(2 / 252)
    with pytest.raises(MetricInputError, match="3 successes in 2"):
        fisher((3, 2), (0, 1))
