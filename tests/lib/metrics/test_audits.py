"""Audits by their numbers: what passes, what fails, and what has no outcome and says why."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from stages.lib.metrics import audits
from stages.lib.metrics.audits import AFTER, BEFORE, CHANGE, Limits, Settings
from stages.lib.metrics.measures import Estimate

LIMITS = Limits(max_chance_auc=0.55, max_auc_fall=0.02, min_images=5, min_agreement=0.9)
SETTINGS = Settings(draws=200, seed=1, confidence=0.95)
N = 120
LABELS = np.arange(N) % 3 == 0
PATIENTS = np.array([f"p{number // 2}" for number in range(N)])


def scores(strength: float, seed: int = 0) -> np.ndarray:
    return strength * LABELS + np.random.default_rng(seed).normal(size=N)


def estimate(value: float | None, low: float | None = None, high: float | None = None, n: int = 60, positive: int = 20):
    return Estimate(value=value, low=low, high=high, n=n, n_positive=positive, reason=None if value else "no image")


def test_areas_are_measured_on_the_images_that_could_be_changed_before_and_after() -> None:
    before, after = scores(2.0), scores(0.0, 2)
    after[:30] = np.nan
    found = audits.areas(LABELS.astype(int), PATIENTS, before, {"a": after, "same": before.copy()}, SETTINGS)
    assert found["a"][BEFORE].value == pytest.approx(roc_auc_score(LABELS[30:], before[30:]))
    assert found["a"][AFTER].value == pytest.approx(roc_auc_score(LABELS[30:], after[30:]))
    assert found["a"][CHANGE].value == pytest.approx(found["a"][AFTER].value - found["a"][BEFORE].value)
    assert (found["a"][CHANGE].n, found["a"][CHANGE].n_positive) == (90, 30)
    assert found["a"][CHANGE].low < found["a"][CHANGE].value < found["a"][CHANGE].high < 0
    paired = found["same"][CHANGE]
    assert (paired.value, paired.low, paired.high) == (0, 0, 0)
    assert found["same"][BEFORE].low < found["same"][BEFORE].value


def test_an_area_of_one_class_or_of_no_image_is_null_with_the_reason() -> None:
    one, none = scores(1.0), np.full(N, np.nan)
    one[LABELS] = np.nan
    found = audits.areas(LABELS.astype(int), PATIENTS, scores(1.0), {"one": one, "none": none}, SETTINGS)
    assert found["one"][AFTER].value is None
    assert found["one"][CHANGE].reason == "no image has a nodule"
    assert found["none"][AFTER].reason
    assert audits.chance(found["one"][AFTER], LIMITS) == ("null", "no image has a nodule")
    assert audits.fall(found["none"][CHANGE], LIMITS, what="").outcome == "null"


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.45, 0.62, "pass"), (0.5, 0.7, "pass"), (0.51, 0.54, "pass"), (0.51, 0.56, "fail"), (0.2, 0.4, "pass")],
)
def test_chance_is_an_interval_with_one_half_or_one_that_ends_below_the_limit(low, high, outcome) -> None:
    assert audits.chance(estimate((low + high) / 2, low, high), LIMITS).outcome == outcome


@pytest.mark.parametrize(
    ("value", "low", "high", "outcome"),
    [
        (-0.10, -0.2, -0.01, "fail"),
        (-0.10, -0.2, 0.01, "pass"),
        (-0.015, -0.02, -0.01, "pass"),
        (0.1, 0.05, 0.2, "pass"),
    ],
)
def test_a_fall_is_clear_if_its_interval_is_below_0_and_it_is_more_than_the_limit(value, low, high, outcome) -> None:
    assert audits.fall(estimate(value, low, high), LIMITS, what="a marker bears on it").outcome == outcome


@pytest.mark.parametrize(
    "verdict", [audits.chance, lambda one, limits: audits.fall(one, limits, what=""), audits.attention]
)
def test_too_few_images_of_a_class_have_no_outcome(verdict) -> None:
    for n, positive in ((60, 4), (24, 20)):
        found = verdict(estimate(0.9, 0.8, 0.95, n, positive), LIMITS)
        assert found == ("null", "fewer than 5 images of a class")
    assert verdict(estimate(None), LIMITS) == ("null", "no image")


def test_the_nodule_bears_on_the_score_if_filling_it_takes_more_than_filling_another_place() -> None:
    rng = np.random.default_rng(3)
    before, patients = rng.normal(2, 1, 40), np.array([f"p{number}" for number in range(40)])
    filled, control = before - rng.normal(1.0, 0.3, 40), before - rng.normal(0.1, 0.3, 40)
    control[0] = np.nan
    found = audits.drops(patients, before, filled, control, SETTINGS)
    assert found[audits.DROP].value == pytest.approx(np.mean((before - filled)[1:]))
    assert found[audits.EXCESS].value == pytest.approx(found[audits.DROP].value - found[audits.CONTROL_DROP].value)
    assert found[audits.EXCESS].n == 39
    assert audits.attention(found[audits.EXCESS], LIMITS).outcome == "pass"
    same = audits.drops(patients, before, control, filled, SETTINGS)
    assert audits.attention(same[audits.EXCESS], LIMITS).outcome == "fail"
    noise = audits.drops(patients, before, control, control - rng.normal(0, 0.5, 40), SETTINGS)
    assert noise[audits.EXCESS].low < 0 < noise[audits.EXCESS].high
    assert audits.attention(noise[audits.EXCESS], LIMITS).reason.startswith("the interval contains 0")


def test_kappa_agrees_with_scikit_learn_and_is_undefined_where_all_calls_are_the_same() -> None:
    first, second = scores(1.0) > 0.4, scores(1.0, 5) > 0.2
    found = audits.agreement(PATIENTS, first, second, SETTINGS)
    assert found[audits.KAPPA].value == pytest.approx(cohen_kappa_score(first, second))
    assert found[audits.AGREEMENT].value == pytest.approx(float((first == second).mean()))
    assert found[audits.CALLED_AFTER].value == pytest.approx(float(second.mean()))
    assert audits.consistency(found[audits.AGREEMENT], found[audits.KAPPA], LIMITS).outcome == "fail"
    never = audits.agreement(PATIENTS, np.zeros(N, bool), np.zeros(N, bool), SETTINGS)
    assert never[audits.AGREEMENT].value == 1
    verdict = audits.consistency(never[audits.AGREEMENT], never[audits.KAPPA], LIMITS)
    assert verdict == ("null", "agreement says nothing: both call every image the same")
    alike = audits.agreement(PATIENTS, first, first ^ (np.arange(N) == 0), SETTINGS)
    assert audits.consistency(alike[audits.AGREEMENT], alike[audits.KAPPA], LIMITS).outcome == "pass"


def test_shuffled_labels_fail_only_if_the_model_knows_more_than_chance_and_than_its_base() -> None:
    def shuffled(strength: float, base: float | None) -> str:
        after = {"retrained": scores(strength, 2)}
        labels = LABELS.astype(int)
        found = audits.areas(labels, PATIENTS, scores(3.0), after, SETTINGS)["retrained"]
        of_base = None
        if base is not None:
            of_base = audits.areas(labels, PATIENTS, scores(base, 4), after, SETTINGS)["retrained"]
        return audits.shuffled(found, of_base, LIMITS).outcome

    assert shuffled(0.0, None) == "pass"
    assert shuffled(2.0, None) == "fail"
    assert shuffled(2.0, 0.0) == "fail"
    assert shuffled(1.0, 1.5) == "null"
