"""Verdicts: the published numbers recomputed from counts, and what decides."""

import numpy as np
import pytest
from letters import FIRST, SECOND, compared, rated

from stages.findings.measuring.ratings import parts
from stages.findings.page import sentences
from stages.lib.metrics.measures import Estimate, Key
from stages.lib.metrics.parts import measure as measure_parts
from stages.lib.report.numbers import MINUS


def wilson(text: str) -> Estimate:
    one = rated(text)
    weights = np.ones((2, len(one.grades)))
    return measure_parts(parts(one, None), weights, {}, 0.95).estimates[Key("good_fraction")]


def test_the_first_published_pass_is_recomputed_and_undecided() -> None:
    both, found = compared(FIRST)
    assert found.good == (7, 4) and found.rated == (16, 16)
    ends = [wilson(text) for text in FIRST]
    assert [(one.wilson_low, one.wilson_high) for one in ends] == [
        (pytest.approx(0.1018, abs=5e-5), pytest.approx(0.4950, abs=5e-5)),
        (pytest.approx(0.2310, abs=5e-5), pytest.approx(0.6682, abs=5e-5)),
    ]
    assert (found.n_both, found.good_both) == (13, (5, 3))
    assert both.discordant(failures_poor=False) == (3, 1) and found.p == 0.625
    assert both.discordant(failures_poor=True) == (5, 2) and found.p_failures_poor == 0.453125
    assert (found.low, found.high) == (pytest.approx(-0.05), pytest.approx(0.35))
    assert found.better is None
    said = sentences.verdict(found, "Gemini Flash", "MedGemma", "")
    assert said.startswith(
        "MedGemma 25 % good (4 of 16) against Gemini Flash 43.8 % (7 of 16); on the 13 rated for both 3 and 5 are "
        "good, McNemar p 0.625; any rating of the judge's failures leaves a difference of "
        f"{MINUS}5 to +35 percentage points: undecided"
    )


def test_the_second_published_pass_is_rightly_read_and_undecided_too() -> None:
    both, found = compared(SECOND)
    assert found.good == (6, 1) and found.rated == (18, 17)
    ends = [wilson(text) for text in SECOND]
    assert [(one.wilson_low, one.wilson_high) for one in ends] == [
        (pytest.approx(0.0105, abs=5e-5), pytest.approx(0.2698, abs=5e-5)),
        (pytest.approx(0.1628, abs=5e-5), pytest.approx(0.5625, abs=5e-5)),
    ]
    assert (found.n_both, found.good_both) == (16, (5, 1))
    assert both.discordant(failures_poor=False) == (4, 0) and found.p == 0.125
    assert both.discordant(failures_poor=True) == (5, 0) and found.p_failures_poor == 0.0625
    assert (found.low, found.high) == (pytest.approx(0.10), pytest.approx(0.35))
    assert found.better is None and "p 0.125 after Holm" in " ".join(found.reasons)


def test_a_difference_is_called_one_only_if_bounds_and_both_tests_agree() -> None:
    clear = compared(("p" * 18 + "g-", "g" * 18 + "pg"))[1]
    assert (clear.first, clear.second, clear.judge, clear.n) == ("flash", "medgemma", "judge", 20)
    assert clear.better == "flash" and not clear.reasons and clear.low > 0
    other = compared(("g" * 18 + "p-", "p" * 18 + "gp"))[1]
    assert other.better == "medgemma" and other.high < 0
    assert "is better" in sentences.verdict(clear, "Flash", "MedGemma", "Flash")
    equal = compared(("g" * 10 + "p" * 10, "g" * 10 + "p" * 10))[1]
    assert equal.reasons == ("it is 0", "the test of good answers gives p 1.000 after Holm")
    small = compared(("g" * 10 + "p" * 10, "g" * 11 + "p" * 9))[1]
    assert small.reasons == ("the test of good answers gives p 1.000 after Holm",)  # nothing failed: one test alone
    unsure = compared(("p" * 10 + "-" * 10, "g" * 10 + "-" * 10))[1]
    assert unsure.better is None and unsure.p < 0.01 and unsure.low <= 0


def test_the_published_discordant_shares_take_a_hundred_cases_or_so() -> None:
    found = compared(FIRST)[1]
    assert found.cases_needed is not None and 100 < found.cases_needed < 130  # power at 100 cases is 0.76
    assert "To find such a difference takes" in sentences.verdict(found, "Flash", "MedGemma", "")
