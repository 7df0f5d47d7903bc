"""From grey values to a normalized image."""

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from folders import folder_params
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pngs import image, png

from stages.data import ingest, normalize
from stages.lib.core import params, tables
from stages.lib.core.errors import DataError, ImageError, ParamsError
from stages.lib.images import names, preprocess, reading

RULE: dict[str, Any] = {"low_percentile": 0.5, "high_percentile": 99.5, "side_px": 32}
PARAMS = normalize.Params(**RULE)
GREY = st.one_of(
    *(arrays.arrays(dtype, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)) for dtype in (np.uint8, np.uint16))
)


@settings(deadline=None)
@given(pixels=GREY, percent=st.floats(0, 100))
def test_a_percentile_is_that_of_numpy_to_the_last_bit(pixels: np.ndarray, percent: float) -> None:
    counts = preprocess.histogram(pixels)
    assert preprocess.percentile(counts, percent) == np.percentile(pixels, percent, method="linear")


@pytest.mark.parametrize("percent", [0.0, 0.5, 1.0, 33.3, 50.0, 99.5, 100.0])
def test_a_percentile_of_a_whole_image_is_that_of_numpy_to_the_last_bit(percent: float) -> None:
    pixels = image(5, width=901, height=733, dtype=np.uint16)
    assert preprocess.percentile(preprocess.histogram(pixels), percent) == np.percentile(pixels, percent)


@settings(deadline=None)
@given(pixels=GREY)
def test_the_histogram_counts_every_pixel_once(pixels: np.ndarray) -> None:
    bins = int(np.iinfo(pixels.dtype).max) + 1
    np.testing.assert_array_equal(preprocess.histogram(pixels), np.bincount(pixels.ravel(), minlength=bins))


def test_the_histogram_is_exact_where_float32_no_longer_counts() -> None:
    pixels = np.zeros((5000, 5000), np.uint8)
    pixels[0, :3] = 1
    assert preprocess.histogram(pixels)[:2].tolist() == [5000 * 5000 - 3, 3]


