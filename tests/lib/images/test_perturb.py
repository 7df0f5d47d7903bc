"""Perturbations: each changes what it says, by as much as it says, and nothing else."""

import numpy as np
import pytest

from stages.lib.core.errors import ImageError
from stages.lib.images import perturb
from stages.lib.images.perturb import Disc

SIDE = 96


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def textured(mean: float = 90.0, sd: float = 6.0, seed: int = 1) -> np.ndarray:
    """A slope with noise on it."""
    slope = np.linspace(-20, 20, SIDE)[None, :]
    return np.clip(np.rint(mean + slope + rng(seed).normal(0, sd, (SIDE, SIDE))), 0, 255).astype(np.uint8)


def with_nodule(pixels: np.ndarray, disc: Disc, height: int = 80) -> np.ndarray:
    return np.where(perturb.discs(SIDE, [disc]), np.minimum(pixels.astype(int) + height, 255), pixels).astype(np.uint8)


def test_a_filled_nodule_is_gone_and_its_place_has_the_grey_and_the_texture_of_the_surroundings() -> None:
    clean, disc = textured(), Disc(60.0, 40.0, 9.0)
    region = perturb.discs(SIDE, [Disc(60.0, 40.0, 11.0)])
    shown = perturb.filled(with_nodule(clean, disc), region, rng())
    assert np.array_equal(shown[~region], clean[~region])
    assert abs(float(shown[region].mean()) - float(clean[region].mean())) < 3
    assert 3 < float(shown[region].std()) < 9


def test_filling_depends_on_nothing_within_the_region() -> None:
    clean, region = textured(), perturb.discs(SIDE, [Disc(60.0, 40.0, 11.0)])
    one, other = (perturb.filled(np.where(region, grey, clean).astype(np.uint8), region, rng()) for grey in (0, 255))
    assert np.array_equal(one, other)


def test_a_levelled_region_has_one_grey_that_tells_nothing_of_what_was_there() -> None:
    clean, region = textured(), perturb.discs(SIDE, [Disc(48.0, 48.0, 30.0)])
    one, other = (perturb.levelled(np.where(region, grey, clean).astype(np.uint8), region) for grey in (10, 240))
    assert np.array_equal(one, other)
    assert np.unique(one[region]).tolist() == [round(float(clean[~region].mean()))]
    assert np.array_equal(one[~region], clean[~region])


@pytest.mark.parametrize("change", [perturb.levelled, lambda pixels, region: perturb.filled(pixels, region, rng())])
def test_what_would_leave_nothing_is_refused(change) -> None:
    with pytest.raises(ImageError, match="whole image"):
        change(textured(), np.ones((SIDE, SIDE), bool))
    with pytest.raises(ImageError, match="wanted uint8 and bool of one shape"):
        change(textured(), np.ones((SIDE, SIDE + 1), bool))


def test_control_discs_are_as_large_lie_in_the_field_and_touch_no_nodule() -> None:
    field = perturb.discs(SIDE, [Disc(30.0, 48.0, 25.0), Disc(70.0, 48.0, 20.0)])
    nodules = [Disc(30.0, 40.0, 6.0), Disc(70.0, 50.0, 4.0)]
    for seed in range(20):
        control = perturb.elsewhere(nodules, field, rng(seed))
        assert sorted(disc.radius_px for disc in control) == [4.0, 6.0]
        place = perturb.discs(SIDE, control)
        assert not (place & ~field).any()
        assert not (place & perturb.discs(SIDE, nodules)).any()
        assert np.hypot(control[0].x - control[1].x, control[0].y - control[1].y) > 10
    with pytest.raises(ImageError, match="no free place"):
        perturb.elsewhere([Disc(30.0, 48.0, 20.0)], field, rng())


