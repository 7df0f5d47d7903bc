"""Claims about stages.lib.metrics.localization."""

import numpy as np
import pytest

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics import localization as loc
from stages.lib.metrics import strata
from stages.lib.report.published import LOCALIZATION


def image(points, predictions, patient="a", width=300, height=400):
    shape = (-1, 2)
    return loc.Image(
        "image",
        patient,
        width,
        height,
        np.array(points, float).reshape(shape),
        np.array(predictions, float).reshape(shape),
    )


# The diagonal is 500 pixels: 0.02 of it are 10 pixels.
IMAGES = [
    image([[50, 50], [200, 200]], [[56, 58]]),
    image([[100, 100]], [[103, 104], [250, 300]], "b"),
    image([[10, 10]], [], "c"),
    image([[10, 10]], [[40, 50]], "c"),
]


def find(fraction=0.02, images=IMAGES, throws=100):
    return loc.find(images, fraction, throws=throws, rng=np.random.default_rng(0))


def test_the_tolerance_is_a_fraction_of_the_diagonal_of_the_original_inclusive():
    assert IMAGES[0].threshold_px(0.02) == pytest.approx(10.0)
    assert find().true_positives.tolist() == [1, 1, 0, 0]  # the first pair is exactly 10 pixels apart
    assert find(0.1).true_positives.tolist() == [1, 1, 0, 1]
    assert find(0.019).true_positives.tolist() == [0, 1, 0, 0]


def test_measures_by_hand():
    measured = loc.measure_hits(find(), np.ones(4, int))
    assert [measured[name] for name in ("true_positives", "false_positives", "false_negatives")] == [2, 2, 3]
    assert measured["precision"] == pytest.approx(2 / 4)
    assert measured["precision_macro"] == pytest.approx((1 + 1 / 2 + 0) / 3)  # the third image has no prediction
    assert measured["recall_macro"] == pytest.approx((1 / 2 + 1 + 0 + 0) / 4)
    assert measured["recall"] == measured["pck"] == pytest.approx(2 / 5)
    assert measured["f1"] == pytest.approx(2 * 0.5 * 0.4 / 0.9)
    assert measured["f1_macro"] == pytest.approx((2 / 3 + 2 / 3 + 0 + 0) / 4)
    assert measured["mean_radial_error_px"] == pytest.approx((10 + 5) / 2)
    assert measured["std_radial_error_px"] == pytest.approx(2.5)
    assert measured["median_radial_error_px"] == pytest.approx(7.5)


def test_counts_by_hand():
    measured = loc.measure_counts(loc.count(IMAGES), np.ones(4, int))
    assert measured["count_exact"] == pytest.approx(1 / 4)
    assert measured["count_error"] == pytest.approx(3 / 4)
    assert measured["count_bias"] == pytest.approx((4 - 5) / 4)
    far = np.hypot(150, 200)
    assert measured["nearest_point_px"] == pytest.approx(np.median([10, 5, far, 50]))


def test_a_weight_is_the_same_as_so_many_copies_of_the_image():
    weights = np.array([2, 0, 1, 3])
    copies = [one for one, times in zip(IMAGES, weights, strict=True) for _ in range(times)]
    once = np.ones(len(copies), int)
    weighted, copied = loc.measure_hits(find(), weights), loc.measure_hits(find(images=copies), once)
    for name in set(weighted) - {"random_placement_recall"}:
        assert weighted[name] == pytest.approx(copied[name]), name
    assert loc.measure_counts(loc.count(IMAGES), weights) == pytest.approx(loc.measure_counts(loc.count(copies), once))


@pytest.mark.parametrize("tolerance", ["tight", "tolerant"])
def test_the_published_rows_follow_from_their_counts(tolerance):
    row = LOCALIZATION[tolerance]
    predictions = row["true_positives"] + row["false_positives"]
    points = row["true_positives"] + row["false_negatives"]
    assert (predictions, points) == (53, 179)
    measured = loc.precision_recall_f1(row["true_positives"], predictions, points)
    assert {name: round(value, 4) for name, value in measured.items()} == {
        name: row[name] for name in ("precision", "recall", "f1")
    }
    assert row["pck"] == row["recall"]


def test_chance_is_the_area_of_the_discs_that_lie_on_the_image():
    inside = image([[150, 200]], [[0, 0]])
    corner = image([[-0.5, -0.5]], [[0, 0]])
    area = np.pi * 50**2 / (300 * 400)
    throws = 40_000
    error = 4 * (area / throws) ** 0.5
    assert loc.chance_hits(inside, 0.1, throws, np.random.default_rng(0)) == pytest.approx(area, abs=error)
    assert loc.chance_hits(corner, 0.1, throws, np.random.default_rng(0)) == pytest.approx(area / 4, abs=error)


def test_chance_pairs_each_nodule_once():
    crowded = image([[150, 200]], np.zeros((3, 2)))
    assert loc.chance_hits(crowded, 1.0, 50, np.random.default_rng(0)) == 1.0
    two = image([[150, 200], [10, 10]], np.zeros((1, 2)))
    assert loc.chance_hits(two, 1.0, 50, np.random.default_rng(0)) == 1.0
    assert loc.chance_hits(image([[1, 1]], []), 1.0, 50, np.random.default_rng(0)) == 0.0


