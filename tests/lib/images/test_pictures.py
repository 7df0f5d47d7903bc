"""A model is sent the file's own bytes where it can read them, and a PNG of 8 bits where not."""

import struct
import zlib
from hashlib import sha256

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.core.errors import ImageError, ParamsError
from stages.lib.images import pictures, png

COLOUR = np.random.default_rng(3).integers(0, 256, (40, 60, 3), np.uint8)


def written(folder, name, image, *options):
    path = folder / name
    assert cv2.imwrite(str(path), image, list(options))
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("image", [COLOUR, COLOUR[..., 0]])
def test_a_png_or_jpeg_of_8_bit_grey_or_rgb_is_sent_as_it_is(tmp_path, name, image):
    way = (cv2.IMWRITE_PNG_COMPRESSION, 0) if name == "a.png" else (cv2.IMWRITE_JPEG_QUALITY, 50)
    path = written(tmp_path, name, image, *way)  # which is not how this project would write it
    content, mime = pictures.sent(path, "file")
    assert content == path.read_bytes()
    assert mime == {"a.png": "image/png", "a.jpg": "image/jpeg"}[name]
    assert pictures.sent_sha256(path, "file") == sha256(content).hexdigest()


def test_16_bits_are_spread_over_8(tmp_path):
    image = np.linspace(1000, 3000, 2400).reshape(40, 60).astype(np.uint16)
    content, mime = pictures.sent(written(tmp_path, "a.png", image), "file")
    seen = pictures.rgb(content)
    assert mime == "image/png"
    assert (seen.min(), seen.max(), seen.dtype) == (0, 255, np.uint8)
    assert np.all(np.diff(seen[..., 0].ravel().astype(int)) >= 0)


def test_transparent_parts_are_black_and_the_others_as_they_were(tmp_path):
    alpha = np.full((40, 60), 255, np.uint8)
    alpha[:20] = 0
    content, _ = pictures.sent(written(tmp_path, "a.png", np.dstack([COLOUR, alpha])), "file")
    seen = pictures.rgb(content)
    assert not seen[:20].any()
    assert np.array_equal(seen[20:], COLOUR[20:, :, ::-1])


def test_other_formats_are_converted(tmp_path):
    image = COLOUR[..., 0]
    content, mime = pictures.sent(written(tmp_path, "a.tif", image), "file")
    assert mime == "image/png"
    assert np.array_equal(pictures.rgb(content)[..., 1], image)


@pytest.mark.parametrize(
    ("pixels", "shape"), [("side_30", (20, 30)), ("grey+side_120", (80, 120)), ("window_1_99+side_60", (40, 60))]
)
def test_steps_are_done_in_their_order(tmp_path, pixels, shape):
    content, _ = pictures.sent(written(tmp_path, "a.png", COLOUR), pixels)
    seen = pictures.rgb(content)
    assert seen.shape[:2] == shape
    assert np.array_equal(seen[..., 0], seen[..., 1]) is ("grey" in pixels)
    if "window" in pixels:
        assert (seen.min(), seen.max()) == (0, 255)


def test_what_is_not_changed_is_the_same_to_the_bit(tmp_path):
    content, _ = pictures.sent(written(tmp_path, "a.png", COLOUR), "side_60")
    assert np.array_equal(pictures.rgb(content), COLOUR[..., ::-1])


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_damaged_file_is_refused_before_it_is_sent(tmp_path, name):
    path = written(tmp_path, name, COLOUR)
    content = path.read_bytes()
    path.write_bytes(content[: 20 if name == "a.jpg" else -30])
    with pytest.raises(ImageError):
        pictures.sent_sha256(path, "file")


def png_of(width_px, height_px, depth=8, colour=0, *more):
    """The beginning of a PNG file, with a header and other chunks."""
    header = struct.pack(">IIBBBBB", width_px, height_px, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *more]
    return png.SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def test_an_image_too_big_to_decode_is_refused_by_its_header(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_of(10_000, 5_000))
    assert pictures.sent(path, "file")[1] == "image/png"
    for image in (png_of(10_000, 5_001), png_of(10_000, 5_001, 16)):
        path.write_bytes(image)
        with pytest.raises(ImageError, match="10000 x 5001 pixels, more than 50000000"):
            pictures.sent(path, "file")
    path.write_bytes(png_of(10_000, 5_001))
    with pytest.raises(ImageError, match="more than 50000000"):
        pictures.sent(path, "side_64")


