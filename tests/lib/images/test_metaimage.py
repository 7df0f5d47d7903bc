"""A MetaImage or a raw image of JSRT is read to the value, or refused in a sentence."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from pngs import image
from public_data import jsrt_raw_bytes, metaimage

from stages.lib.core.errors import ImageError
from stages.lib.images import reading

MAX_PIXELS = 10_000


def read(path: Path, data: bytes, max_pixels: int = MAX_PIXELS) -> reading.Decoded:
    path.write_bytes(data)
    return reading.read_grey(path, max_pixels=max_pixels)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4", "f8"])
def test_a_metaimage_of_whole_numbers_is_read_to_the_value(tmp_path: Path, dtype: str, packed: bool, big: bool) -> None:
    stored = image(3, dtype=np.uint8).astype(dtype)
    found = read(tmp_path / "a.mha", metaimage(stored, packed=packed, big=big, slices=packed))
    assert np.array_equal(found.pixels, stored)
    assert (found.bit_depth, found.notices) == (8 if dtype == "u1" else 16, ())


def test_negative_and_real_grey_values_keep_their_order_and_rounding_is_remarked(tmp_path: Path) -> None:
    stored = image(4, dtype=np.uint8).astype(np.int16) - 100
    assert np.array_equal(read(tmp_path / "a.mha", metaimage(stored)).pixels, stored + 100)
    real = image(4, dtype=np.uint8) / np.float32(3)
    found = read(tmp_path / "b.mha", metaimage(real))
    assert [notice.kind for notice in found.notices] == ["lossy"]
    assert np.allclose(found.pixels / 65535, real / 85, atol=1e-5)


@pytest.mark.parametrize(
    ("said", "spacing_mm", "odd"),
    [("0.2 0.2 1", 0.2, 0), ("1 1 1", None, 0), ("0.2 0.1", None, 1), ("wide", None, 1), ("0 0", None, 1)],
)
def test_the_spacing_of_a_metaimage_is_that_of_its_header_if_it_is_one(
    tmp_path: Path, said: str, spacing_mm: float | None, odd: int
) -> None:
    found = read(tmp_path / "a.mha", metaimage(image(0), ElementSpacing=said))
    assert found.header.spacing_mm == spacing_mm
    assert [notice.kind for notice in found.notices] == ["spacing"] * odd


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"NDims": "4"}, "wanted 2 or 3 sizes"),
        ({"DimSize": "40"}, "wanted 2 or 3 sizes"),
        ({"DimSize": "40 x"}, "wanted 2 or 3 sizes"),
        ({"DimSize": "40 37"}, "its header says 1480"),
        ({"DimSize": "40000 36000"}, "more than max_pixels"),
        ({"NDims": "3", "DimSize": "40 18 2"}, "2 slices, wanted one"),
        ({"ElementType": "MET_UCHAR_ARRAY"}, "wanted one of MET_UCHAR"),
        ({"ElementNumberOfChannels": "3"}, "'3' channels"),
        ({"BinaryData": "False"}, "pixels are text"),
        ({"HeaderSize": "12"}, "HeaderSize '12'"),
        ({"ElementDataFile": "/etc/passwd"}, "pixels are in another file"),
        ({"CompressedData": "True"}, "cannot be unpacked"),
        ({"Comment": "\xfc"}, "wanted 'name = value'"),
    ],
)
def test_a_header_that_is_not_that_of_one_grey_image_is_refused(
    tmp_path: Path, changes: dict[str, str], told: str
) -> None:
    with pytest.raises(ImageError, match=told):
        read(tmp_path / "a.mha", metaimage(image(0), **changes))


def test_a_damaged_metaimage_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    plain, packed = metaimage(image(0)), metaimage(image(0), packed=True)
    cut = [whole[:length] for whole in (plain, packed) for length in (11, 60, len(whole) - 1000, len(whole) - 1)]
    for data in (*cut, plain + b"x", packed + b"x", packed[:-1] + bytes([packed[-1] ^ 1])):
        with pytest.raises(ImageError):
            read(tmp_path / "a.mha", data)


def test_a_packed_metaimage_that_unpacks_to_more_than_it_says_is_refused_without_unpacking_it(tmp_path: Path) -> None:
    header = metaimage(image(0), packed=True).partition(b"LOCAL\n")
    bomb = zlib.compress(bytes(200_000_000), 1)
    with pytest.raises(ImageError, match="1441 bytes of pixels, its header says 1440"):
        read(tmp_path / "a.mha", header[0] + header[1] + bomb)


def test_a_raw_image_of_jsrt_is_inverted_so_that_bone_is_bright(tmp_path: Path) -> None:
    stored = np.full((2048, 2048), 3000, np.uint16)  # air is dark on film: of high density
    stored[600:1000, 100:300] = 500
    found = read(tmp_path / "JPCLN001.IMG", jsrt_raw_bytes(stored), 5_000_000)
    assert np.array_equal(found.pixels, 4095 - stored)
    assert (found.bit_depth, found.pixels[700, 200]) == (12, 3595)


def test_a_raw_image_is_taken_by_its_exact_size_and_ending_alone(tmp_path: Path) -> None:
    stored = np.arange(2048 * 2048, dtype=np.uint32).reshape(2048, 2048) % 4096
    data = jsrt_raw_bytes(stored.astype(np.uint16))
    for name, bytes_ in (("JPCLN001.IMG", data[:-2]), ("JPCLN001.raw", data)):
        with pytest.raises(ImageError, match="it begins with"):
            read(tmp_path / name, bytes_, 5_000_000)
    swapped = stored.astype("<u2").tobytes()
    with pytest.raises(ImageError, match="most significant byte first"):
        read(tmp_path / "JPCLN002.IMG", swapped, 5_000_000)
    with pytest.raises(ImageError, match="more than max_pixels"):
        read(tmp_path / "JPCLN001.IMG", data, 2_000_000)


def test_a_mutated_metaimage_is_read_or_refused_and_never_crashes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = [metaimage(image(0).astype(kind), packed=packed) for kind in ("u1", "f8") for packed in (False, True)]
    refused = 0
    for turn in range(300):
        data = bytearray(whole[turn % len(whole)])
        for place in rng.integers(0, min(len(data), 250), rng.integers(1, 6)):
            data[place] = rng.integers(0, 256)
        try:
            assert read(tmp_path / "a.mha", bytes(data)).pixels.ndim == 2
        except ImageError:
            refused += 1
    assert 200 < refused < 300
    with pytest.raises(ImageError, match="wanted 2 or 3 sizes"):
        read(tmp_path / "a.mha", metaimage(image(0), DimSize=f"40 {'9' * 5000}"))
    with pytest.raises(ImageError, match="no numbers"):
        read(tmp_path / "a.mha", metaimage(np.where(image(0) == 7, np.nan, 1.0)))
    with pytest.raises(ImageError, match="wanted a smaller range"):
        read(tmp_path / "a.mha", metaimage(np.where(image(0) < 128, -1.7e308, 1.7e308)))
