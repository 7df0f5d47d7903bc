"""Heatmaps on frozen patch tokens: the fine grid, its targets, the head, its peaks, and what cannot teach one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core import kinds
from stages.lib.core.errors import ModelError, ParamsError, TrainingError
from stages.lib.core.params import parse
from stages.lib.detect import map_head, map_peaks, token_grid
from stages.lib.detect.map_head import Cells
from stages.lib.detect.trainable import Known, MarksError, Setting
from stages.lib.detect.trained import heatmap
from stages.lib.images.geometry import Geometry
from stages.lib.images.shifts import places, shifted

PATCH, ROWS = 12, 4
SIDE = PATCH * ROWS
SQUARE = Geometry(width_px=SIDE, height_px=SIDE, side_px=SIDE)
WHOLE = ((0.0, 0.0), (1.0, 1.0))
ROW = {
    "kind": "heatmap",
    "seen": "no",
    "licence": "none",
    "commercial": True,
    "library": "transformers",
    "source": "folder",
    "revision": "none",
    "architecture": "Dinov2Model",
    "side_px": SIDE,
    "shifts": 2,
    "supervision": "marks",
    "target_mm": 0.0,
    "target_fraction": 0.06,
    "loss": "weighted_cross_entropy",
    "focus": 0.0,
    "strength": 0.1,
    "sharpness": 1.0,
    "negative_images": 5,
    "negative_weight": 1.0,
    "suppression_cells": 2.0,
    "peak_power": 3.0,
    "max_peaks": 4,
    "min_confidence": 0.0,
    "seed": 1,
}


def params(**changes):
    rows = parse(
        {"zoo": {"localizers": {"map": ROW | changes}}}, {"zoo.localizers": kinds.rows(kinds.TRAINED_LOCALIZERS)}
    )
    return rows.localizers["map"].params


def tower(image, shifts):
    """Tokens of a model whose only feature is the mean grey value of a patch, of all places of an image."""
    seen = [shifted(image, place) for place in places(shifts, PATCH, "shifts")]
    means = [one.reshape(ROWS, PATCH, ROWS, PATCH).mean(axis=(1, 3)) for one in seen]
    return np.stack(means)[..., None].astype(np.float32)


def known(name, tokens, points=(), label=None, geometry=SQUARE, patient=None, spacing_mm=1.0):
    marks = np.array(points, np.float64).reshape(-1, 2)
    return Known(
        image_id=name,
        patient_id=patient or name,
        geometry=geometry,
        spacing_mm=spacing_mm,
        label=int(len(marks) > 0) if label is None else label,
        points=marks,
        tokens=lambda: tokens,
    )


def setting(tmp_path):
    return Setting(row="map", folder=tmp_path, rows=ROWS)


@pytest.mark.parametrize("shifts", [1, 2, 3])
def test_a_patch_planted_at_any_place_is_found_in_the_cell_of_its_centre(shifts):
    step = PATCH // shifts
    middle = token_grid.centres(ROWS, shifts) * SIDE
    for down in range(shifts):
        for right in range(shifts):
            # what fills the token in row 2 and column 1 of the image when it is moved to place (down, right)
            top, left = 2 * PATCH - down * step, PATCH - right * step
            image = np.zeros((SIDE, SIDE), np.uint8)
            image[top : top + PATCH, left : left + PATCH] = 200
            tokens = tower(image, shifts)
            assert tokens[down * shifts + right, 2, 1, 0] == 200
            fine = token_grid.interleaved(tokens)[..., 0]
            row, column = np.unravel_index(fine.argmax(), fine.shape)
            assert (fine == 200).sum() == 1
            assert (middle[row], middle[column]) == (top + PATCH / 2, left + PATCH / 2)


@pytest.mark.parametrize("shifts", [2, 3, 4])
def test_each_token_of_each_place_has_a_cell_of_its_own(shifts):
    tokens = np.arange(shifts**2 * ROWS**2, dtype=np.float32).reshape(shifts**2, ROWS, ROWS, 1)
    assert sorted(token_grid.interleaved(tokens).ravel().tolist()) == sorted(tokens.ravel().tolist())


def test_tokens_that_are_no_square_of_places_are_refused():
    with pytest.raises(ModelError, match="n \\* n places"):
        token_grid.interleaved(np.zeros((3, 4, 4, 1), np.float32))


def test_padding_and_what_lies_beyond_the_square_is_not_on_the_image():
    wide = Geometry(width_px=100, height_px=50, side_px=SIDE)
    on = token_grid.inside(wide, ROWS, 1)
    assert on.any(axis=1).tolist() == [False, True, True, False]
    fine = token_grid.inside(SQUARE, ROWS, 4)
    assert not fine[0].any() and fine[1:, 1:].all()  # the first token of the last place is centred above the image


@given(st.integers(1, 99), st.integers(1, 99), st.floats(0, 1), st.floats(0, 1))
def test_a_target_is_largest_in_the_cell_whose_centre_is_nearest(width, height, x, y):
    geometry = Geometry(width_px=width, height_px=height, side_px=SIDE)
    point = np.array([[x * (width - 1), y * (height - 1)]])
    target = token_grid.gaussian(point, geometry, ROWS, 2, 0.2 * max(width, height))
    u, v = geometry.to_unit(*point[0])
    middle = token_grid.centres(ROWS, 2)
    gaps = np.add.outer((middle - v) ** 2, (middle - u) ** 2)
    assert gaps.flat[target.argmax()] == pytest.approx(gaps.min())


def random_cells(seed=0, images=6, each=9, features=3):
    rng = np.random.default_rng(seed)
    label = np.array([0.0, 1.0] * (images // 2))
    return Cells(
        tokens=rng.normal(2, 3, (images * each, features)).astype(np.float32),
        image=np.repeat(np.arange(images), each),
        target=rng.random(images * each) * np.repeat(label, each),
        weight=rng.random(images * each),
        label=label,
        label_weight=np.ones(images),
    )


HOW = {"loss": "weighted_cross_entropy", "focus": 0.0, "sharpness": 1.0, "iterations": 1000, "tolerance": 1e-9}


def test_a_head_by_marks_is_the_logistic_regression_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    cells = replace(random_cells(), label_weight=np.zeros(6))
    scaler = StandardScaler().fit(cells.tokens.astype(np.float64))
    twice = np.concatenate([scaler.transform(cells.tokens.astype(np.float64))] * 2)
    classes = np.repeat([1, 0], len(cells.target))
    weights = np.concatenate([cells.weight * cells.target, cells.weight * (1 - cells.target)])
    reference = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(twice, classes, sample_weight=weights)
    head = map_head.fit(cells, strength=0.5, **HOW)
    expected = reference.decision_function(twice[: len(cells.target)])
    assert head.logits(cells.tokens) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("loss", ["weighted_cross_entropy", "focal"])
def test_the_slope_of_a_loss_is_its_derivative(loss):
    focus = 2.0
    logits, target = np.linspace(-4, 4, 17), np.linspace(0, 1, 17)
    step = 1e-6
    up, down = (map_head.LOSSES[loss](logits + sign * step, target, focus)[0] for sign in (1, -1))
    assert map_head.LOSSES[loss](logits, target, focus)[1] == pytest.approx((up - down) / (2 * step), abs=1e-7)


def test_a_log_sum_exp_lies_between_the_mean_and_the_largest_and_nears_either():
    logits, image = np.array([0.0, 1.0, 5.0]), np.zeros(3, np.int64)
    counted = np.ones(3, bool)
    found = {r: map_head.log_sum_exp(logits, image, counted, r, 1)[0][0] for r in (1e-6, 1.0, 1e3)}
    assert found[1e-6] == pytest.approx(2.0, abs=1e-4) and found[1e3] == pytest.approx(5.0, abs=2e-3)
    assert 2.0 < found[1.0] < 5.0


def test_the_parts_of_cells_in_a_log_sum_exp_are_its_derivative():
    rng = np.random.default_rng(3)
    logits, image, counted = rng.normal(size=6), np.array([0, 0, 0, 1, 1, 1]), np.array([True] * 5 + [False])
    parts = map_head.log_sum_exp(logits, image, counted, 2.0, 2)[1]
    for cell in range(6):
        moved = logits + 1e-6 * (np.arange(6) == cell)
        change = (
            map_head.log_sum_exp(moved, image, counted, 2.0, 2)[0]
            - map_head.log_sum_exp(logits, image, counted, 2.0, 2)[0]
        )
        assert change.sum() / 1e-6 == pytest.approx(parts[cell], abs=1e-5)


def test_a_head_of_image_labels_alone_is_blind_to_targets_and_finds_the_cell_that_tells():
    rng = np.random.default_rng(1)
    cells = random_cells(images=40, each=16, features=4)
    tokens = rng.normal(size=(640, 4)).astype(np.float32)
    for image in range(1, 40, 2):
        tokens[16 * image + rng.integers(16), 2] += 6.0
    cells = replace(cells, tokens=tokens, weight=np.zeros(640))
    head = map_head.fit(cells, strength=0.01, **HOW)
    assert np.abs(head.weights).argmax() == 2 and head.weights[2] > 0
    other = map_head.fit(replace(cells, target=1 - cells.target), strength=0.01, **HOW)
    assert (head.weights == other.weights).all()


def test_an_image_that_teaches_nothing_changes_no_bit_of_the_head():
    cells = random_cells()
    quiet = cells.image == 2
    weight, label_weight = np.where(quiet, 0.0, cells.weight), (np.arange(6) != 2).astype(float)
    silent = replace(cells, weight=weight, label_weight=label_weight)
    other = replace(silent, tokens=np.where(quiet[:, None], np.float32(9), cells.tokens), target=np.ones(len(quiet)))
    for loss, focus in (("weighted_cross_entropy", 0.0), ("focal", 2.0)):
        how = {**HOW, "loss": loss, "focus": focus}
        first, second = (
            map_head.fit(silent, strength=1.0, **how),
            map_head.fit(replace(other, target=np.where(quiet, 1.0, cells.target)), strength=1.0, **how),
        )
        assert (first.weights == second.weights).all() and first.bias == second.bias


def test_cells_of_which_none_teaches_and_tokens_that_are_not_finite_are_refused():
    cells = random_cells()
    with pytest.raises(TrainingError, match="no cell that teaches"):
        map_head.fit(replace(cells, weight=0 * cells.weight, label_weight=np.zeros(6)), strength=1.0, **HOW)
    with pytest.raises(TrainingError, match="not finite"):
        map_head.fit(replace(cells, tokens=cells.tokens * np.nan), strength=1.0, **HOW)


def test_of_two_peaks_too_near_the_cooler_is_left_out_and_the_place_is_finer_than_a_cell():
    heat = np.zeros((9, 9))
    heat[2, 2], heat[2, 3], heat[2, 5], heat[7, 7] = 0.9, 0.45, 0.6, 0.3
    middle = token_grid.centres(9, 1)
    how = {"most": 9, "power": 1.0}
    near = map_peaks.peaks(heat, middle, heat >= 0, WHOLE, distance_cells=3.5, **how)
    far = map_peaks.peaks(heat, middle, heat >= 0, WHOLE, distance_cells=3.0, **how)
    assert [one.confidence for one in near] == [0.9, 0.3] and [one.confidence for one in far] == [0.9, 0.6, 0.3]
    assert near[0].u == pytest.approx((2.5 * 0.9 + 3.5 * 0.45) / 1.35 / 9) and near[0].v == pytest.approx(2.5 / 9)


def test_cells_off_the_image_are_no_peaks_and_points_stay_on_it():
    heat = np.full((4, 4), 0.1)
    heat[0, 0], heat[1, 1] = 0.9, 0.5
    on = np.zeros((4, 4), bool)
    on[1:3] = True
    found = map_peaks.peaks(
        heat, np.array([0.0, 0.25, 0.5, 0.75]), on, ((0.0, 0.25), (1.0, 0.75)), most=1, distance_cells=1.0, power=1.0
    )
    assert [one.confidence for one in found] == [0.5] and found[0].v >= 0.25


def planted(seed, points, noise=0.05):
    """An image whose patches around some points are bright, and its tokens."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = 40 * np.ones((SIDE, SIDE))
    for x, y in points:
        image += 150 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 5.0**2))
    tokens = tower(np.clip(image, 0, 255).astype(np.uint8), 2) / 100
    other = rng.normal(size=tokens.shape)
    return np.concatenate([tokens + noise * rng.normal(size=tokens.shape), other], axis=-1).astype(np.float16)


