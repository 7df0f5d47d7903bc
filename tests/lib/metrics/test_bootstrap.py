"""Claims about stages.lib.metrics.bootstrap."""

import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from stages.lib.core.errors import MetricInputError, UndefinedMetricError
from stages.lib.metrics.binary import Ranking
from stages.lib.metrics.bootstrap import BLOCK, attempt, percentile, replicate, resamples, rescaled, two_sided_p, wilson


def area(ranking, weights):
    return {"roc_auc": attempt(ranking.roc_auc, weights)}


def mean(values, weights):
    return {"mean": float(np.dot(values, weights) / weights.sum())}


def test_images_of_one_patient_are_drawn_together_or_not_at_all():
    patients = np.array(["a", "b", "a", "c", "b"])
    seen = []
    replicate(lambda weights: seen.append(weights.copy()) or {}, patients, draws=50, seed=0)
    assert len(seen) == 50
    assert all(w[0] == w[2] and w[1] == w[4] for w in seen)
    assert all(w[0] + w[1] + w[3] == 3 for w in seen)
    assert len({tuple(w) for w in seen}) > 5


def test_the_same_seed_gives_the_same_draws_and_another_seed_others():
    values, patients = np.arange(20.0), np.arange(20)
    first, again, other = (replicate(partial(mean, values), patients, draws=30, seed=s)["mean"] for s in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_the_spread_of_a_mean_is_the_one_of_theory():
    values = np.random.default_rng(0).normal(size=400)
    draws = replicate(partial(mean, values), np.arange(400), draws=2000, seed=0)["mean"]
    assert draws.std() == pytest.approx(values.std() / 20, rel=0.06)


def test_undefined_resamples_are_skipped_and_counted():
    ranking = Ranking([1, 0, 0, 0], [0.9, 0.1, 0.2, 0.3])
    draws = replicate(partial(area, ranking), np.arange(4), draws=500, seed=0)["roc_auc"]
    low, high, skipped = percentile(draws, 0.95)
    assert skipped == pytest.approx(500 * (0.75**4 + 0.25**4), abs=45) and skipped > 0
    assert low == high == 1.0


def test_a_metric_that_no_resample_defines_has_no_interval():
    assert percentile(np.full(7, np.nan), 0.95) == (None, None, 7)


def test_two_thousand_draws_of_a_published_test_split_take_seconds():
    rng = np.random.default_rng(0)
    labels = (rng.random(9460) < 0.043).astype(int)
    ranking = Ranking(labels, rng.normal(size=9460) + labels)

    def both(weights):
        return {"a": ranking.roc_auc(weights), "b": ranking.average_precision(weights)}

    began = time.process_time()
    draws = replicate(both, rng.integers(0, 4600, 9460), draws=200, seed=0)
    assert len(draws["a"]) == 200
    assert time.process_time() - began < 1.5  # a tenth of the draws; 10 s in all at the very worst


@pytest.mark.slow
def test_the_patient_interval_covers_the_true_area_and_the_image_interval_does_not():
    truth = _population(np.random.default_rng(99), 20000)
    true_area = Ranking(*truth[:2]).roc_auc()
    covered = {"patients": 0, "images": 0}
    studies = 150
    for number in range(studies):
        labels, scores, patients = _population(np.random.default_rng(number), 60)
        ranking = Ranking(labels, scores)
        for unit, groups in (("patients", patients), ("images", np.arange(len(labels)))):
            draws = replicate(partial(area, ranking), groups, draws=400, seed=number)["roc_auc"]
            low, high, _ = percentile(draws, 0.95)
            covered[unit] += low <= true_area <= high
    assert covered["patients"] / studies > 0.89
    assert covered["images"] / studies < 0.85


def _population(rng, patients):
    """Images of patients, four each, that share a label and most of what makes their score."""
    labels = np.repeat(rng.integers(0, 2, patients), 4)
    shared = np.repeat(rng.normal(size=patients), 4)
    return labels, labels + shared + 0.4 * rng.normal(size=4 * patients), np.repeat(np.arange(patients), 4)


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (5, 5), (1, 7), (147, 406), (8808, 9054)])
def test_wilson_agrees_with_statsmodels(successes, trials):
    expected = proportion_confint(successes, trials, alpha=0.05, method="wilson")
    assert wilson(successes, trials, 0.95) == pytest.approx(expected, abs=1e-12)


def test_wilson_refuses_no_trial_and_more_successes_than_trials():
    with pytest.raises(UndefinedMetricError, match="no trial"):
        wilson(0, 0, 0.95)
    with pytest.raises(MetricInputError, match="5 successes in 4"):
        wilson(5, 4, 0.95)


@pytest.mark.parametrize("draws", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7])
def test_as_many_resamples_are_drawn_as_were_asked_for_and_the_first_ones_do_not_depend_on_how_many(draws):
    patients = np.array(["a", "b", "b"])
    drawn = np.concatenate(list(resamples(patients, draws=draws, seed=4)))
    assert drawn.shape == (draws, 3)
    more = np.concatenate(list(resamples(patients, draws=draws + BLOCK, seed=4)))
    assert np.array_equal(more[:draws], drawn)
    assert len(replicate(partial(mean, np.arange(3.0)), patients, draws=draws, seed=4)["mean"]) == draws


