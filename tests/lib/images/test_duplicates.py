"""Files of one radiograph are told from radiographs that are only alike."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from stages.lib.images import duplicates, reading

SAME = 0.96


def radiograph(seed: int, side: int = 300) -> np.ndarray:
    """A body with two lungs, the same in every image, and soft structures that are an image's own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    lungs = sum(np.exp(-((((x - at) / 0.25) ** 2 + (y / 0.5) ** 2) ** 2)) for at in (-0.4, 0.4))
    own = sum(
        rng.normal()
        * np.exp(-((x - rng.uniform(-1, 1)) ** 2 + (y - rng.uniform(-1, 1)) ** 2) / rng.uniform(0.001, 0.02))
        for _ in range(60)
    )
    grey = 0.7 - 0.45 * lungs + 0.04 * own + rng.normal(0, 0.003, (side, side))
    return (np.clip(grey, 0, 1) * 4000).astype(np.uint16)


def copies(pixels: np.ndarray) -> dict[str, np.ndarray]:
    low, high = np.percentile(pixels, [0.5, 99.5])
    unit = np.clip((pixels - low) / (high - low), 0, 1)
    eight = np.rint(unit * 255).astype(np.uint8)
    height, width = pixels.shape
    jpeg = cv2.imdecode(cv2.imencode(".jpg", eight, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_UNCHANGED)
    assert jpeg is not None
    return {
        "half": np.asarray(cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)),
        "quarter": np.asarray(cv2.resize(pixels, (width // 4, height // 4), interpolation=cv2.INTER_AREA)),
        "eight bits": eight,
        "jpeg": np.asarray(jpeg),
        "bright": np.rint(unit**0.6 * 255).astype(np.uint8),
        "dark": np.rint(unit**1.7 * 255).astype(np.uint8),
    }


def found(images: list[np.ndarray], least: float = SAME) -> list[tuple[int, int]]:
    thumbnails = np.stack([duplicates.thumbnail(image) for image in images])
    return [(pair.first, pair.second) for pair in duplicates.pairs(thumbnails, least)]


def test_a_copy_that_is_scaled_compressed_or_shown_otherwise_is_found_and_other_images_are_not() -> None:
    images = [radiograph(seed) for seed in range(24)]
    plain = np.stack([duplicates.thumbnail(image).ravel() for image in images]).astype(float)
    assert np.quantile(np.corrcoef(plain), 0.25) > 0.2  # so they look alike
    assert found(images) == []
    for name, copy in copies(images[5]).items():
        assert found([*images, copy]) == [(5, 24)], name


def test_of_few_images_only_a_close_copy_is_found_since_nothing_says_what_all_have_in_common() -> None:
    few = [radiograph(seed) for seed in range(4)]
    assert found(few) == []
    assert found([*few, copies(few[2])["eight bits"]]) == [(2, 4)]
    assert found([few[0], few[0]]) == [(0, 1)]
    assert found([few[0]]) == [] == found([few[0]][:1])


def test_without_the_mean_image_the_correlation_is_pearsons_of_the_residuals() -> None:
    thumbnails = np.stack([duplicates.thumbnail(radiograph(seed)) for seed in range(12)])
    thumbnails[7] = np.clip(thumbnails[3].astype(int) + np.random.default_rng(0).integers(-9, 10, (32, 32)), 0, 255)
    pair = next(p for p in duplicates.pairs(thumbnails, 0.5) if (p.first, p.second) == (3, 7))
    rows = thumbnails.reshape(12, -1).astype(float)
    rows -= rows.mean(1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    mean = rows.sum(0)
    residuals = [row - mean * (row @ mean) / (mean @ mean) for row in rows]
    assert pair.correlation == pytest.approx(np.corrcoef(residuals[3], residuals[7])[0, 1], abs=1e-4)
    assert 0 < pair.hash_distance < 30


def test_flat_images_tiny_ones_and_noise_are_never_pairs_nor_errors() -> None:
    rng = np.random.default_rng(3)
    odd = [np.full((40, 40), value, np.uint16) for value in (0, 7, 65535)]
    odd += [np.zeros((32, 5000), np.uint8), *(rng.integers(0, 2, (32, 33)).astype(np.uint8) for _ in range(9))]
    odd += [rng.integers(0, 65536, (50, 400)).astype(np.uint16) for _ in range(9)]
    assert found(odd) == []
    assert found(odd[:4]) == []
    assert duplicates.pairs(np.zeros((0, 32, 32), np.uint8), SAME) == []


def test_where_all_images_are_alike_the_list_stays_short_and_they_are_one_group() -> None:
    thumbnails = np.stack([duplicates.thumbnail(radiograph(1))] * 100 + [duplicates.thumbnail(radiograph(2))] * 100)
    pairs = duplicates.pairs(thumbnails, SAME)
    assert len(pairs) <= 200 * duplicates.MOST_LISTED
    first = duplicates.groups([(pair.first, pair.second) for pair in pairs], 200)
    assert first == [0] * 100 + [100] * 100


def test_blocks_of_images_give_the_pairs_of_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    thumbnails = np.stack([duplicates.thumbnail(radiograph(seed, 64)) for seed in range(40)])
    for place in range(6):
        thumbnails[30 + place] = np.clip(
            thumbnails[5 * place] + np.random.default_rng(place).normal(0, 9, (32, 32)), 0, 255
        )
    whole = duplicates.pairs(thumbnails, 0.2)
    monkeypatch.setattr(duplicates, "BLOCK", 4096)
    monkeypatch.setattr(duplicates, "HASH_BLOCK", 70)
    parts = duplicates.pairs(thumbnails, 0.2)
    assert len(whole) >= 6
    assert [(pair.first, pair.second) for pair in parts] == [(pair.first, pair.second) for pair in whole]
    assert [pair.correlation for pair in parts] == pytest.approx([pair.correlation for pair in whole], abs=2e-4)


@pytest.mark.real_images
def test_real_images_are_told_apart_and_their_copies_found(real_images: Path) -> None:
    paths = sorted(real_images.glob("*/*.png"))
    images = [reading.read_grey(path, max_pixels=10_000_000).pixels for path in paths]
    thumbnails = np.stack([duplicates.thumbnail(image) for image in images])
    assert len(paths) == 31 and duplicates.pairs(thumbnails, 0.85) == []
    for place in (0, 9, 30):
        for name, copy in copies(images[place]).items():
            pairs = duplicates.pairs(np.concatenate([thumbnails, duplicates.thumbnail(copy)[None]]), SAME)
            assert [(pair.first, pair.second) for pair in pairs] == [(place, 31)], (paths[place].name, name)