def study():
    rng = np.random.default_rng(5)
    marked = [rng.uniform(8, SIDE - 8, (1, 2)) for _ in range(8)]
    return [
        *(known(f"p{number}", planted(number, points), points) for number, points in enumerate(marked)),
        *(known(f"n{number}", planted(100 + number, [])) for number in range(8)),
    ]


@pytest.mark.parametrize("supervision", ["marks", "image_labels", "both"])
def test_planted_nodules_are_found_on_images_that_taught_nothing(tmp_path, supervision):
    row, where = params(supervision=supervision), setting(tmp_path)
    fitted = heatmap.fit(row, where, heatmap.teaching(row, study()))
    assert fitted.trained_parameters == 3 and "8 nodules on 8 images of 8 patients and 5 negative" in fitted.notes[0]
    new = [np.array([[15.0, 30.0]]), np.array([[36.0, 12.0]])]
    for number, points in enumerate(new):
        bare = replace(known("new", planted(50 + number, points)), label=None)
        (found,) = heatmap.find(row, where, [bare])
        x, y = SQUARE.from_unit(found[0].u, found[0].v)
        assert np.hypot(x - points[0, 0], y - points[0, 1]) < PATCH / 3
        assert all(0 <= one.confidence <= 1 for one in found)


def test_a_point_lies_in_the_original_however_the_image_was_padded(tmp_path):
    row, where = params(), setting(tmp_path)
    heatmap.fit(row, where, study())
    wide = Geometry(width_px=4 * SIDE, height_px=2 * SIDE, side_px=SIDE)  # the lower and upper quarter are padding
    (found,) = heatmap.find(row, where, [known("wide", planted(7, [(30.0, 20.0)]), geometry=wide)])
    x, y = wide.from_unit(found[0].u, found[0].v)
    assert np.hypot(x - 4 * 30.5, y - (4 * 20.5 - SIDE)) < 4 * PATCH / 3