@pytest.mark.parametrize(("height", "width"), [(33, 7), (7, 33), (8, 8), (1, 1), (9, 70)])
def test_a_histogram_of_blocks_of_rows_is_that_of_the_whole(
    height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = image(3, width=width, height=height)
    whole = np.bincount(pixels.ravel(), minlength=256)
    monkeypatch.setattr(preprocess, "EXACT_COUNT_PX", 64)
    np.testing.assert_array_equal(preprocess.histogram(pixels), whole)


def test_the_coarse_histogram_has_64_bins_of_4_grey_values() -> None:
    pixels = image(3, width=40, height=40)
    bins = [((pixels >= 4 * number) & (pixels < 4 * number + 4)).sum() for number in range(64)]
    assert preprocess.coarse_histogram(pixels) == bins
    assert preprocess.coarse_histogram(np.zeros((2, 2), np.uint8)) == [4] + [0] * 63


def test_the_histogram_refuses_what_is_not_grey_values() -> None:
    for wrong in (np.zeros((3, 3)), np.zeros((3, 3, 3), np.uint8), np.zeros((0, 3), np.uint8)):
        with pytest.raises(ImageError, match="wanted uint8 or uint16"):
            preprocess.histogram(wrong)


def test_an_image_halved_is_the_mean_of_four_pixels_by_hand() -> None:
    pixels = np.array([[0, 100, 255, 255], [100, 200, 255, 255], [0, 0, 1, 2], [0, 0, 3, 4]], np.uint8)
    square, low, high = preprocess.normalize_pixels(pixels, low_percentile=0.0, high_percentile=100.0, side_px=2)
    assert (low, high) == (0.0, 255.0)
    assert square.tolist() == [[100, 255], [0, 2]]  # 2.5 is rounded to the even neighbour


def test_an_image_that_is_not_square_is_padded_with_zeros_in_the_middle() -> None:
    pixels = np.array([[100, 255]], np.uint8).repeat(2, axis=1).repeat(2, axis=0)
    square, _, _ = preprocess.normalize_pixels(pixels, low_percentile=0.0, high_percentile=100.0, side_px=4)
    assert square.tolist() == [[0] * 4, [0, 0, 255, 255], [0, 0, 255, 255], [0] * 4]
    upright, _, _ = preprocess.normalize_pixels(pixels.T.copy(), low_percentile=0.0, high_percentile=100.0, side_px=4)
    assert upright.tolist() == square.T.tolist()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_grey_mapping_is_clip_and_scale_in_double_precision(seed: int, dtype: type) -> None:
    pixels = image(seed, width=32, height=32, dtype=dtype)
    square, low, high = preprocess.normalize_pixels(pixels, **RULE)
    wanted = np.clip((pixels.astype(float) - low) / (high - low), 0, 1) * 255
    assert (low, high) == tuple(np.percentile(pixels, [0.5, 99.5]))
    assert np.abs(square - wanted).max() <= 0.5 + 1e-4


@settings(deadline=None)
@given(seed=st.integers(0, 1000), slope=st.integers(1, 200), offset=st.integers(0, 10000))
def test_the_exposure_of_an_image_does_not_change_its_normalized_pixels(seed: int, slope: int, offset: int) -> None:
    pixels = image(seed, width=33, height=40).astype(np.uint16)
    plain, _, _ = preprocess.normalize_pixels(pixels, **RULE)
    exposed, _, _ = preprocess.normalize_pixels(
        (pixels * np.uint16(slope) + np.uint16(offset)).astype(np.uint16), **RULE
    )
    assert np.abs(plain.astype(int) - exposed).max() <= 1


def test_sixteen_bits_give_finer_grey_than_eight_bits_rounded_before_the_resize() -> None:
    ramp = np.tile(np.linspace(0, 65535, 640), (640, 1)).astype(np.uint16)
    ours, low, high = preprocess.normalize_pixels(ramp, **RULE)
    exact = np.clip((ramp - low) / (high - low), 0, 1) * 255
    exact = exact.reshape(32, 20, 32, 20).mean(axis=(1, 3))
    coarse = cv2.resize(
        np.floor(exact.repeat(20, 0).repeat(20, 1)).astype(np.uint8), (32, 32), interpolation=cv2.INTER_AREA
    )
    assert np.abs(ours - exact).max() <= 0.501 < np.abs(coarse - exact).max()


def test_a_small_nodule_is_not_lost_between_samples() -> None:
    pixels = image(0, width=640, height=640) // 8
    pixels[403:413, 203:213] = 255
    square, _, _ = preprocess.normalize_pixels(pixels, low_percentile=0.0, high_percentile=100.0, side_px=32)
    assert square[20, 10] > square.astype(float).mean() + 10 * np.delete(square.ravel(), 20 * 32 + 10).std()


def test_an_image_without_contrast_is_refused_and_never_black() -> None:
    pixels = np.zeros((40, 40), np.uint16)
    pixels[:2, :2] = 9
    with pytest.raises(ImageError, match=r"percentiles 0\.5 and 99\.5 are both 0"):
        preprocess.normalize_pixels(pixels, **RULE)


def test_what_ingest_lets_pass_has_contrast_at_the_shipped_percentiles() -> None:
    pixels = np.zeros((100, 100), np.uint8)
    pixels.ravel()[:100] = 9
    reading.check_image(pixels)
    assert preprocess.normalize_pixels(pixels, **{**RULE, "side_px": 100})[0].max() == 255
    pixels.ravel()[:2] = 0
    with pytest.raises(ImageError):
        reading.check_image(pixels)


def test_the_pixels_of_a_version_never_change() -> None:
    """Dyadic all through: the same bytes on any processor. If they have to change, raise pixels.VERSION."""
    pixels = image(7, width=64, height=48)
    pixels[0, :2] = 0, 255
    square, _, _ = preprocess.normalize_pixels(pixels, low_percentile=0.0, high_percentile=100.0, side_px=32)
    assert (preprocess.VERSION, hashlib.sha256(square.tobytes()).hexdigest()[:16]) == (1, "aeb22ce9045f1a2d")


def test_the_preprocessing_hash_changes_with_everything_that_decides_the_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed: list[dict[str, float]] = [{}, {"low_percentile": 0.6}, {"high_percentile": 99.4}, {"side_px": 33}]
    preprocessing_hashes = [preprocess.preprocessing_hash(**{**RULE, **change}) for change in changed]
    monkeypatch.setattr(preprocess, "VERSION", preprocess.VERSION + 1)
    assert len({*preprocessing_hashes, preprocess.preprocessing_hash(**RULE)}) == 5
    monkeypatch.undo()
    assert (
        preprocess.preprocessing_hash(low_percentile=0.5, high_percentile=99.5, side_px=32) == preprocessing_hashes[0]
    )


def folder(tmp_path: Path) -> pa.Table:
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    for number, (width, dtype) in enumerate([(40, np.uint8), (64, np.uint16), (33, np.uint8)]):
        (data / f"image {number}.png").write_bytes(png(image(number, width=width, dtype=dtype)))
    return ingest.ingest(folder_params(data)).manifest


def command(tmp_path: Path, part: str, png_folder: Path, out: Path) -> None:
    words = ["--params", json.dumps({"data": {"normalize": RULE}}), "--manifest", str(tmp_path / "manifest.parquet")]
    words += ["--shard", part, "--results", str(tmp_path), "--folder", str(png_folder), "--normalized", str(out)]
    normalize.main(words)


def test_a_shard_without_an_image_is_an_empty_folder_and_an_empty_table(tmp_path: Path) -> None:
    tables.write(tmp_path / "manifest.parquet", folder(tmp_path), tables.MANIFEST)
    command(tmp_path, "4-of-4", tmp_path / "normalized/4-of-4", tmp_path / "out.parquet")
    assert list((tmp_path / "normalized/4-of-4").iterdir()) == []
    assert tables.read(tmp_path / "out.parquet", tables.NORMALIZED).num_rows == 0


def test_every_image_becomes_a_square_with_the_way_back_and_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    manifest = folder(tmp_path)
    once = normalize.normalize(manifest, PARAMS, results=tmp_path, folder=tmp_path / "normalized" / "1-of-1")
    first = {name: (tmp_path / name).read_bytes() for name in once["png"].to_pylist()}
    assert sorted(first) == [f"normalized/1-of-1/image%20{number}.png" for number in range(3)]
    assert {p.name for p in (tmp_path / "normalized" / "1-of-1").iterdir()} == {Path(name).name for name in first}
    for row, original in zip(once.to_pylist(), manifest.to_pylist(), strict=True):
        square = reading.read_grey(tmp_path / row["png"], max_pixels=10_000).pixels
        wanted, low, high = preprocess.normalize_pixels(
            reading.read_grey(original["path"], max_pixels=10_000).pixels, **RULE
        )
        np.testing.assert_array_equal(square, wanted)
        assert (row["low"], row["high"], row["preprocessing_hash"]) == (
            low,
            high,
            preprocess.preprocessing_hash(**RULE),
        )
        longest = max(original["width_px"], original["height_px"])
        assert row["scale"] == 32 / longest
        assert (row["pad_x_px"], row["pad_y_px"]) == (
            (longest - original["width_px"]) // 2,
            (longest - original["height_px"]) // 2,
        )
    again = normalize.normalize(manifest, PARAMS, results=tmp_path, folder=tmp_path / "normalized" / "1-of-1")
    assert again.equals(once)
    assert {name: (tmp_path / name).read_bytes() for name in first} == first


def test_the_parts_of_the_command_line_are_the_whole(tmp_path: Path) -> None:
    tables.write(tmp_path / "manifest.parquet", folder(tmp_path), tables.MANIFEST)
    found = []
    for part in ("1-of-2", "2-of-2"):
        out = tmp_path / f"{part}.parquet"
        command(tmp_path, part, tmp_path / "n" / part, out)
        found.append(tables.read(out, tables.NORMALIZED)["png"].to_pylist())
    assert found == [["n/1-of-2/image%200.png", "n/1-of-2/image%202.png"], ["n/2-of-2/image%201.png"]]
    empty = normalize.normalize(folder(tmp_path).slice(0, 0), PARAMS, results=tmp_path, folder=tmp_path / "n")
    assert tables.check(empty, tables.NORMALIZED).num_rows == 0


def test_rejected_images_are_not_normalized(tmp_path: Path) -> None:
    manifest = folder(tmp_path)
    (tmp_path / "data" / "bad.png").write_bytes(b"<html>")
    manifest = ingest.ingest(folder_params(tmp_path / "data", max_rejected=1)).manifest
    assert pc.sum(pc.equal(manifest["status"], "rejected")).as_py() == 1
    tables.write(tmp_path / "manifest.parquet", manifest, tables.MANIFEST)
    command(tmp_path, "1-of-1", tmp_path / "n", tmp_path / "out.parquet")
    assert tables.read(tmp_path / "out.parquet", tables.NORMALIZED).num_rows == 3


def test_the_table_counts_the_grey_values_of_the_normalized_image(tmp_path: Path) -> None:
    found = normalize.normalize(folder(tmp_path), PARAMS, results=tmp_path, folder=tmp_path / "n").to_pylist()
    for row in found:
        pixels = cv2.imread(str(tmp_path / row["png"]), cv2.IMREAD_UNCHANGED)
        assert row["histogram"] == np.histogram(pixels, bins=64, range=(0, 256))[0].tolist()
    assert found


def test_the_histogram_of_an_image_is_counted_once_per_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, count, counted = folder(tmp_path), preprocess.histogram, []
    monkeypatch.setattr(preprocess, "histogram", lambda pixels: counted.append(pixels.shape) or count(pixels))
    found = normalize.normalize(manifest, PARAMS, results=tmp_path, folder=tmp_path / "n")
    assert len(counted) == manifest.num_rows == found.num_rows > 0
    for original, row in zip(manifest.to_pylist(), found.to_pylist(), strict=True):
        pixels = reading.read_grey(original["path"], max_pixels=10_000).pixels
        square, low, high = preprocess.normalize_pixels(pixels, **RULE)
        assert (tmp_path / row["png"]).read_bytes() == normalize.encoded(square)
        assert (row["low"], row["high"]) == (low, high)


def test_all_images_that_changed_since_ingest_are_named_together(tmp_path: Path) -> None:
    manifest = folder(tmp_path)
    (tmp_path / "data" / "image 0.png").write_bytes(png(image(9)))
    (tmp_path / "data" / "image 2.png").unlink()
    with pytest.raises(DataError) as error:
        normalize.normalize(manifest, PARAMS, results=tmp_path, folder=tmp_path / "n")
    assert len(error.value.problems) == 2
    assert "'image 0.png': its SHA-256" in error.value.problems[0]
    assert "'image 2.png'" in error.value.problems[1]


def test_a_folder_outside_of_the_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="below --results"):
        normalize.normalize(folder(tmp_path), PARAMS, results=tmp_path / "results", folder=tmp_path / "n")


