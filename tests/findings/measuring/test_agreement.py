"""Agreement of two passes of ratings."""

import numpy as np
import pytest

from stages.findings.measuring import agreement
from stages.lib.metrics.measures import Estimate


def of_passes(grades: list[tuple[int, int]]) -> dict[str, Estimate]:
    arms = np.array(["arm"] * len(grades))
    made = agreement.measure(agreement.Passes("repeats", "first", "second", arms, np.array(grades)))[1]
    return {key.metric: one for key, one in made.items()}


def test_the_published_passes_agree_as_their_ratings_say_and_hidden_failures_look_unreliable() -> None:
    """27 answers are rated twice, 13 once; the last were failures of one pass, in the second written down as poor."""
    both = [(0, 0)] * 18 + [(2, 1)] * 3 + [(2, 2)] * 6
    once = [(0, -1)] * 2 + [(1, -1)] + [(2, -1)] * 2 + [(-1, 0)] * 3 + [(-1, 1)] + [(-1, 2)] + [(-1, 0)] * 3
    found = of_passes(both + once)
    assert found["rating_agreement"].n == 27
    assert found["rating_agreement"].value == pytest.approx(24 / 27)
    assert found["rating_kappa"].value == pytest.approx(0.769231, abs=5e-7)
    assert found["rating_kappa_quadratic"].value == pytest.approx(0.930233, abs=5e-7)
    assert found["rating_alpha"].value == pytest.approx(0.770563, abs=5e-7)
    as_written = [(0, 0)] * 20 + [(1, 0)] + [(2, 0)] * 2 + [(2, 1)] * 3 + [(2, 2)] * 6
    assert of_passes(as_written)["rating_kappa"].value == pytest.approx(0.612121, abs=5e-7)
    assert of_passes([(0, -1)])["rating_kappa"].reason == "no answer is rated by both"


def test_what_one_pass_alone_rated_is_counted_and_each_arm_keeps_its_headline() -> None:
    arms = np.array(["a", "a", "b", "b"])
    grades = np.array([(2, 0), (2, -1), (-1, 2), (-1, -1)])
    found = agreement.noted(agreement.Passes("judges", "first", "second", arms, grades))
    assert found.confusion == ((0, 0, 0), (0, 0, 0), (1, 0, 0))
    assert (found.only_first, found.only_second, found.neither) == (1, 1, 1)
    assert found.good == {"a": (2, 2, 0, 1), "b": (0, 0, 1, 1)}