def test_the_same_images_give_the_same_bits(tmp_path):
    row = params(supervision="both")
    for name in "ab":
        heatmap.fit(row, setting(tmp_path / name), study())
    assert len({(tmp_path / name / heatmap.FILE).read_bytes() for name in "ab"}) == 1


def test_an_images_own_mark_moved_changes_no_bit_of_its_heatmap_where_its_patient_taught_nothing():
    images = study()
    where = Setting(row="map", folder=None, rows=ROWS)
    moved = [replace(images[0], points=images[0].points + 20.0), *images[1:]]
    for row in (params(), params(supervision="both"), params(supervision="image_labels")):
        maps = []
        for some in (images, moved):
            prepared = heatmap.prepare(row, where, some)
            head = heatmap.learn(row, prepared.taught_by(prepared.patients != images[0].patient_id))
            maps.append(heatmap.heat(row, where, head, some[0]))
        assert (maps[0] == maps[1]).all()


def test_marks_that_cannot_teach_are_refused_all_at_once(tmp_path):
    negative = [image for image in study() if image.negative]
    marked = [image for image in study() if image.marked]
    with pytest.raises(MarksError, match="map: found no image with marked nodules") as found:
        heatmap.fit(params(), setting(tmp_path), [])
    assert "no negative image" in str(found.value)
    same = [replace(image, patient_id="p") for image in marked]
    with pytest.raises(MarksError, match="8 marked images of one patient \\(p\\)"):
        heatmap.fit(params(), setting(tmp_path), [*same, *negative])