def test_percentiles_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ParamsError, match=r"low_percentile 99\.5 below high_percentile, which is 0\.5"):
        params.parse(
            {"normalize": {"low_percentile": 99.5, "high_percentile": 0.5, "side_px": 32}},
            {"normalize": normalize.Params},
        )


IDS = st.text("aB0._/%-+ \n'\"<é中\\", max_size=12)


@settings(deadline=None)
@given(IDS, IDS)
def test_any_id_gives_a_plain_file_name_of_its_own(one: str, other: str) -> None:
    name = names.png_name(one)
    assert name.isascii() and "/" not in name and name not in ("..", ".")
    assert (name == names.png_name(other)) == (one == other)


@pytest.mark.real_images
def test_no_real_image_is_saturated_or_black(real_images: Path) -> None:
    for path in sorted(real_images.glob("*/*.png")):
        pixels = reading.read_grey(path, max_pixels=10_000_000).pixels
        square, low, high = preprocess.normalize_pixels(pixels, low_percentile=0.5, high_percentile=99.5, side_px=896)
        counts = preprocess.histogram(pixels)
        clipped = counts[: int(np.ceil(low))].sum() + counts[int(high) + 1 :].sum()
        assert clipped <= 0.01 * pixels.size, path.name
        shown = np.bincount(square[square > 0], minlength=256)
        assert (shown > 0).sum() > 180, path.name
        assert shown[255] < 0.02 * square.size, path.name
        assert 0.2 < square[square > 0].mean() / 255 < 0.9, path.name