def test_more_points_and_wider_tolerances_are_luckier():
    one, many = (image([[150, 200]], np.zeros((n, 2))) for n in (1, 5))
    lucky = [loc.chance_hits(f, s, 4000, np.random.default_rng(0)) for f, s in ((one, 0.05), (many, 0.05), (one, 0.1))]
    assert lucky[0] < lucky[1] and lucky[0] < lucky[2]


def test_distances_in_mm_are_those_in_pixels_times_the_spacing_and_each_image_has_its_own():
    hits = find()
    spacing = np.array([0.5, 0.2, np.nan, np.nan])
    measured = loc.measure_mm(hits.radial_error_px, hits.image, spacing, "why", np.ones(4, int))
    assert measured == pytest.approx({"mean": (10 * 0.5 + 5 * 0.2) / 2, "median": (10 * 0.5 + 5 * 0.2) / 2})
    twice = loc.measure_mm(hits.radial_error_px, hits.image, spacing, "why", np.array([3, 1, 1, 1]))
    assert twice == pytest.approx({"mean": (3 * 5 + 1) / 4, "median": 5.0})
    for known, why in ((spacing * np.nan, "known spacing"), (np.array([np.nan, np.nan, 0.5, 0.5]), "too far")):
        none = loc.measure_mm(hits.radial_error_px, hits.image, known, "too far", np.ones(4, int))
        assert all(why in str(value) for value in none.values())


def test_every_nodule_is_told_as_found_or_not_in_the_order_of_the_images():
    hits = find()
    assert hits.found.tolist() == [True, False, True, False, False]


def test_nodules_are_divided_by_the_thirds_and_halves_of_their_image_and_by_edges():
    places = [[99.4, 132.8], [149.5, 132.9], [149.4, 399.4], [-0.5, -0.5]]
    sized = loc.Image(
        "image", "a", 300, 400, np.array(places), np.zeros((0, 2)), diameter_mm=np.array([10, 20, np.nan, 9.99])
    )
    plain = image([[10, 200], [299.5, 399.5]], [])  # of which nothing is known; the second lies on the corner
    made = strata.divide([sized, plain], size_edges_mm=[10, 20], contrast_edges=[1])
    height = {part.key: np.flatnonzero(part.members).tolist() for part in made["height"].parts}
    assert height == {"upper": [0, 3], "middle": [1, 4], "lower": [2, 5]}
    side = {part.key: np.flatnonzero(part.members).tolist() for part in made["side"].parts}
    assert side == {"patients_right": [0, 2, 3, 4], "patients_left": [1, 5]}
    size = {part.key: np.flatnonzero(part.members).tolist() for part in made["size"].parts}
    assert size == {"below_10": [3], "10_to_20": [0], "from_20": [1]}
    assert made["size"].unknown == 3
    assert made["contrast"].parts == () and made["contrast"].reason == "the contrast of no nodule is known"


def test_what_has_no_value_says_why():
    silent = find(images=[image([[10, 10]], [])])
    measured = loc.measure_hits(silent, np.ones(1, int))
    assert str(measured["precision"]) == "no point was predicted"
    assert measured["recall"] == measured["f1"] == 0.0
    assert isinstance(measured["mean_radial_error_px"], UndefinedMetricError)
    nearest = loc.measure_counts(loc.count([image([[10, 10]], [])]), np.ones(1, int))["nearest_point_px"]
    assert isinstance(nearest, UndefinedMetricError)
    nothing = loc.measure_negatives(np.zeros(0, int), np.zeros(0))
    assert all(isinstance(value, UndefinedMetricError) for value in nothing.values())


def test_no_image_at_all_has_no_measures_and_raises_nothing():
    measured = {
        **loc.measure_hits(find(images=[]), np.ones(0, int)),
        **loc.measure_counts(loc.count([]), np.ones(0, int)),
    }
    assert all(isinstance(value, UndefinedMetricError) for value in measured.values())


def test_points_of_chance_fall_on_the_whole_of_each_pixel_and_nowhere_else():
    pixel = image([[0, 0]], [[0, 0]], width=1, height=1)
    assert loc.chance_hits(pixel, 0.5, 2000, np.random.default_rng(0)) == 1.0


def test_points_of_chance_fall_alike_on_all_squares_of_a_field_and_nowhere_else():
    field = loc.Field(np.array([[0.0, 10.0], [50.0, 0.0], [100.0, 30.0]]), 20.0)
    thrown = field.throw((30, 200), np.random.default_rng(0))
    assert thrown.shape == (30, 200, 2)
    gaps = thrown[:, :, None] - field.corners
    inside = ((gaps >= 0) & (gaps <= 20)).all(axis=-1)
    assert (inside.sum(axis=-1) == 1).all()
    assert inside.mean(axis=(0, 1)) == pytest.approx(1 / 3, abs=4 * (2 / 9 / 6000) ** 0.5)
    places = (gaps[inside] / 20).mean(axis=0)
    assert places == pytest.approx(0.5, abs=4 * (1 / 12 / 6000) ** 0.5)


@pytest.mark.parametrize("n", range(1, 7))
def test_a_median_of_distances_is_that_of_numpy(n):
    errors = np.random.default_rng(n).random(n)
    found = loc.measure_mm(errors, np.zeros(n, int), np.array([0.5]), "why", np.ones(1, int))
    assert found["median"] == pytest.approx(np.median(errors * 0.5))
