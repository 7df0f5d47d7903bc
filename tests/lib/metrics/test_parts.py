"""Measures as ratios of sums over items."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics.measures import Key
from stages.lib.metrics.parts import Part, difference, drawn_difference, fraction, mean, measure, refused, within


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20), st.integers(0, 2**31))
def test_a_ratio_on_resamples_is_that_of_the_drawn_items(members: list[tuple[bool, bool]], seed: int) -> None:
    part = fraction([one for one, _ in members], [among for _, among in members])
    drawn = np.random.default_rng(seed).integers(len(members), size=(3, len(members)))
    weights = np.stack([np.bincount(row, minlength=len(members)) for row in drawn]).astype(float)
    found = measure({Key("good_fraction"): part}, weights, {}, 0.9).draws[Key("good_fraction")]
    for row, value in zip(drawn, found, strict=True):
        kept = [members[k][0] for k in row if members[k][1]]
        assert value == pytest.approx(np.mean(kept)) if kept else np.isnan(value)


GOOD, F1, WORDS = Key("good_fraction"), Key("finding_f1_pooled"), Key("words")
WEIGHTS = np.array([[1.0, 1.0, 1.0], [3.0, 0.0, 0.0], [0.0, 1.5, 1.5]])


def test_measures_on_resamples_by_hand() -> None:
    parts = {
        GOOD: fraction([True, False, True], [True, True, False]),
        F1: Part(np.array([2.0, 0.0, 2.0]), np.array([2.0, 1.0, 3.0]), "nothing is named"),
        WORDS: mean([10, 20, 30]),
    }
    found = measure(parts, WEIGHTS, {"n": 3, "n_patients": 3}, 0.5)
    good, f1, words = (found.estimates[key] for key in (GOOD, F1, WORDS))
    assert good.value == 0.5 and good.n == 2 and good.wilson_low is not None
    assert f1.value == pytest.approx(4 / 6) and f1.n == 3 and f1.wilson_low is None
    assert words.value == 20 and words.n == 3
    assert found.draws[GOOD].tolist() == [0.5, 1.0, 0.0]
    assert found.draws[F1].tolist() == pytest.approx([4 / 6, 1.0, 0.5])
    assert (words.low, words.high) == (15.0, 22.5)
    part = measure(within(parts, np.array([True, False, False])), WEIGHTS[:, :1], {"n": 1}, 0.5).estimates[GOOD]
    assert part.value == 1.0 and part.n == 1 and part.skipped_draws == 1


def test_what_has_no_denominator_has_its_reason_and_so_has_a_difference() -> None:
    nothing = measure({GOOD: fraction([True], [False], "the judge rated no answer")}, np.ones((2, 1)), {}, 0.9)
    assert nothing.estimates[GOOD].value is None
    assert nothing.estimates[GOOD].reason == "the judge rated no answer"
    something = measure({GOOD: fraction([True])}, np.ones((2, 1)), {}, 0.9)
    left = difference(something, nothing, GOOD)
    assert isinstance(left, UndefinedMetricError) and "rated no answer" in str(left)
    assert difference(something, something, GOOD) == 0.0
    assert drawn_difference(something, something)[GOOD].tolist() == [0.0, 0.0]
    assert refused([GOOD], "too few", {"n": 1})[GOOD].reason == "too few"
    assert measure({}, np.ones((2, 1)), {}, 0.9).estimates == {}
