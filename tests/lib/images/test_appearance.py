"""Pixels that do not look like a frontal chest radiograph get a remark, and those that do get none."""

import zlib
from pathlib import Path

import numpy as np
import pytest

from stages.lib.demo.synthetic import image as images
from stages.lib.images import appearance, reading
from stages.lib.images.decoded import Decoded

IMAGES = 24


def drawn(number: int) -> np.ndarray:
    """A simulated radiograph of 16 bits, every second one not square."""
    one = images.draw(
        np.random.default_rng([17, number]),
        images.patient(np.random.default_rng([18, number])),
        width_px=200,
        height_px=200 if number % 2 else 180,
        nodules=number % 3,
        diameter_mm=(8.0, 30.0),
        contrast=(0.3, 1.0),
    )
    return np.rint(one.density * 60_000).astype(np.uint16)


@pytest.fixture(scope="module")
def radiographs() -> list[np.ndarray]:
    return [drawn(number) for number in range(IMAGES)]


def kinds(pixels: np.ndarray) -> list[str]:
    return [notice.kind for notice in reading.seen(Decoded(np.ascontiguousarray(pixels), 16))[1]]


def texts(pixels: np.ndarray) -> list[str]:
    return [notice.text for notice in reading.seen(Decoded(np.ascontiguousarray(pixels), 16))[1]]


def inverted(pixels: np.ndarray) -> np.ndarray:
    return np.iinfo(pixels.dtype).max - pixels


def with_marker(pixels: np.ndarray, fraction: float = 0.012) -> np.ndarray:
    side = int((fraction * pixels.size) ** 0.5)
    dimmed = pixels // 8
    dimmed[3 : 3 + side, 3 : 3 + side] = 60_000
    return dimmed


def test_upright_and_mirrored_radiographs_get_no_remark(radiographs: list[np.ndarray]) -> None:
    assert [kinds(image) for image in radiographs] == [[]] * IMAGES
    assert [kinds(image[:, ::-1]) for image in radiographs] == [[]] * IMAGES


def test_an_inverted_one_and_one_turned_by_quarters_is_told_how(radiographs: list[np.ndarray]) -> None:
    for image in radiographs:
        assert kinds(inverted(image)) == ["inverted"]
        assert texts(np.rot90(image, 1)) == ["it seems to be rotated by 90 degrees counterclockwise"]
        assert texts(np.rot90(image, 2)) == ["it seems to be rotated by 180 degrees"]
        assert texts(np.rot90(image, 3)) == ["it seems to be rotated by 90 degrees clockwise"]


def test_a_marker_or_a_border_that_takes_the_range_is_remarked(radiographs: list[np.ndarray]) -> None:
    for image in radiographs[:8]:
        bright = texts(with_marker(image))
        assert any("% of it has the brighter half of the range of grey: a bright marker" in text for text in bright)
        assert "marker" not in kinds(with_marker(image, 0.002))  # the percentiles of normalization cut it off
        border = 40_000 + image // 8
        border[:2] = 0
        assert any("darker half of the range of grey: a dark marker or border" in text for text in texts(border))


def test_images_that_become_black_or_white_are_remarked(radiographs: list[np.ndarray]) -> None:
    for image in radiographs[:4]:
        dim = image // 32
        dim[: len(dim) // 30] = 60_000
        assert "nearly_black" in kinds(dim)
        pale = 60_000 - image // 32
        pale[: len(pale) // 30] = 0
        assert "nearly_white" in kinds(pale)


def test_whatever_the_pixels_there_is_no_error() -> None:
    rng = np.random.default_rng(4)
    for side in ((32, 32), (33, 2000), (4000, 32), (128, 128), (500, 71)):
        for dtype in (np.uint8, np.uint16):
            top = int(np.iinfo(dtype).max)
            odd = [np.zeros(side), np.full(side, top), rng.integers(0, 2, side) * top, rng.integers(0, top, side)]
            half = np.zeros(side)
            half[:, side[1] // 2 :] = top
            spot = np.zeros(side)
            spot[5, 5] = 1
            for pixels in (*odd, half, spot):
                small, remarks, body = reading.seen(Decoded(pixels.astype(dtype), 8))
                assert small.shape == (32, 32) and {notice.kind for notice in remarks} <= {
                    "inverted", "nearly_black", "nearly_white", "marker", "rotated"
                }  # fmt: skip
                assert body is None or len(zlib.decompress(body)) == appearance.BODY_PX**2 // 8


def test_a_point_in_the_air_is_outside_of_the_body_and_one_near_its_edge_is_not() -> None:
    pixels = np.full((400, 300), 2, np.uint16)
    pixels[:, 60:240] = 2000 + np.random.default_rng(0).integers(0, 900, (400, 180))
    mask = appearance.body(appearance.normalized(pixels[::4, ::3].astype(np.float32), 0.0, 2900.0))
    assert mask is not None
    inside = [(150, 200), (64, 10), (236, 399), (55, 200), (244, 0)]
    assert not any(appearance.outside(mask, x, y, (300, 400)) for x, y in inside)
    assert all(appearance.outside(mask, x, y, (300, 400)) for x, y in [(10, 200), (290, 0), (35, 399), (-0.5, -0.5)])
    assert appearance.body(np.zeros((128, 128), np.uint8)) is None


@pytest.mark.real_images
def test_no_real_image_is_remarked_and_of_31_turned_or_inverted_ones_30_are(real_images: Path) -> None:
    paths = sorted(real_images.glob("*/*.png"))
    pixels = [reading.read_grey(path, max_pixels=10_000_000).pixels for path in paths]
    assert len(pixels) == 31 and [kinds(image) for image in pixels] == [[]] * 31
    assert sum(kinds(inverted(image)) == ["inverted"] for image in pixels) == 30
    for turns in (1, 2, 3):
        assert sum(kinds(np.rot90(image, turns)) == ["rotated"] for image in pixels) == 30
