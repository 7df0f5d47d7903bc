"""Claims about stages.lib.metrics.judge_audits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics import judge_audits as audits
from stages.lib.metrics.audits import Settings
from stages.lib.metrics.judge_audits import Limits
from stages.lib.metrics.measures import Estimate

SETTINGS = Settings(draws=200, seed=1, confidence=0.95)
LIMITS = Limits(min_cases=5, min_agreement=0.8, min_expected=0.9, max_grade_change=0.1, max_length_excess=0.1)
GRADES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=40)


def cases(n: int) -> np.ndarray:
    return np.array([f"c{number:03}" for number in range(n)])


def test_the_fraction_that_is_as_expected_has_both_intervals():
    found = audits.expected(cases(10), np.array([True] * 9 + [False]), SETTINGS)[audits.EXPECTED]
    assert (found.value, found.n, found.n_patients) == (0.9, 10, 10)
    assert found.low <= 0.9 <= found.high
    assert found.wilson_low == pytest.approx(0.5958, abs=1e-4)


def test_agreement_of_the_published_passes_is_that_of_the_issue():
    table = [[18, 0, 0], [0, 0, 0], [0, 3, 6]]
    pairs = [(a, b) for a in range(3) for b in range(3) for _ in range(table[a][b])]
    first, second = np.array(pairs).T
    found = audits.agreement(cases(27), first, second, SETTINGS)
    assert found[audits.AGREEMENT].value == pytest.approx(24 / 27)
    assert found[audits.KAPPA].value == pytest.approx(0.930233, abs=1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of statsmodels, where one rating is all there is
@settings(deadline=None)  # the first import of statsmodels is slow
@given(GRADES)
def test_quadratic_kappa_is_that_of_statsmodels(pairs):
    from statsmodels.stats.inter_rater import cohens_kappa

    first, second = np.array(pairs).T
    found = audits.agreement(cases(len(first)), first, second, Settings(draws=0, seed=1, confidence=0.95))
    table = np.zeros((3, 3))
    np.add.at(table, (first, second), 1)
    if len(set(first)) == len(set(second)) == 1:
        return
    wanted = cohens_kappa(table, wt="quadratic").kappa
    assert found[audits.KAPPA].value == pytest.approx(wanted, abs=1e-9)


def test_two_passes_that_never_vary_have_no_kappa_and_say_why():
    found = audits.agreement(cases(6), np.zeros(6, np.int64), np.zeros(6, np.int64), SETTINGS)
    assert found[audits.AGREEMENT].value == 1
    assert found[audits.KAPPA].value is None
    assert "same grade" in found[audits.KAPPA].reason


def test_ranks_are_those_of_scipy():
    from scipy.stats import rankdata

    values = np.random.default_rng(1).integers(0, 5, 50)
    assert audits.ranks(values).tolist() == rankdata(values).tolist()


def test_the_partial_correlation_is_that_of_the_residuals_of_two_regressions():
    rng = np.random.default_rng(2)
    z = rng.normal(size=60)
    x, y = z + rng.normal(size=60), rng.normal(size=60) - z
    design = np.stack([np.ones(60), z], axis=1)
    rest = [one - design @ np.linalg.lstsq(design, one, rcond=None)[0] for one in (x, y)]
    wanted = np.corrcoef(rest)[0, 1]
    assert audits.partial_correlation(np.stack([x, y, z]), np.ones(60)) == pytest.approx(wanted)


def test_weights_count_as_so_many_answers():
    values = np.random.default_rng(3).normal(size=(3, 8))
    weights = np.array([0, 1, 2, 3, 1, 1, 0, 2])
    repeated = np.repeat(values, weights, axis=1)
    assert audits.partial_correlation(values, weights) == pytest.approx(
        audits.partial_correlation(repeated, np.ones(repeated.shape[1]))
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[1, 1, 1], [1, 2, 3], [1, 3, 2]], "same rating"),
        ([[1, 2, 3], [1, 1, 1], [1, 3, 2]], "same length"),
        ([[1, 2, 3], [1, 3, 2], [1, 1, 1]], "same finding F1"),
        ([[1, 2, 3], [1, 3, 2], [1, 2, 3]], "finding F1 decides"),
    ],
)
def test_a_correlation_without_a_value_says_why(values, said):
    with pytest.raises(UndefinedMetricError, match=said):
        audits.partial_correlation(np.array(values, float), np.ones(3))


def drawn(bonus: bool) -> dict:
    """120 answers whose grade by rules goes with F1 and with something that the length has too."""
    rng = np.random.default_rng(4)
    words, f1 = rng.integers(5, 120, 120), rng.choice([0.0, 0.5, 1.0], 120)
    rules = np.clip(np.rint(2 * f1 + (words > 90) * (rng.random(120) < 0.4)), 0, 2).astype(np.int64)
    grades = np.clip(rules + (words > 60) * bonus, 0, 2)
    return audits.length(cases(120), grades, rules, words, f1, SETTINGS)


def test_a_judge_that_adds_a_grade_for_length_is_told_from_rules_whose_ratings_happen_to_go_with_it():
    fair, wrong = drawn(False), drawn(True)
    assert fair[audits.LENGTH].low > 0, "the correlation alone would name rules too"
    assert fair[audits.LENGTH_EXCESS].value == 0
    assert audits.independent(fair[audits.LENGTH_EXCESS], LIMITS).outcome == "pass"
    verdict = audits.independent(wrong[audits.LENGTH_EXCESS], LIMITS)
    assert verdict.outcome == "fail"
    assert "longer" in verdict.reason


def test_all_judgements_of_a_case_are_drawn_together():
    change = np.tile([0, 1, 1, 0, 1], 10)
    alone = audits.change(cases(50), np.zeros(50, np.int64), change, SETTINGS)[audits.GRADE_CHANGE]
    together = audits.change(np.tile(cases(5), 10), np.zeros(50, np.int64), change, SETTINGS)[audits.GRADE_CHANGE]
    assert alone.value == together.value == 0.6
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_change_and_a_difference_are_of_the_same_answers():
    before, after = np.array([1, 1, 2, 0]), np.array([2, 1, 2, 2])
    assert audits.change(cases(4), before, after, SETTINGS)[audits.GRADE_CHANGE].value == 0.75
    assert audits.difference(cases(4), after == 2, before == 2, SETTINGS)[audits.GOOD_DIFFERENCE].value == 0.5


def made(value: float | None, low: float | None, high: float | None, n: int = 20) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=n, n_patients=n, reason="why" if value is None else None)


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (audits.as_expected(made(0.9, 0.8, 1), LIMITS, what="x"), "pass"),
        (audits.as_expected(made(0.89, 0.8, 1), LIMITS, what="x"), "fail"),
        (audits.as_expected(made(0.0, 0, 0, n=4), LIMITS, what="x"), "null"),
        (audits.as_expected(made(None, 0, 0), LIMITS, what="x"), "null"),
        (audits.consistent(made(0.8, 0.7, 0.9), LIMITS), "pass"),
        (audits.consistent(made(0.79, 0.7, 0.9), LIMITS), "fail"),
        (audits.consistent(made(0.79, 0.7, 0.9), LIMITS, floor=True), "null"),
        (audits.unmoved(made(0.1, 0.05, 0.2), LIMITS), "pass"),
        (audits.unmoved(made(0.11, 0.05, 0.2), LIMITS), "fail"),
        (audits.unmoved(made(-0.5, -0.8, -0.2), LIMITS), "fail"),
        (audits.unmoved(made(0.5, -0.1, 0.9), LIMITS), "pass"),
        (audits.independent(made(-0.3, -0.4, -0.2), LIMITS), "fail"),
        (audits.independent(made(0.1, 0.05, 0.3), LIMITS), "pass"),
        (audits.impartial(made(0.3, 0.1, 0.5), LIMITS, common="Google"), "fail"),
        (audits.impartial(made(0.3, 0.0, 0.5), LIMITS, common="Google"), "pass"),
        (audits.impartial(made(0.3, 0.1, 0.5, n=2), LIMITS, common="Google"), "null"),
        (audits.as_expected(made(0.95, 0.9, 1, n=4), LIMITS, what="x"), "null"),
        (audits.as_expected(made(0.95, 0.9, 1, n=5), LIMITS, what="x"), "pass"),
        (audits.consistent(made(0.9, 0.7, 1, n=4), LIMITS), "null"),
        (audits.unmoved(made(0.5, 0.2, 0.9, n=4), LIMITS), "null"),
        (audits.independent(made(0.5, 0.2, 0.9, n=4), LIMITS), "null"),
        (audits.unmoved(made(0.5, None, None), LIMITS), "null"),
        (audits.independent(made(0.5, None, None), LIMITS), "null"),
        (audits.impartial(made(0.5, None, None), LIMITS, common="Google"), "null"),
        (audits.unmoved(made(0.5, 0.0, 0.9), LIMITS), "pass"),
        (audits.unmoved(made(-0.5, -0.9, 0.0), LIMITS), "pass"),
        (audits.independent(made(0.5, 0.0, 0.9), LIMITS), "pass"),
        (audits.independent(made(-0.5, -0.9, 0.0), LIMITS), "pass"),
    ],
)
def test_each_outcome_is_decided_by_its_limit(verdict, outcome):
    assert verdict.outcome == outcome
    assert verdict.reason