def test_a_target_in_mm_takes_the_spacing_and_is_refused_without_one(tmp_path):
    half = params(target_mm=2.0, target_fraction=0.0)
    images = [replace(image, spacing_mm=0.5) for image in study()]
    same = params(target_fraction=4.0 / SQUARE.diagonal_px)
    prepared = [heatmap.prepare(row, setting(tmp_path), images).cells.target for row in (half, same)]
    assert prepared[0] == pytest.approx(prepared[1])
    with pytest.raises(MarksError, match="1 marked images without a spacing"):
        heatmap.fit(half, setting(tmp_path), [replace(images[0], spacing_mm=None), *images[1:]])


def test_tokens_of_other_places_than_the_rows_are_refused(tmp_path):
    with pytest.raises(ModelError, match="found tokens of shape"):
        heatmap.fit(params(shifts=3), setting(tmp_path), study())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target_mm": 5.0}, "wanted one of them above 0"),
        ({"target_fraction": 0.0}, "wanted one of them above 0"),
        ({"loss": "focal"}, "focus 0 with loss focal"),
        ({"focus": 2.0}, "focus 2 with loss weighted_cross_entropy"),
        ({"supervision": "words"}, "supervision"),
        ({"library": "medgemma"}, "wanted source 'base'"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused_by_name(changes, said):
    with pytest.raises(ParamsError, match=f"zoo.localizers.map.*{said}"):
        params(**changes)
