"""Claims about the rule that chooses a model, and about the front of cost and worth."""

import numpy as np
import pytest

from stages.lib.core.errors import MetricInputError, UndefinedMetricError
from stages.lib.metrics.binary import Ranking, average_precision, average_precisions
from stages.lib.metrics.bootstrap import resamples
from stages.lib.metrics.choosing import Candidate, Priced, choose, front, price, standard_error

LABELS = np.array([0, 0, 0, 1] * 15)
PATIENTS = np.array([f"p{number // 2}" for number in range(len(LABELS))])
PERFECT = LABELS * 0.5 + 0.25
RANDOM = np.random.default_rng(3).random(len(LABELS))
POOR = np.random.default_rng(4).permutation(np.linspace(0.1, 0.9, len(LABELS)))


def wrong(*images):
    """Perfect but for some negative images that score as the positive ones do."""
    scores = PERFECT.copy()
    scores[list(images)] = PERFECT.max()
    return scores


# Ten tables: rows of (name, scores, operations, why barred), standard errors allowed, and the row that is taken.
TABLES = {
    "one row": ([("a", POOR, 1.0, "")], 1.0, "a"),
    "clearly better, and dear": ([("good", PERFECT, 9.0, ""), ("poor", POOR, 1.0, "")], 1.0, "good"),
    "equal scores, the second cheaper": ([("a", PERFECT, 9.0, ""), ("b", PERFECT, 1.0, "")], 1.0, "b"),
    "equal ranks, the first cheaper": ([("a", PERFECT, 1.0, ""), ("b", PERFECT**3, 9.0, "")], 1.0, "a"),
    "within one error": ([("a", wrong(0), 9.0, ""), ("b", wrong(8, 16), 1.0, "")], 1.0, "b"),
    "within one error, but none is allowed": ([("a", wrong(0), 9.0, ""), ("b", wrong(8, 16), 1.0, "")], 0.0, "a"),
    "the cheaper one's operations are not known": ([("a", wrong(0), 9.0, ""), ("b", wrong(8, 16), None, "")], 1.0, "a"),
    "no operations are known": ([("a", wrong(0), None, ""), ("b", PERFECT, None, "")], 1.0, "b"),
    "the best is barred": ([("a", PERFECT, 0.5, "seen"), ("b", wrong(0), 9.0, ""), ("c", POOR, 1.0, "")], 1.0, "b"),
    "the same in everything": ([("a", PERFECT, 1.0, ""), ("b", PERFECT, 1.0, "")], 1.0, "a"),
}


def chosen(rows, allowed=1.0, **changes):
    candidates = [Candidate(name=n, scores=s, operations=o, barred=why) for n, s, o, why in rows]
    setting = {"standard_errors": allowed, "draws": 200, "seed": 1, "confidence": 0.95} | changes
    return choose(LABELS, PATIENTS, candidates, **setting)


@pytest.mark.parametrize("name", TABLES)
def test_the_cheapest_of_the_tied_rows_is_taken(name):
    rows, allowed, wanted = TABLES[name]
    assert chosen(rows, allowed).chosen == wanted


def test_a_barred_row_is_shown_before_the_best_and_never_tied():
    found = chosen([("a", PERFECT, 0.5, "seen"), ("b", wrong(0), 9.0, "")])
    first, second = found.standings
    assert found.best == "b"
    assert first.behind < 0
    assert not first.tied
    assert second.behind == 0.0


def test_no_row_is_taken_where_all_are_barred():
    found = chosen([("a", PERFECT, 0.5, "seen")])
    assert (found.best, found.chosen) == (None, None)
    assert found.standings[0].average_precision == 1.0
    assert found.standings[0].behind is None


def test_the_error_is_that_of_differences_on_the_same_resamples():
    found = chosen([("a", PERFECT, 9.0, ""), ("b", RANDOM, 1.0, "")])
    differences = []
    for block in resamples(PATIENTS, draws=200, seed=1):
        for weights in block:
            repeated = np.repeat(np.arange(len(LABELS)), weights)
            if 0 < LABELS[repeated].sum() < len(repeated):
                values = (average_precision(LABELS[repeated], scores[repeated]) for scores in (PERFECT, RANDOM))
                differences.append(np.subtract(*values))
    assert found.standings[1].standard_error == pytest.approx(np.std(differences, ddof=1))
    assert found.standings[0].standard_error == 0.0


def test_rows_are_paired_so_that_what_they_share_cancels_out():
    """Two poor rows that differ in one image are told apart, though the interval of each is wide."""
    better = POOR.copy()
    better[LABELS == 1] += 1e-9
    found = chosen([("a", POOR, 1.0, ""), ("b", better, 9.0, "")])
    assert found.standings[1].high - found.standings[1].low > 0.1
    assert found.standings[0].standard_error < 0.02


def test_the_order_of_the_images_changes_nothing():
    rows = [("a", PERFECT, 9.0, ""), ("b", RANDOM, 1.0, "")]
    order = np.random.default_rng(1).permutation(len(LABELS))
    candidates = [Candidate(name=n, scores=s[order], operations=o, barred=why) for n, s, o, why in rows]
    setting = {"standard_errors": 1.0, "draws": 200, "seed": 1, "confidence": 0.95}
    again = choose(LABELS[order], PATIENTS[order], candidates, **setting)
    assert again.standings[1].standard_error == pytest.approx(chosen(rows).standings[1].standard_error)


def test_a_score_that_is_not_finite_is_refused_with_the_name_of_its_row():
    with pytest.raises(MetricInputError, match=r"^odd: 1 of 60 scores are not finite"):
        chosen([("odd", np.where(np.arange(60) == 3, np.nan, RANDOM), 1.0, "")])


def test_one_class_has_no_choice():
    candidate = Candidate(name="a", scores=RANDOM, operations=1.0)
    with pytest.raises(UndefinedMetricError, match="no image has a nodule"):
        choose(LABELS * 0, PATIENTS, [candidate], standard_errors=1.0, draws=5, seed=1, confidence=0.95)


def test_one_resample_has_no_standard_error():
    assert standard_error(np.array([0.5, np.nan])) is None


def test_the_front_is_what_comparing_all_pairs_leaves():
    rng = np.random.default_rng(2)
    models = [Priced(name=str(k), operations=float(x), value=float(y)) for k, (x, y) in enumerate(rng.random((40, 2)))]
    left = [
        one
        for one in models
        if not any(other.operations <= one.operations and other.value > one.value for other in models)
    ]
    assert front(models) == sorted(left, key=lambda one: one.operations)


def test_of_two_models_of_one_cost_and_worth_the_front_keeps_the_first():
    first, second = (Priced(name=name, operations=1.0, value=0.5) for name in "ab")
    assert front([first, second]) == [first]


def test_what_is_not_better_has_no_price():
    first, second = (Priced(name=name, operations=x, value=0.5) for name, x in (("a", 1.0), ("b", 2.0)))
    with pytest.raises(UndefinedMetricError, match="b is not better than a"):
        price(first, second, 0.01)


def test_average_precision_of_many_resamples_is_that_of_each():
    ranking = Ranking(LABELS, np.round(RANDOM, 1))
    weights = next(resamples(PATIENTS, draws=60, seed=2))
    weights[3] *= LABELS  # no negative image is left
    found = average_precisions(*ranking.cumulate(weights))
    assert np.isnan(found[3])
    for number in set(range(60)) - {3}:
        assert found[number] == pytest.approx(ranking.average_precision(weights[number]))
