"""Reading one image that may be anything."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicoms import dicom
from pngs import chunk, hostile, image, png, raw_png, scanlines

from stages.lib.core.errors import ImageError
from stages.lib.images import pseudonym, reading

MAX_PIXELS = 1_000_000


def read(tmp_path: Path, data: bytes) -> reading.Decoded:
    path = tmp_path / "image"
    path.write_bytes(data)
    return reading.read_grey(path, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_grey_image_comes_back_to_the_bit(tmp_path: Path, dtype: type, interlaced: bool) -> None:
    pixels = image(3, dtype=dtype)
    decoded = read(tmp_path, png(pixels, interlaced=interlaced))
    assert decoded.pixels.dtype == dtype
    assert decoded.bit_depth == np.dtype(dtype).itemsize * 8
    np.testing.assert_array_equal(decoded.pixels, pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_equal_channels_and_full_opacity_are_a_grey_image(tmp_path: Path, dtype: type, channels: int) -> None:
    pixels = image(3, dtype=dtype)
    opaque = np.full_like(pixels, np.iinfo(dtype).max)
    layers = [pixels] * (channels if channels == 3 else channels - 1) + ([] if channels == 3 else [opaque])
    np.testing.assert_array_equal(read(tmp_path, png(np.dstack(layers))).pixels, pixels)


def test_gamma_and_significant_bits_do_not_touch_the_grey_values(tmp_path: Path) -> None:
    pixels = image(3, dtype=np.uint16)
    extra = chunk(b"gAMA", (45455).to_bytes(4, "big")) + chunk(b"sBIT", bytes([12]))
    np.testing.assert_array_equal(read(tmp_path, raw_png(40, 36, 16, 0, scanlines(pixels), extra=extra)).pixels, pixels)


@pytest.mark.parametrize("name", hostile())
def test_a_hostile_file_is_refused_with_a_sentence_that_says_what_it_is(tmp_path: Path, name: str) -> None:
    data, word = hostile()[name]
    with pytest.raises(ImageError, match=word):
        read(tmp_path, data)


def test_a_flipped_bit_is_noticed_or_changes_no_pixel(tmp_path: Path) -> None:
    pixels = image(0, width=32, height=32)
    good = png(pixels)
    refused = 0
    for place in range(8, len(good), 7):
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        try:
            np.testing.assert_array_equal(read(tmp_path, bytes(bad)).pixels, pixels)
        except ImageError:
            refused += 1
    assert refused > len(good) // 7 - 4  # but for the last chunk, which holds nothing


def test_a_file_bigger_than_any_image_is_never_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    path.write_bytes(png(image(0)))
    os.truncate(path, 1 << 40)
    with pytest.raises(ImageError, match="bytes, more than an image"):
        reading.read_grey(path, max_pixels=MAX_PIXELS)
    assert reading.examine(str(path), MAX_PIXELS).sha256 is None


def test_an_image_of_exactly_the_cap_is_read_and_one_pixel_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png(image(0)))
    assert reading.read_grey(path, max_pixels=40 * 36).pixels.shape == (36, 40)
    with pytest.raises(ImageError, match="max_pixels = 1439"):
        reading.read_grey(path, max_pixels=40 * 36 - 1)


def test_the_facts_of_an_image_are_complete_and_those_of_a_bad_one_say_why(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(png(image(0, dtype=np.uint16)))
    bad.write_bytes(b"<html>")
    found = reading.examine(str(good), MAX_PIXELS)
    assert (found.width_px, found.height_px, found.bit_depth, found.notices) == (40, 36, 16, ())
    assert found.pixel_sha256 == reading.pixel_sha256(image(0, dtype=np.uint16))
    refused = reading.examine(str(bad), MAX_PIXELS)
    assert refused.sha256 and refused.width_px is None and refused.pixel_sha256 is None
    assert "neither PNG nor DICOM" in refused.notices[0].text
    assert "cannot be opened" in reading.examine(str(tmp_path / "none.png"), MAX_PIXELS).notices[0].text


def test_the_pixel_hash_tells_type_shape_and_value_apart_but_not_the_file_around_them(tmp_path: Path) -> None:
    pixels = image(0, width=36)
    changed = pixels.copy()
    changed[0, 0] ^= 1
    others = [pixels.T, pixels.reshape(18, 72), pixels.astype(np.uint16), changed]
    hashes = {reading.pixel_sha256(p) for p in [pixels, *others]}
    assert len(hashes) == 5
    rgb = read(tmp_path, png(np.dstack([pixels] * 3))).pixels
    assert reading.pixel_sha256(rgb) == reading.pixel_sha256(pixels)
    swapped = image(0, dtype=np.uint16).astype(">u2")
    assert reading.pixel_sha256(swapped) == reading.pixel_sha256(image(0, dtype=np.uint16))


def test_a_dicom_image_is_read_with_its_patient(tmp_path: Path) -> None:
    pixels = image(3, dtype=np.uint16) >> 4
    decoded = reading.read_grey(dicom(tmp_path / "a.dcm", pixels, BitsStored=12, HighBit=11), max_pixels=MAX_PIXELS)
    np.testing.assert_array_equal(decoded.pixels, pixels)
    assert (decoded.bit_depth, decoded.header.patient, decoded.pixels.dtype) == (12, pseudonym.of("p 7"), np.uint16)


def test_bits_beyond_those_stored_are_no_part_of_the_grey_value(tmp_path: Path) -> None:
    pixels = image(3, dtype=np.uint16)
    path = dicom(tmp_path / "a.dcm", pixels, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(reading.read_grey(path, max_pixels=MAX_PIXELS).pixels, pixels & 4095)


def test_monochrome1_is_inverted_within_its_stored_bits(tmp_path: Path) -> None:
    pixels = image(3, dtype=np.uint16) >> 4
    path = dicom(tmp_path / "a.dcm", pixels, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(reading.read_grey(path, max_pixels=MAX_PIXELS).pixels, 4095 - pixels)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"NumberOfFrames": "2"}, "2 frames"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        ({"SamplesPerPixel": 3}, "wanted MONOCHROME1 or MONOCHROME2"),
        ({"Rows": 60000, "Columns": 60000}, "max_pixels"),
        ({"Rows": 0}, "without Rows"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "32 of 32 bits"),
        ({"BitsStored": 12, "HighBit": 10}, "high bit 10"),
        ({"PixelData": bytes(10)}, "10 bytes of pixel data, wanted 2880"),
    ],
)
def test_a_dicom_that_is_not_one_grey_image_is_refused(tmp_path: Path, fields: dict[str, Any], word: str) -> None:
    path = dicom(tmp_path / "a.dcm", image(3, dtype=np.uint16), **fields)
    with pytest.raises(ImageError, match=word) as error:
        reading.read_grey(path, max_pixels=MAX_PIXELS)
    assert "Secret" not in str(error.value)


def test_a_dicom_cut_anywhere_is_refused_and_never_crashes(tmp_path: Path) -> None:
    whole = dicom(tmp_path / "a.dcm", image(3, width=32, height=32)).read_bytes()
    for length in [*range(1, 700, 9), *range(700, len(whole), 61)]:
        with pytest.raises(ImageError):
            read(tmp_path, whole[:length])
