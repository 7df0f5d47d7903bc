"""Synthetic images: exact truth, no difference but the nodules, and a difficulty that can be graded."""

import subprocess
import sys
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.demo.synthetic import image as images
from stages.lib.demo.synthetic.anatomy import ZONES, chest
from stages.lib.demo.synthetic.canvas import Frame, blur, curve, depth_mm, paint, round_off, stroke
from stages.lib.demo.synthetic.nodules import add, body, peak_mm

ROOT = Path(__file__).parents[3]
PLAIN = Frame(64, 48, 2.0, np.eye(2) / 2.0, np.array([32.0, 24.0]))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@cache
def render(number: int, *, nodules: int, side_px: int = 112, height_px: int = 0, diameter=(8, 30), contrast=(0.2, 1)):
    return images.draw(
        np.random.default_rng([5, number]),
        images.patient(np.random.default_rng([6, number])),
        width_px=side_px,
        height_px=height_px or side_px,
        nodules=nodules,
        diameter_mm=diameter,
        contrast=contrast,
    )


def test_equal_random_numbers_give_equal_images():
    one, two = render.__wrapped__(1, nodules=2), render.__wrapped__(1, nodules=2)
    assert one.density.tobytes() == two.density.tobytes()
    assert one.nodules == two.nodules


def test_other_random_numbers_give_another_image():
    assert np.abs(render(1, nodules=0).density - render(2, nodules=0).density).mean() > 0.02


@pytest.mark.parametrize(("width", "height"), [(112, 112), (90, 140), (160, 120), (256, 256)])
def test_an_image_is_grey_between_0_and_1_and_uses_the_whole_range(width, height):
    image = render(3, nodules=1, side_px=width, height_px=height)
    assert image.density.shape == image.lungs.shape == (height, width)
    assert image.density.dtype == np.float32 and image.lungs.dtype == bool
    assert 0 <= image.density.min() < 0.05 and 0.95 < image.density.max() <= 1


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 4), st.sampled_from([(96, 96), (80, 110), (120, 96)]))
def test_any_image_is_finite_and_every_nodule_lies_on_it_as_asked(number, count, shape):
    width, height = shape
    image = render(number, nodules=count, side_px=width, height_px=height)
    assert np.isfinite(image.density).all()
    assert len(image.nodules) == count
    for nodule in image.nodules:
        assert -0.5 <= nodule.x <= width - 0.5 and -0.5 <= nodule.y <= height - 0.5
        assert 8 <= nodule.diameter_mm <= 30 and 0.2 <= nodule.contrast <= 1
        assert nodule.diameter_px == pytest.approx(nodule.diameter_mm * width / images.WIDTH_MM)
        assert nodule.zone in ZONES


def test_the_true_centre_is_that_of_what_was_added():
    for number in range(8):
        off, on = render(number, nodules=0, side_px=192), render(number, nodules=1, side_px=192, contrast=(0.9, 1))
        nodule = on.nodules[0]
        rows, columns = np.indices(on.density.shape)
        near = np.hypot(columns - nodule.x, rows - nodule.y) < 1.2 * nodule.diameter_px
        added = np.where(near, np.maximum(on.density - off.density - 0.02, 0), 0)
        if nodule.zone in ("upper", "middle", "lower") and added.sum() > 1:
            assert (added * columns).sum() / added.sum() == pytest.approx(nodule.x, abs=1.5)
            assert (added * rows).sum() / added.sum() == pytest.approx(nodule.y, abs=1.5)


def test_an_image_with_and_one_without_differ_at_the_nodule_most_of_all():
    for number in range(8):
        off, on = render(number, nodules=0, side_px=160), render(number, nodules=1, side_px=160, contrast=(1, 1))
        nodule = on.nodules[0]
        difference = np.abs(on.density - off.density)
        rows, columns = np.indices(difference.shape)
        far = np.hypot(columns - nodule.x, rows - nodule.y) > 2.2 * nodule.diameter_px
        assert difference[far].mean() < 0.02
        assert np.array_equal(on.lungs, off.lungs)


def test_a_negative_is_a_positive_of_contrast_nought():
    off, empty = render(4, nodules=0), render(4, nodules=1, contrast=(0, 0))
    assert off.density.tobytes() == empty.density.tobytes()


def test_several_nodules_of_an_image_seldom_overlap():
    overlaps = 0
    for number in range(7):
        a, b, c = render(number, nodules=3, side_px=96).nodules
        overlaps += sum(
            np.hypot(p.x - q.x, p.y - q.y) < (p.diameter_px + q.diameter_px) / 2 for p, q in ((a, b), (b, c))
        )
    assert overlaps <= 1


