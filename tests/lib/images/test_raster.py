"""JPEG and TIFF radiographs are read, with a remark where something is lost; other pictures are refused by name."""

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pngs import image

from stages.lib.core.errors import ImageError
from stages.lib.images import reading
from stages.lib.images.decoded import Decoded

MAX_PIXELS = 1_000_000
PHOTOMETRIC = 262


def saved(pixels: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def smooth() -> np.ndarray:
    return cv2.normalize(cv2.GaussianBlur(image(0), (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)


def read(tmp_path: Path, data: bytes) -> Decoded:
    path = tmp_path / "image"
    path.write_bytes(data)
    return reading.read_grey(path, max_pixels=MAX_PIXELS)


def kinds(found: Decoded) -> list[str]:
    return [notice.kind for notice in found.notices]


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_grey_tiff_comes_back_to_the_bit(tmp_path: Path, compression: str | None, dtype: type) -> None:
    pixels = image(1, dtype=dtype)
    found = read(tmp_path, saved(pixels, "TIFF", compression=compression))
    np.testing.assert_array_equal(found.pixels, pixels)
    assert (found.pixels.dtype, kinds(found)) == (dtype, [])


def tiff(pixels: np.ndarray, order: str, photometric: int) -> bytes:
    """A TIFF of one strip, written by hand."""
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    height, width = pixels.shape
    long, short = 4, 3
    tags = [
        (256, long, width),
        (257, long, height),
        (258, short, pixels.itemsize * 8),
        (259, short, 1),
        (PHOTOMETRIC, short, photometric),
        (273, long, 8),
        (277, short, 1),
        (278, long, height),
        (279, long, len(data)),
    ]
    fields = b"".join(
        struct.pack(f"{order}HHI", tag, kind, 1)
        + (struct.pack(f"{order}I", value) if kind == long else struct.pack(f"{order}HH", value, 0))
        for tag, kind, value in tags
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(tags)) + fields + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_is_turned_round_in_either_byte_order(tmp_path: Path, order: str, dtype: type) -> None:
    pixels = image(1, dtype=dtype)
    np.testing.assert_array_equal(read(tmp_path, tiff(pixels, order, 1)).pixels, pixels)
    np.testing.assert_array_equal(read(tmp_path, tiff(pixels, order, 0)).pixels, np.iinfo(dtype).max - pixels)


@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        (image(1).astype(np.float32), "real"),
        (image(1).astype(np.int32), "32 bits"),
        (np.dstack([image(1)] * 3 + [np.full_like(image(1), 255)]), "4 channel"),
        (image(1) > 127, "1 bits"),
        (np.dstack([image(n) for n in range(3)]), "a colour image"),
    ],
)
def test_a_tiff_of_another_kind_is_refused_with_what_it_is(tmp_path: Path, pixels: np.ndarray, told: str) -> None:
    with pytest.raises(ImageError, match=told):
        read(tmp_path, saved(pixels, "TIFF"))


def test_a_tiff_whose_pages_lead_back_to_one_another_is_refused(tmp_path: Path) -> None:
    data = bytearray(tiff(image(1), "<", 1))
    data[-4:] = data[4:8]
    with pytest.raises(ImageError, match="lead back"):
        read(tmp_path, bytes(data))


def test_a_cut_tiff_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = saved(image(1, dtype=np.uint16), "TIFF", compression="tiff_lzw")
    for length in range(4, len(whole) - 1, 97):
        with pytest.raises(ImageError, match="damaged TIFF"):
            read(tmp_path, whole[:length])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_grey_jpeg_is_read_with_a_remark_and_refused_wherever_it_is_cut(tmp_path: Path, progressive: bool) -> None:
    whole = saved(smooth(), "JPEG", quality=95, progressive=progressive)
    found = read(tmp_path, whole)
    assert kinds(found) == ["lossy"]
    assert np.abs(found.pixels.astype(int) - smooth()).max() <= 8
    np.testing.assert_array_equal(read(tmp_path, whole + b"a camera's own bytes").pixels, found.pixels)
    for length in range(3, len(whole) - 2, 41):
        with pytest.raises(ImageError, match="damaged JPEG"):
            read(tmp_path, whole[:length])


def test_colours_that_differ_a_little_are_remarked_and_more_is_refused(tmp_path: Path) -> None:
    grey = smooth()
    assert kinds(read(tmp_path, saved(np.dstack([grey] * 3), "JPEG"))) == ["lossy"]
    tinted = np.dstack([grey, np.minimum(grey, 249) + 6, grey])
    assert kinds(read(tmp_path, saved(tinted, "JPEG", quality=95))) == ["lossy", "colour"]
    with pytest.raises(ImageError, match="a colour JPEG, wanted grey"):
        read(tmp_path, saved(np.dstack([grey, 255 - grey, grey]), "JPEG"))
    inks = Image.fromarray(np.dstack([grey] * 3)).convert("CMYK")
    with pytest.raises(ImageError, match="4 channels"):
        read(tmp_path, saved(inks, "JPEG"))


def test_a_radiograph_is_taken_as_it_is_stored_whatever_its_orientation_tag_says(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[274] = 6
    plain = read(tmp_path, saved(smooth(), "JPEG", quality=95))
    np.testing.assert_array_equal(read(tmp_path, saved(smooth(), "JPEG", quality=95, exif=turned)).pixels, plain.pixels)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_a_picture_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ImageError, match="max_pixels") as refused:
        read(tmp_path, saved(np.zeros((1001, 1000), np.uint8), kind))
    assert refused.value.kind == "no_image"


def test_a_tiff_of_several_pages_is_refused_by_name(tmp_path: Path) -> None:
    page = Image.fromarray(image(1))
    with pytest.raises(ImageError, match="a TIFF of 2 pages, wanted one") as refused:
        read(tmp_path, saved(image(0), "TIFF", save_all=True, append_images=[page]))
    assert refused.value.kind == "frames"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (lambda: saved(image(0), "BMP"), "BMP"),
        (lambda: saved(image(0), "GIF"), "GIF"),
        (lambda: saved(image(0), "WEBP"), "WebP"),
        (lambda: saved(image(0), "JPEG2000"), "JPEG 2000"),
        (lambda: b"\x93NUMPY" + bytes(200), "NumPy"),
        (lambda: b"NRRD0004\n" + bytes(200), "NRRD"),
        (lambda: struct.pack("<i", 348) + bytes(340) + b"n+1\0" + bytes(99), "NIfTI"),
        (lambda: b"\0\0\0\x18ftypheic" + bytes(99), "HEIC"),
        (lambda: b"II+\0" + bytes(99), "BigTIFF"),
    ],
)
def test_another_kind_of_picture_is_refused_by_its_name_with_what_to_do(tmp_path: Path, data: Any, name: str) -> None:
    with pytest.raises(ImageError, match=f"a .*{name}.* file, wanted PNG, DICOM, JPEG or TIFF: convert it to PNG"):
        read(tmp_path, data())


def test_a_gzip_file_of_something_else_than_dicom_is_to_be_unpacked(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no DICOM: unpack it"):
        read(tmp_path, gzip.compress(saved(image(0), "PNG")))
