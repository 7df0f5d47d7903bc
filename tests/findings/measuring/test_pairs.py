"""Pairs of arms: three readings of a judge's failures, and ordinal effects."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letters import rated

from stages.findings.measuring.pairs import Both, of_ratings
from stages.findings.measuring.ratings import Rated
from stages.lib.metrics.measures import Key

RATING = st.sampled_from("gmp-")


def test_the_bounds_are_reached_by_some_rating_and_passed_by_none() -> None:
    rng = np.random.default_rng(5)
    grades = rng.integers(-1, 3, (2, 12))
    both = Both(*(Rated(row, row) for row in grades))
    low, high = both.bounds
    seen = []
    for _ in range(300):
        filled = np.where(grades < 0, rng.integers(0, 3, grades.shape), grades)
        seen.append(float(((filled[0] == 2).astype(int) - (filled[1] == 2)).mean()))
    assert low - 1e-9 <= min(seen) and max(seen) <= high + 1e-9
    worst = np.where(grades < 0, [[0], [2]], grades)
    assert low == pytest.approx(((worst[0] == 2).astype(int) - (worst[1] == 2)).mean())


def test_an_ordinal_effect_is_the_fraction_better_less_the_fraction_worse_and_ties_are_shown() -> None:
    both = Both(rated("gmp-g"), rated("ppg-g"))
    found = of_ratings(both, None, np.ones((3, 5)), 0.95, 5)
    values = {key.metric: one.value for key, one in found.items()}
    assert values["better_fraction"] == 0.5 and values["worse_fraction"] == 0.25 and values["equal_fraction"] == 0.25
    assert values["ordinal_effect"] == 0.25
    assert values["sign_test_p"] == 1.0
    assert found[Key("ordinal_effect")].n == 4


@given(st.lists(st.tuples(RATING, RATING), min_size=1, max_size=30))
def test_the_three_readings_of_a_judges_failures_lie_within_the_bounds(pairs: list[tuple[str, str]]) -> None:
    both = Both(*(rated("".join(side)) for side in zip(*pairs, strict=True)))
    low, high = both.bounds
    poor = float((both.first.good.astype(int) - both.second.good).mean())
    assert low <= poor <= high
    swapped = Both(both.second, both.first)
    assert swapped.bounds == (pytest.approx(-high), pytest.approx(-low))
    assert swapped.discordant(failures_poor=True) == both.discordant(failures_poor=True)[::-1]
    if both.first.known.all() and both.second.known.all():
        assert low == high == poor
        assert both.discordant(failures_poor=True) == both.discordant(failures_poor=False)


def test_every_measure_of_a_pair_by_hand() -> None:
    """First and second: good poor, good good, partial good, poor poor, good -, - good, - poor, good partial."""
    both = Both(rated("ggmpg--g"), rated("pggp-gpm"))
    found = of_ratings(both, "judge", np.ones((2, 8)), 0.95, 8)
    values = {key.metric: one.value for key, one in found.items()}
    assert {key.at for key in found} == {"judge"}
    assert values == {
        "good_fraction": pytest.approx((3 - 2) / 5),  # of the five that both are rated
        "good_failures_poor": pytest.approx((4 - 3) / 8),
        "good_least": pytest.approx((4 - 4) / 8),
        "good_most": pytest.approx((6 - 3) / 8),
        "key_finding_rate": pytest.approx((4 - 3) / 5),
        "better_fraction": pytest.approx(2 / 5),
        "equal_fraction": pytest.approx(2 / 5),
        "worse_fraction": pytest.approx(1 / 5),
        "ordinal_effect": pytest.approx(1 / 5),
        "only_first_good": 2.0,
        "only_second_good": 1.0,
        "mcnemar_good_p": 1.0,
        "only_first_good_failures_poor": 3.0,
        "only_second_good_failures_poor": 2.0,
        "mcnemar_good_failures_poor_p": 1.0,
        "sign_test_p": 1.0,
    }
    assert {key.metric: one.n for key, one in found.items()}["good_failures_poor"] == 8
    wins = Both(rated("ggggggp"), rated("pppppppg"[:7]))
    assert {k.metric: e.value for k, e in of_ratings(wins, None, np.ones((2, 7)), 0.95, 7).items()}[
        "sign_test_p"
    ] == pytest.approx(2 / 2**6)
