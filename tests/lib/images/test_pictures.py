"""A model is sent the file's own bytes where it can read them, and a PNG of 8 bits where not."""

from hashlib import sha256

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core.errors import ImageError, ParamsError
from stages.lib.images import pictures

COLOUR = np.random.default_rng(3).integers(0, 256, (40, 60, 3), np.uint8)


def written(folder, name, image, *options):
    path = folder / name
    assert cv2.imwrite(str(path), image, list(options))
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("image", [COLOUR, COLOUR[..., 0]])
def test_a_png_or_jpeg_of_8_bit_grey_or_rgb_is_sent_as_it_is(tmp_path, name, image):
    path = written(tmp_path, name, image)
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


def test_what_is_no_image_is_refused(tmp_path):
    for content in (b"", b"text", b"GIF89a" + b"0" * 400):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(ImageError):
            pictures.sent(tmp_path / "a.png", "file")


@pytest.mark.parametrize(
    "word", ["", "gray", "side_0", "side_99999", "window_99_1", "window_1_101", "file+grey", "grey+"]
)
def test_a_word_that_is_none_of_them_is_refused(tmp_path, word):
    with pytest.raises(ParamsError, match="wanted"):
        pictures.sent(written(tmp_path, "a.png", COLOUR), word)


@given(st.text(max_size=12))
def test_no_word_breaks_the_check(word):
    assert pictures.problem(word) is None or repr(word) in pictures.problem(word)
