"""The header of compressed pixels is looked at before a decoder sees them."""

import io
import struct
import time
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from dicoms import dicom
from mutations import dicom_files, jpeg
from PIL import Image
from pngs import image
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from stages.lib.core.errors import ImageError
from stages.lib.images import codestream, reading

MAX_PIXELS = 5_000_000
SYNTAXES = ("JPEG-LS", "JPEG 2000", "JPEG Lossless", "JPEG Lossless SV1")
SIZE_AT = {b"\xff\xf7": 5, b"\xff\xc3": 5}  # bytes from the marker to the height of a JPEG


@pytest.fixture(scope="module")
def packed() -> dict[str, bytes]:
    """An image of 40 x 36 pixels in each syntax."""
    return dict(zip(SYNTAXES, dicom_files()[-4:], strict=True))


def resized(data: bytes, width: int, height: int) -> bytes:
    """The file, with another size in its codestream."""
    made = bytearray(data)
    start = data.find(codestream.JPEG_2000)
    if start >= 0:
        for place in (8, 24):  # of the image, and of its tiles
            made[start + place : start + place + 8] = struct.pack(">II", width, height)
        return bytes(made)
    marker = next(marker for marker in SIZE_AT if marker in data)
    place = data.find(marker) + SIZE_AT[marker]
    made[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(made)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("size", [(30000, 30000), (36, 40), (20, 72), (40, 0)])
def test_compressed_pixels_of_another_size_are_refused_before_they_are_decoded(
    tmp_path: Path, packed: dict[str, bytes], syntax: str, size: tuple[int, int]
) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(packed[syntax])
    assert reading.read_grey(path, max_pixels=MAX_PIXELS).pixels.shape == (36, 40)
    path.write_bytes(resized(packed[syntax], *size))
    began = time.process_time()
    with pytest.raises(ImageError, match=rf"{size[0]} x {size[1]} of 1 channel\(s\), its header says 40 x 36"):
        reading.read_grey(path, max_pixels=MAX_PIXELS)
    assert time.process_time() - began < 1


def test_a_jpeg_of_twelve_bits_is_read_within_what_its_compression_changed(tmp_path: Path) -> None:
    smooth = cv2.GaussianBlur(image(3, dtype=np.uint16), (0, 0), 4) >> 4
    plain = dicom(tmp_path / "a.dcm", smooth, BitsStored=12, HighBit=11)
    path = tmp_path / "b.dcm"
    path.write_bytes(jpeg(plain, "JPEGExtendedProcess2_4"))
    found = reading.read_grey(path, max_pixels=MAX_PIXELS)
    assert found.bit_depth == 12 and np.ptp(smooth) > 300
    assert np.abs(found.pixels.astype(int) - smooth).max() <= 4
    assert [notice.kind for notice in found.notices] == ["lossy"]


def test_twelve_bits_as_pydicom_ships_them_are_the_same_image_as_in_jpeg_2000() -> None:
    shipped = Path(pydicom.__file__).parent / "data" / "test_files"
    first, again, other = (
        reading.read_grey(shipped / name, max_pixels=MAX_PIXELS).pixels.ravel().astype(int)
        for name in ("JPGExtended.dcm", "JPEG-lossy.dcm", "JPEG2000.dcm")
    )
    np.testing.assert_array_equal(first, again)
    assert np.corrcoef(first, other)[0, 1] > 0.95


def test_a_value_of_more_bits_than_the_header_says_is_not_cut(tmp_path: Path) -> None:
    pixels = image(3, dtype=np.uint16) >> 2
    dataset = pydicom.dcmread(dicom(tmp_path / "a.dcm", pixels, BitsStored=14, HighBit=13))
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.save_as(tmp_path / "b.dcm")
    np.testing.assert_array_equal(reading.read_grey(tmp_path / "b.dcm", max_pixels=MAX_PIXELS).pixels, pixels)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_frame_is_what_another_writer_wrote(kind: str, channels: int) -> None:
    pixels = image(3) if channels == 1 else np.dstack([image(n) for n in range(3)])
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    found = codestream.frame(buffer.getvalue())
    assert (found.width_px, found.height_px, found.bits, found.channels) == (40, 36, 8, channels)
    assert found.marker == {"JPEG": 0xC0, "JPEG2000": 0}[kind]


def test_a_codestream_cut_in_its_header_is_refused() -> None:
    buffer = io.BytesIO()
    Image.fromarray(image(3)).save(buffer, "JPEG2000", no_jp2=True)
    for length in range(41):
        with pytest.raises(ImageError, match="damaged"):
            codestream.frame(buffer.getvalue()[:length])
    with pytest.raises(ImageError, match="no frame header"):
        codestream.frame(codestream.JPEG + bytes(40))


def test_pixels_that_are_no_codestream_are_refused(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(dicom(tmp_path / "a.dcm", image(3)))
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    dataset.PixelData = pydicom.encaps.encapsulate([b"no codestream!" * 9])
    dataset.save_as(tmp_path / "b.dcm")
    with pytest.raises(ImageError, match="neither JPEG nor JPEG 2000"):
        reading.read_grey(tmp_path / "b.dcm", max_pixels=MAX_PIXELS)
