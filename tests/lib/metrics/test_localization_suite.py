"""Claims about stages.lib.metrics.localization_suite, on seven images by hand."""

from dataclasses import replace

import numpy as np
import pytest

from stages.lib.metrics import localization_suite as suite
from stages.lib.metrics.bootstrap import BLOCK, wilson
from stages.lib.metrics.catalog import FALSE_POINT_RATES
from stages.lib.metrics.localization import Image
from stages.lib.metrics.localization_suite import Examined, Settings
from stages.lib.metrics.measures import Key

# The diagonal is 500 pixels: 0.02 of it are 10 pixels.
SETTINGS = Settings(
    draws=60, seed=0, confidence=0.95, tolerances={"tight": 0.02}, size_edges_mm=[10.0], min_stratum_nodules=2
)


def examined(image, patient, nodules, predictions, diameter_mm=None):
    """Image with predictions given as (x, y, confidence); negative if it has no nodules."""
    found = np.array(predictions, float).reshape(-1, 3)
    points = np.array(nodules, float).reshape(-1, 2)
    diameters = None if diameter_mm is None else np.array(diameter_mm, float)
    shown = Image(image, patient, 300, 400, points, found[:, :2], diameter_mm=diameters)
    return Examined(shown, found[:, :2], found[:, 2], int(len(points) > 0), "test", "lidc" if nodules else "nih")


IMAGES = [
    examined("a", "p", [[50, 50], [200, 200]], [(56, 58, 0.9)], [5, 15]),  # exactly 10 pixels from the first nodule
    examined("b", "q", [[100, 100]], [(103, 104, 0.25), (250, 300, 0.3)], [5]),
    examined("c", "p", [[10, 10]], []),
    examined("k", "r", [], []),
    examined("l", "s", [], []),
    examined("m", "t", [], [(5, 5, 0.5)]),
    examined("n", "t", [], [(5, 5, 0.2), (9, 9, 0.1)]),
]
POSITIVES = suite.measure_positives(IMAGES, SETTINGS)
MEASURED = suite.measure(IMAGES, POSITIVES, SETTINGS)
SCORES = {"a": 0.5, "b": 0.4, "c": 0.9, "k": 0.4, "l": 0.1, "m": 0.3, "n": 0.6}


def numbers(measured, at="tight"):
    """Values of the metrics at one tolerance, by name."""
    return {key.metric: one.value for key, one in measured.items() if key.at == at}


def ends(one):
    return one.wilson_low, one.wilson_high


def test_on_images_with_nodules_alone():
    found = numbers(POSITIVES)
    assert (found["precision"], found["recall"], found["f1"]) == (2 / 3, 2 / 4, pytest.approx(4 / 7))
    assert numbers(POSITIVES, None)["count_exact"] == 0.0
    facts = POSITIVES[Key("recall", "tight")]
    assert (facts.n, facts.n_patients, facts.n_points, facts.n_predictions) == (3, 2, 4, 3)
    trials = {"precision": (2, 3), "recall": (2, 4), "pck": (2, 4)}
    assert {name: ends(POSITIVES[Key(name, "tight")]) for name in trials} == {
        name: wilson(*pair, 0.95) for name, pair in trials.items()
    }
    assert ends(POSITIVES[Key("count_exact")]) == wilson(0, 3, 0.95)


def test_on_all_images_points_on_negative_ones_are_false():
    found = numbers(MEASURED)
    assert (found["false_positives"], found["precision"], found["f1"]) == (4, 2 / 6, 0.4)
    assert found["non_lesion_fraction"] == 4 / 7
    free = numbers(MEASURED, None)
    assert (free["count_exact"], free["count_error"], free["count_bias"]) == (2 / 7, 6 / 7, 2 / 7)
    facts = MEASURED[Key("precision", "tight")]
    assert (facts.n, facts.n_patients, facts.n_negative, facts.n_points, facts.n_predictions) == (7, 5, 4, 4, 6)
    assert ends(facts) == wilson(2, 6, 0.95)
    assert ends(MEASURED[Key("count_exact")]) == wilson(2, 7, 0.95)


def test_on_negative_images_alone():
    found = suite.measure_negatives(IMAGES, SETTINGS)
    assert numbers(found, None) == {"false_points_per_image": 3 / 4, "fraction_with_point": 2 / 4}
    assert ends(found[Key("fraction_with_point")]) == wilson(2, 4, 0.95)
    assert found[Key("fraction_with_point")].n == 4