def test_lungs_are_dark_the_mediastinum_bright_and_the_heart_on_the_right_of_the_image():
    for number in range(7):
        image = render(number, nodules=0, side_px=128)
        inner = image.lungs & (blur(image.lungs.astype(np.float32), 4) > 0.9)
        columns = np.flatnonzero(image.lungs.any(0))
        middle = image.density[40:80, (columns[0] + columns[-1]) // 2 - 3 :][:, :6]
        assert image.density[inner].mean() < middle.mean() - 0.25
        assert 0.12 < image.lungs.mean() < 0.5
        left, right = image.lungs[:, :64].sum(), image.lungs[:, 64:].sum()
        assert 0.4 < left / right < 2.5
    hearts = [chest(_standing(), images.patient(np.random.default_rng(n)), 0.0).heart for n in range(10)]
    half = hearts[0].shape[1] // 2
    assert all(heart[60:100, half:].sum() > 1.2 * heart[60:100, :half].sum() for heart in hearts)


def _standing() -> Frame:
    return Frame(128, 128, 2.766, np.eye(2) / 2.766, np.array([63.5, 63.5]))


def test_images_of_a_patient_are_more_alike_than_images_of_two():
    def shadow(patient_number: int, breath: float) -> np.ndarray:
        return chest(_standing(), images.patient(np.random.default_rng(patient_number)), breath).path_mm

    for number in range(5):
        same = np.abs(shadow(number, 0) - shadow(number, 2)).mean()
        other = np.abs(shadow(number, 0) - shadow(number + 100, 0)).mean()
        assert same < other


def test_a_nodule_has_the_area_of_its_circle():
    frame = Frame(256, 256, 1.0, np.eye(2), np.zeros(2))
    found = []
    for number in range(40):
        patch, _, _, _ = body(np.random.default_rng(number), frame, 128.0, 128.0, 24.0)
        found.append(2 * np.sqrt((patch > 0.3 * patch.max()).sum() / np.pi))
    assert np.median(found) == pytest.approx(24, rel=0.12)


def test_the_centre_of_a_nodule_is_its_centre_of_mass_in_pixels_of_the_image():
    frame = Frame(256, 200, 1.0, np.eye(2), np.zeros(2))
    image = np.zeros((200, 256), np.float32)
    patch, corner, x, y = body(np.random.default_rng(3), frame, 101.3, 60.8, 20.0)
    add(image, patch, corner, 2.0)
    rows, columns = np.indices(image.shape)
    assert (image * columns).sum() / image.sum() == pytest.approx(x, abs=1e-3)
    assert (image * rows).sum() / image.sum() == pytest.approx(y, abs=1e-3)
    assert np.hypot(x - 101.3, y - 60.8) < 3


def test_what_lies_beyond_the_border_is_cut_off():
    image = np.zeros((4, 5), np.float32)
    add(image, np.ones((3, 3), np.float32), (-1, 3), 2.0)
    add(image, np.ones((2, 2), np.float32), (9, 9), 2.0)
    assert image.sum() == 8 and image[:2, 3:].min() == 2


@given(st.floats(8, 30), st.floats(0, 1))
def test_a_nodule_adds_more_path_the_larger_and_the_clearer_it_is(diameter, contrast):
    assert peak_mm(diameter, 0) == 0
    assert peak_mm(diameter + 1, contrast) >= peak_mm(diameter, contrast)
    assert peak_mm(diameter, 1) >= peak_mm(diameter, contrast)


def test_painting_covers_the_area_of_the_outline():
    square = np.array([[-20.0, -20], [20, -20], [20, 20], [-20, 20]])
    cover = paint(PLAIN, [square])
    assert cover.sum() * PLAIN.mm_per_px**2 == pytest.approx(1600, rel=0.06)
    assert (cover * np.arange(64)).sum() / cover.sum() == pytest.approx(32, abs=0.1)


def test_a_later_outline_hides_an_earlier_one():
    square = np.array([[-20.0, -20], [20, -20], [20, 20], [-20, 20]])
    assert paint(PLAIN, [square, square / 2], [1.0, 0.2])[24, 32] == pytest.approx(0.2, abs=0.01)


def test_painting_nothing_is_black():
    assert not paint(PLAIN).any()


def test_the_grid_undoes_the_way_to_pixels():
    frame = Frame(40, 30, 2.0, np.array([[0.5, -0.1], [0.1, 0.45]]), np.array([18.0, 13.0]))
    x, y = frame.grid()
    back = frame.to_pixels(np.stack([x, y], -1))
    assert np.allclose(back[..., 0], np.arange(40)[None], atol=1e-3)
    assert np.allclose(back[..., 1], np.arange(30)[:, None], atol=1e-3)


def test_depth_grows_inwards_and_the_border_of_the_image_is_no_edge():
    cover = np.zeros((20, 20), np.float32)
    cover[:, :10] = 1
    depth = depth_mm(PLAIN, cover)
    assert depth[10, 0] > depth[10, 5] > depth[10, 9] > 0
    assert depth[10, 0] == pytest.approx(depth[0, 0])
    assert not depth[:, 10:].any()
    assert depth_mm(PLAIN, np.ones((4, 4), np.float32)).min() > 1000


def test_a_wide_blur_keeps_the_mean_and_takes_the_spread():
    noise = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    for sigma in (2.0, 9.0):
        soft = blur(noise, sigma)
        assert soft.shape == noise.shape
        assert soft.mean() == pytest.approx(noise.mean(), abs=0.03)
        assert soft.std() < 0.3 * noise.std()


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=3, max_size=8))
def test_a_curve_passes_through_its_points(points):
    wanted = np.array(points)
    assert np.allclose(curve(points, between=5)[::5], wanted, atol=1e-9)
    assert np.allclose(curve(points, closed=True, between=5)[::5], wanted, atol=1e-9)