def test_of_no_patient_nothing_is_drawn():
    assert list(resamples(np.zeros(0, str), draws=3, seed=0)) == []
    assert replicate(lambda weights: {"n": 1.0}, np.zeros(0, str), draws=3, seed=0) == {}


@pytest.mark.parametrize(
    ("values", "p"),
    [
        ([0.5] * 19, 2 / 20),  # none on the other side of 0: 2 / (draws + 1)
        ([0.5] * 18 + [-0.5], 4 / 20),
        ([0.5] * 8 + [0.0], 4 / 10),  # a difference of 0 is on both sides
        ([0.5] * 8 + [np.nan, np.nan, 0.25], 2 / 10),
        ([0.0] * 3, 1.0),
    ],
)
def test_p_of_a_difference_by_hand_whatever_its_sign(values, p):
    assert two_sided_p(np.array(values)) == two_sided_p(-np.array(values)) == pytest.approx(p)


def test_a_difference_that_no_resample_defines_has_no_p():
    with pytest.raises(UndefinedMetricError, match="on every resample"):
        two_sided_p(np.full(4, np.nan))


def one_by_one(patients, draws, seed):
    """Resamples of patients as they were drawn before they were drawn in blocks."""
    names, patient = np.unique(patients, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(len(names), size=len(names)) for _ in range(draws)]
    return np.stack([np.bincount(one, minlength=len(names))[patient] for one in drawn])


@given(st.lists(st.integers(0, 300), min_size=1, max_size=300), st.integers(1, 230), st.integers(0, 99))
@settings(max_examples=30)
def test_resamples_drawn_in_blocks_are_those_drawn_one_by_one(patients, draws, seed):
    found = np.concatenate(list(resamples(np.array(patients), draws=draws, seed=seed)))
    assert (found == one_by_one(np.array(patients), draws, seed)).all()


def test_of_each_stratum_as_many_cases_are_drawn_as_it_has_and_images_of_a_case_move_together():
    cases = np.array(["c", "a", "a", "b", "d", "e", "e"])
    strata = np.array(["x", "x", "x", "x", "y", "y", "y"])
    drawn = np.concatenate(list(resamples(cases, draws=500, seed=2, strata=strata)))
    assert (drawn[:, 1] == drawn[:, 2]).all()
    assert (drawn[:, 5] == drawn[:, 6]).all()
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert (drawn[:, [4, 5]].sum(axis=1) == 2).all()
    assert drawn.std(axis=0).min() > 0
    assert drawn.mean(axis=0) == pytest.approx(1, abs=0.15)


def test_an_interval_by_strata_is_narrower_where_strata_differ():
    strata = np.repeat(["x", "y"], 40)
    values = np.repeat([0.0, 1.0], 40)
    widths = []
    for given_strata in (None, strata):
        drawn = np.concatenate(list(resamples(np.arange(80), draws=300, seed=1, strata=given_strata)))
        widths.append(np.ptp(drawn @ values / 80))
    assert widths[1] == 0 < widths[0]


def test_a_case_in_two_strata_is_refused():
    with pytest.raises(MetricInputError, match="'a'"):
        list(resamples(np.array(["a", "a"]), draws=1, seed=1, strata=np.array(["x", "y"])))


def test_rescaled_resamples_of_small_strata_vary_as_the_stratified_mean_does() -> None:
    rng = np.random.default_rng(4)
    strata = np.repeat(np.arange(10), 3)
    values = rng.normal(size=30) + 2 * strata
    weights = rescaled(np.arange(30), strata, draws=20_000, seed=2)
    assert np.allclose(weights.sum(axis=1), 30)
    wanted = np.sqrt(sum(values[strata == s].var(ddof=1) / 3 * (3 / 30) ** 2 for s in range(10)))
    assert (weights @ values / 30).std() == pytest.approx(wanted, rel=0.02)
    plain = np.concatenate(list(resamples(np.arange(30), draws=20_000, seed=2, strata=strata)))
    assert (plain @ values / 30).std() == pytest.approx(wanted * np.sqrt(2 / 3), rel=0.02)


def test_rescaled_resamples_draw_patients_and_take_strata_of_one_together() -> None:
    patients, strata = np.array(["a", "a", "b", "c", "d"]), np.array(["x", "x", "y", "z", "z"])
    weights = rescaled(patients, strata, draws=200, seed=3)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert np.allclose(weights[:, 0] + weights[:, 2], 2)  # a and b: each alone in its stratum
    assert weights[:, 0].std() > 0 and np.allclose(weights[:, 3] + weights[:, 4], 2)
    assert (rescaled(patients, strata, draws=200, seed=3) == weights).all()
    with pytest.raises(MetricInputError, match="more than one stratum"):
        rescaled(np.array(["a", "a"]), np.array(["x", "y"]), draws=2, seed=1)
    assert rescaled(np.array(["a"]), np.array(["x"]), draws=2, seed=1).tolist() == [[1.0], [1.0]]