def test_markers_are_found_by_their_sharp_edge_and_neither_a_bone_nor_a_bright_nodule_is_one() -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    shoulder = 170 * np.exp(-((columns - 10) ** 2 + (rows - 80) ** 2) / (2 * 12.0**2))
    pixels = np.clip(textured(80) + shoulder, 0, 255).astype(np.uint8)
    field = perturb.discs(SIDE, [Disc(60.0, 50.0, 25.0)])
    pixels = with_nodule(pixels, Disc(60.0, 50.0, 4.0), 200)
    clean = pixels.copy()
    settings = {"level": 160, "max_fraction": 0.02}
    assert (clean >= 235).any()
    assert not perturb.markers(clean, field, **settings).any()
    pixels[6:14, 80:82] = pixels[12:14, 80:86] = 255
    found = perturb.markers(pixels, field, **settings)
    assert found[6:14, 80:82].all()
    assert found[12:14, 80:86].all()
    assert found.sum() < 200
    removed = perturb.filled(pixels, found, rng())
    assert abs(float(removed[found].mean()) - float(clean[found].mean())) < 6
    assert not perturb.markers(removed, field, **settings).any()
    pixels[perturb.discs(SIDE, [Disc(82.0, 10.0, 9.0)])] = 255  # too wide for a stroke
    assert not perturb.markers(pixels, field, **settings).any()


def test_noise_blur_contrast_and_exposure_have_the_strength_that_is_asked_for() -> None:
    grey = np.full((SIDE, SIDE), 128, np.uint8)
    assert float(perturb.noise(grey, 20.0, rng()).std()) == pytest.approx(20.0, rel=0.05)
    dot = np.zeros((SIDE, SIDE), np.uint8)
    dot[46:51, 46:51] = 255
    spread = perturb.blur(dot, 5 / SIDE, rng()).astype(float)
    columns = np.arange(SIDE)
    weights = spread.sum(axis=0) / spread.sum()
    variance = float(weights @ (columns - 48.0) ** 2)
    assert variance == pytest.approx(5.0**2 + 2.0, rel=0.1)
    pixels = textured(120)
    halved = perturb.contrast(pixels, 0.5, rng())
    assert float(halved.std()) == pytest.approx(float(pixels.std()) / 2, rel=0.05)
    assert float(halved.mean()) == pytest.approx(float(pixels.mean()), abs=0.5)
    assert perturb.exposure(np.full((2, 2), 64, np.uint8), 2.0, rng())[0, 0] == round(64 * 64 / 255)


def test_a_rotation_turns_about_the_centre_and_jpeg_loses_the_more_the_lower_its_quality() -> None:
    dot = np.zeros((SIDE + 1, SIDE + 1), np.uint8)
    dot[48, 78] = 255
    places = set()
    for seed in range(8):
        turned = perturb.rotation(dot, 90.0, rng(seed))
        places.add(tuple(int(at) for at in np.unravel_index(turned.argmax(), turned.shape)))
    assert places == {(18, 48), (78, 48)}
    pixels = textured()
    lost = [float(np.abs(perturb.jpeg(pixels, quality, rng()).astype(int) - pixels).mean()) for quality in (90, 50, 10)]
    assert 0 < lost[0] < lost[1] < lost[2]


@pytest.mark.parametrize("name", sorted(perturb.CORRUPTIONS))
def test_a_corruption_keeps_the_shape_leaves_the_original_and_is_the_same_each_time(name: str) -> None:
    pixels = textured()
    before, strength = pixels.copy(), {"blur": 0.02, "jpeg": 40.0, "contrast": 0.5}.get(name, 7.0)
    first, second = (perturb.CORRUPTIONS[name](pixels, strength, rng(3)) for _ in range(2))
    assert np.array_equal(pixels, before)
    assert np.array_equal(first, second)
    assert first.dtype == np.uint8
    assert first.shape == pixels.shape
    assert not np.array_equal(first, pixels)


def test_a_flat_image_has_the_mean_grey_and_nothing_else() -> None:
    assert np.unique(perturb.flat(textured(100))).tolist() == [round(float(textured(100).mean()))]