def test_froc_has_a_sensitivity_at_each_rate_with_wilsons_interval_and_their_mean_without():
    found = [MEASURED[Key("froc_sensitivity", f"tight/{rate}")] for rate in FALSE_POINT_RATES]
    # True at .9, then two false ones, true at .25, two false ones: of 7 images and 4 nodules.
    assert [one.value for one in found] == [0.25, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert [ends(one) for one in found] == [wilson(round(4 * one.value), 4, 0.95) for one in found]
    cpm = MEASURED[Key("cpm", "tight")]
    assert cpm.value == pytest.approx(3 / 7) and ends(cpm) == (None, None)
    silent = [examined(one.image.image_id, "p", one.image.points.tolist(), []) for one in IMAGES]
    assert suite._froc(silent, SETTINGS)[Key("cpm", "tight")].reason == "no point was predicted"


def test_recall_by_kind_of_nodule_or_why_there_is_none():
    found = {
        (one.division, one.name): one.measured[Key("recall", "tight")]
        for one in suite.measure_strata(IMAGES, SETTINGS).strata
    }
    small, large = found["size", "below_10"], found["size", "from_10"]
    assert (small.value, small.n, small.n_patients, small.n_points, ends(small)) == (1.0, 2, 2, 2, wilson(2, 2, 0.95))
    assert (large.value, large.n_points, ends(large)) == (None, 1, (None, None))
    assert large.reason == "too few nodules: 1, wanted at least 2"
    upper, middle, lower = (found["height", name] for name in ("upper", "middle", "lower"))
    assert (upper.value, upper.n, upper.n_patients, upper.n_points) == (2 / 3, 3, 2, 3)
    assert (middle.n, middle.n_points) == (1, 1)
    assert (lower.value, lower.n, lower.reason) == (None, 0, "there is no such nodule")
    alone = suite.measure_strata(IMAGES, replace(SETTINGS, min_stratum_nodules=1)).strata
    of_middle = next(one.measured[Key("recall", "tight")] for one in alone if one.name == "middle")
    assert (of_middle.value, ends(of_middle)) == (0.0, wilson(0, 1, 0.95))


def test_label_and_points_are_both_right_on_an_image():
    """`a` is called positive at exactly the threshold, and `m` negative, though a point was predicted."""
    found = suite.joint(IMAGES, SCORES, 0.5, SETTINGS)
    assert numbers(found) == {"joint_right": 3 / 7, "joint_right_nodule": 1 / 3, "joint_right_negative": 2 / 4}
    whole = found[Key("joint_right", "tight")]
    assert (whole.n, whole.n_patients, whole.n_positive, whole.threshold) == (7, 5, 3, 0.5)
    trials = {"joint_right": (3, 7), "joint_right_nodule": (1, 3), "joint_right_negative": (2, 4)}
    assert {name: ends(found[Key(name, "tight")]) for name in trials} == {
        name: wilson(*pair, 0.95) for name, pair in trials.items()
    }
    some = suite.joint(IMAGES, {name: score for name, score in SCORES.items() if name != "n"}, 0.5, SETTINGS)
    assert numbers(some) == {"joint_right": 3 / 6, "joint_right_nodule": 1 / 3, "joint_right_negative": 2 / 3}


def test_a_threshold_that_is_redrawn_moves_the_interval_of_the_joint_score_and_one_that_stays_does_not():
    settings = replace(SETTINGS, draws=BLOCK + 50)
    plain = suite.joint(IMAGES, SCORES, 0.4, settings)
    nested = suite.joint(IMAGES, SCORES, 0.5, settings, redrawn=np.full(settings.draws, 0.4))
    for key, one in nested.items():
        assert (one.low, one.high) == (plain[key].low, plain[key].high)
        assert one.value == suite.joint(IMAGES, SCORES, 0.5, settings)[key].value
    at_half = suite.joint(IMAGES, SCORES, 0.5, settings)[Key("joint_right", "tight")]
    whole = nested[Key("joint_right", "tight")]
    assert (whole.known_low, whole.known_high) == (at_half.low, at_half.high)
    missing = np.where(np.arange(settings.draws) % 5 == 0, np.nan, 0.4)
    some = suite.joint(IMAGES, SCORES, 0.5, settings, redrawn=missing)[Key("joint_right", "tight")]
    assert some.skipped_draws == settings.draws // 5


def test_within_a_source_both_kinds_of_images_are_wanted():
    assert suite.within(IMAGES, "lidc") == (IMAGES[:3], "no negative image is of the source lidc")
    assert suite.within(IMAGES, "nih") == (IMAGES[3:], "no marked image is of the source nih")
    mixed = [*IMAGES[:3], replace(IMAGES[3], source="lidc")]
    assert suite.within(mixed, "lidc") == (mixed, None)