def test_a_stroke_has_the_width_asked_for():
    line = np.stack([np.linspace(0, 30, 20), np.linspace(0, 40, 20)], -1)
    outline = stroke(line, 6.0)
    assert np.allclose(np.linalg.norm(outline[:20] - outline[::-1][:20], axis=1), 6)


def test_a_rounded_body_is_steep_at_its_edge_and_flat_in_its_middle():
    thick = round_off(np.array([0.0, 0.1, 0.9, 1.0]))
    assert thick[1] - thick[0] > 10 * (thick[3] - thick[2])


def test_no_whole_image_statistic_tells_an_image_with_a_nodule_from_the_same_image_without():
    from sklearn.metrics import roc_auc_score

    pairs = [(render(n, nodules=0), render(n, nodules=1)) for n in range(32)]
    statistics = np.array([[_statistics(image.density) for image in pair] for pair in pairs])
    label = np.tile([0, 1], len(pairs))
    for column in range(statistics.shape[2]):
        assert 0.45 <= roc_auc_score(label, statistics[:, :, column].ravel()) <= 0.55


def _statistics(density: np.ndarray) -> list[float]:
    import cv2

    grey = np.rint(density * 255).astype(np.uint8)
    return [grey.mean(), grey.std(), grey.max(), float(np.median(grey)), len(cv2.imencode(".png", grey)[1])]


def test_a_blob_detector_finds_large_clear_nodules_and_not_small_subtle_ones():
    from sklearn.metrics import roc_auc_score

    count, side = 32, 112
    without = [_blob(render(n, nodules=0, side_px=side), side) for n in range(count)]
    auc = {}
    for diameter, contrast in ((28, 1.0), (9, 0.2)):
        images_ = (
            render(n, nodules=1, side_px=side, diameter=(diameter,) * 2, contrast=(contrast,) * 2) for n in range(count)
        )
        scores = without + [_blob(image, side) for image in images_]
        auc[diameter] = roc_auc_score([0] * count + [1] * count, scores)
    assert 0.6 <= auc[28] <= 0.95
    assert 0.45 <= auc[9] <= 0.55


@pytest.mark.slow
def test_the_blob_detector_does_better_the_larger_and_the_clearer_the_nodule():
    from sklearn.metrics import roc_auc_score

    count, side = 60, 160
    without = [_blob(render(n, nodules=0, side_px=side), side) for n in range(count)]
    auc = {
        (diameter, contrast): roc_auc_score(
            [0] * count + [1] * count,
            without
            + [
                _blob(render(n, nodules=1, side_px=side, diameter=(diameter,) * 2, contrast=(contrast,) * 2), side)
                for n in range(count)
            ],
        )
        for diameter, contrast in product((9, 28), (0.2, 0.5, 1.0))
    }
    assert auc[28, 1.0] > auc[28, 0.5] + 0.03
    assert auc[28, 1.0] > auc[9, 1.0] + 0.1
    assert all(0.45 <= auc[key] <= 0.55 for key in ((9, 0.2), (9, 0.5), (28, 0.2)))


def _blob(image: images.Image, side_px: int) -> float:
    """The strongest answer, in the lungs, of a Laplacian of a Gaussian at four scales."""
    import cv2
    from scipy.ndimage import gaussian_laplace

    mm_per_px = images.WIDTH_MM / side_px
    core = np.ones((3, 3), np.uint8)
    inside = cv2.erode(image.lungs.astype(np.uint8), core, iterations=max(round(4 / mm_per_px), 1)).astype(bool)
    sigmas = [diameter / 8**0.5 / mm_per_px for diameter in (8, 12, 18, 26)]
    return max(float((-(sigma**2) * gaussian_laplace(image.density, sigma))[inside].max()) for sigma in sigmas)


def test_importing_the_images_loads_neither_opencv_nor_scipy():
    code = "import sys; import stages.lib.demo.synthetic.image; print({'cv2', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_image_takes_milliseconds():
    import time

    render(0, nodules=1, side_px=256)
    began = time.process_time()
    for number in range(5):
        render(number, nodules=1, side_px=256)
    assert (time.process_time() - began) / 5 < 0.15