def test_a_file_that_not_every_server_reads_alike_is_converted(tmp_path):
    """An animation, a palette, grey with alpha: each is decoded here, so a file without pixels is refused."""
    animation = [(b"acTL", struct.pack(">II", 2, 0)), (b"IDAT", b"")]
    path = tmp_path / "a.png"
    for image in (png_of(40, 40, 8, 0, *animation), png_of(40, 40, 8, 3), png_of(40, 40, 8, 4), png_of(40, 40, 8, 6)):
        path.write_bytes(image)
        with pytest.raises(ImageError):
            pictures.sent(path, "file")
    path.write_bytes(png_of(40, 40, 8, 2))
    assert pictures.sent(path, "file") == (path.read_bytes(), "image/png")


def test_a_jpeg_of_four_channels_or_twelve_bits_is_not_sent_as_it_is(tmp_path):
    path = tmp_path / "a.jpg"
    for bits, channels, marker in ((8, 4, 0xC0), (12, 1, 0xC1), (8, 1, 0xC3)):
        path.write_bytes(bytes.fromhex(f"ffd8ff{marker:02x}001a{bits:02x}00280028{channels:02x}") + b"\x11" * 40)
        with pytest.raises(ImageError):
            pictures.sent(path, "file")
    path.write_bytes(bytes.fromhex("ffd8ffc0001a080028002803") + b"\x11" * 40)
    assert pictures.sent(path, "file")[1] == "image/jpeg"


def test_the_least_of_16_bits_is_told_apart(tmp_path):
    image = np.full((40, 60), 1000, np.uint16)
    image[:, 30:] = 1001
    seen = pictures.rgb(pictures.sent(written(tmp_path, "a.png", image), "file")[0])[0, :, 0]
    assert seen[[0, 59]].tolist() == [0, 255]


def test_no_side_vanishes_and_an_edge_stays_sharp_when_it_is_enlarged(tmp_path):
    thin = written(tmp_path, "thin.png", np.full((2, 400), 90, np.uint8))
    assert pictures.rgb(pictures.sent(thin, "side_40")[0]).shape == (1, 40, 3)
    edge = np.full((40, 60), 100, np.uint8)
    edge[:, 30:] = 150
    seen = pictures.rgb(pictures.sent(written(tmp_path, "edge.png", edge), "side_90")[0])
    assert seen.max() > 150  # as cubic interpolation does


def test_a_window_by_hand(tmp_path):
    image = np.full((40, 60), 100, np.uint8)
    image[:, 30:], image[:, 45:] = 103, 110
    steep, flat = (written(tmp_path, f"{n}.png", one) for n, one in enumerate((image, np.minimum(image, 101))))
    seen = pictures.rgb(pictures.sent(steep, "window_0_100")[0])[0, :, 0]
    assert seen[[0, 29, 30, 44, 45, 59]].tolist() == [0, 0, 76, 76, 255, 255]
    seen = pictures.rgb(pictures.sent(flat, "window_0_100")[0])[0, :, 0]
    assert seen[[0, 29, 30, 59]].tolist() == [0, 0, 255, 255]
    seen = pictures.rgb(pictures.sent(steep, "window_0_60")[0])[0, :, 0]
    assert seen[[0, 30, 59]].tolist() == [0, 255, 255]


def test_what_is_no_image_is_refused(tmp_path):
    for content in (b"", b"text", b"GIF89a" + b"0" * 400):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(ImageError):
            pictures.sent(tmp_path / "a.png", "file")


@pytest.mark.parametrize(
    "word", ["", "gray", "side_0", "side_99999", "window_99_1", "window_5_5", "window_1_101", "file+grey", "grey+"]
)
def test_a_word_that_is_none_of_them_is_refused(tmp_path, word):
    with pytest.raises(ParamsError, match="wanted"):
        pictures.sent(written(tmp_path, "a.png", COLOUR), word)


@given(st.text(max_size=12))
@settings(deadline=None)
def test_no_word_breaks_the_check(word):
    assert pictures.problem(word) is None or repr(word) in pictures.problem(word)
