"""The lung field: against the lungs that the simulator knows, on real images, and on images without lungs."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from stages.lib.core.errors import ImageError
from stages.lib.demo.synthetic import image as images
from stages.lib.images import preprocess, reading
from stages.lib.images.lung_field import body, lung_field

IMAGES = 16
SIDE = 112


def normalized(pixels: np.ndarray, side: int = SIDE, high: float = 99.5) -> np.ndarray:
    return preprocess.normalize_pixels(pixels, low_percentile=0.5, high_percentile=high, side_px=side)[0]


def drawn(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A normalized simulated image, every second one not square, and its true lungs, both (SIDE, SIDE)."""
    image = images.draw(
        np.random.default_rng([7, number]),
        images.patient(np.random.default_rng([8, number])),
        width_px=160,
        height_px=160 if number % 2 else 150,
        nodules=number % 3,
        diameter_mm=(8.0, 30.0),
        contrast=(0.3, 1.0),
    )
    truth = normalized(image.lungs.astype(np.uint8) * 255, high=100.0) > 127
    return normalized(np.rint(image.density * 255).astype(np.uint8)), truth


@pytest.fixture(scope="module")
def simulated() -> list[tuple[np.ndarray, np.ndarray]]:
    return [drawn(number) for number in range(IMAGES)]


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))


def test_simulated_lungs_are_found_and_pass_the_check(simulated: list[tuple[np.ndarray, np.ndarray]]) -> None:
    fields = [lung_field(pixels) for pixels, _ in simulated]
    overlap = [dice(field.mask, truth) for field, (_, truth) in zip(fields, simulated, strict=True)]
    assert np.mean(overlap) >= 0.87
    assert min(overlap) >= 0.65
    assert sum(field.problem is None for field in fields) >= IMAGES - 2
    for field, (pixels, _) in zip(fields, simulated, strict=True):
        assert field.mask.dtype == bool
        assert field.mask.shape == pixels.shape
        assert not (field.mask & ~body(pixels)).any()


def test_the_lung_field_grows_with_the_side_of_the_image(simulated: list[tuple[np.ndarray, np.ndarray]]) -> None:
    overlap = []
    for pixels, truth in simulated[:4]:
        double = lung_field(cv2.resize(pixels, (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_LINEAR))
        assert double.problem is None
        overlap.append(dice(double.mask, np.kron(truth, np.ones((2, 2), bool))))
    assert np.mean(overlap) > 0.85


@pytest.mark.real_images
def test_of_31_real_images_29_pass_and_a_lung_filled_by_a_mass_is_why_one_does_not(real_images: Path) -> None:
    problems = {}
    for path in sorted(real_images.glob("*/*.png")):
        decoded = reading.read_grey(str(path), max_pixels=10_000_000)
        field = lung_field(normalized(decoded.pixels, side=224))
        problems[path.name] = field.problem
        if field.problem is None:
            assert 0.1 < field.mask.mean() < 0.45, path.name
    failed = {name: problem for name, problem in problems.items() if problem is not None}
    assert len(problems) == 31
    assert len(failed) == 2
    assert "not darker" in str(failed["00018588_002.png"])


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.zeros((64, 64), np.uint8), "black"),
        (np.full((64, 64), 255, np.uint8), "one flat grey"),
        (np.full((64, 64), 90, np.uint8), "one flat grey"),
        (np.random.default_rng(0).integers(0, 256, (96, 96)).astype(np.uint8), "not darker"),
        (np.tile(np.arange(96, dtype=np.uint8) * 2, (96, 1)), "not darker"),
        (np.pad(np.full((2, 1024), 200, np.uint8), ((509, 513), (0, 0))), "black"),
        (np.pad(np.full((8, 64), 200, np.uint8), ((28, 28), (0, 0))), "one flat grey"),
        (np.array([[200]], np.uint8), "one flat grey"),
    ],
    ids=["black", "white", "grey", "noise", "ramp", "line", "stripe", "one pixel"],
)
def test_an_image_without_lungs_fails_the_check_with_a_reason(pixels: np.ndarray, reason: str) -> None:
    field = lung_field(pixels)
    assert field.problem is not None
    assert reason in field.problem
    assert field.mask.shape == pixels.shape


def test_inverted_and_turned_radiographs_mostly_fail_the_check(simulated: list[tuple[np.ndarray, np.ndarray]]) -> None:
    wrong = [turn(pixels) for pixels, _ in simulated[:4] for turn in (lambda p: 255 - p, np.rot90, np.flipud)]
    passed = sum(lung_field(np.ascontiguousarray(pixels)).problem is None for pixels in wrong)
    assert passed <= 1


def test_the_body_has_no_padding_no_border_and_no_air_beside_it() -> None:
    pixels = np.zeros((120, 120), np.uint8)
    pixels[20:100, 10:110] = 20  # open air, after 20 rows of padding and 10 columns of collimation
    pixels[30:100, 30:90] = 150
    pixels[50:80, 40:55] = 5  # a lung as dark as air, but inside the body
    mask = body(pixels)
    assert not mask[:20].any() and not mask[100:].any() and not mask[:, :10].any()
    assert not mask[40:90, 12:25].any()
    assert mask[34:98, 34:86].all()


def test_pixels_that_are_no_normalized_image_are_refused() -> None:
    for wrong in (np.zeros((4, 5), np.uint8), np.zeros((4, 4), np.uint16), np.zeros((4, 4, 3), np.uint8)):
        with pytest.raises(ImageError, match="wanted uint8 of"):
            lung_field(wrong)
