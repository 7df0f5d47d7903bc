"""Bytes of an image as a model is sent them: the file's own where every server can read them, else converted.

What is done to an image before is a word of the parameters, `pixels`: `file`, or steps joined by +, in their order.

| step | what it does |
|---|---|
| `file` | nothing: the file's own bytes, if they are a PNG or JPEG of 8-bit grey or RGB; else converted to such a PNG |
| `grey` | one channel, the luma of ITU-R BT.601 |
| `side_448` | scaled, its longer side to 448 pixels |
| `window_1_99` | grey values from the 1st to the 99th percentile become 0 to 255; beyond them they are clipped |

The hash of a request is that of the bytes sent, so the way they are made is part of it.
"""

import io
import re
from hashlib import sha256
from pathlib import Path

import numpy as np

from stages.lib.core.errors import ImageError, ParamsError
from stages.lib.images import codestream, png, raster, reading

FILE = "file"
MAX_PIXELS = 50_000_000  # of one image, beyond which it is not decoded
MAX_SIDE_PX = 8192
PNG, JPEG = "image/png", "image/jpeg"
STEP = re.compile(r"grey|side_(?P<side>[1-9]\d{0,4})|window_(?P<low>\d+(\.\d+)?)_(?P<high>\d+(\.\d+)?)")


def problem(pixels: str) -> str | None:
    """What is wrong with a word of `pixels`; None if nothing.

    >>> problem("grey+side_448")
    >>> problem("gray")
    "'gray', wanted file, or grey, side_N and window_LOW_HIGH joined by +"
    """
    if pixels == FILE:
        return None
    for step in pixels.split("+"):
        match = STEP.fullmatch(step)
        if match is None:
            return f"{pixels!r}, wanted file, or grey, side_N and window_LOW_HIGH joined by +"
        if match["side"] and int(match["side"]) > MAX_SIDE_PX:
            return f"{pixels!r}, wanted a side of at most {MAX_SIDE_PX} pixels"
        if match["low"] and not float(match["low"]) < float(match["high"]) <= 100:
            return f"{pixels!r}, wanted two rising percentiles of at most 100"
    return None


def sent(path: str | Path, pixels: str) -> tuple[bytes, str]:
    """Bytes of an image as they are sent, and their MIME type.

    A file whose own bytes are sent is not decoded here, see `sent_sha256`.

    Args:
        path: The file.
        pixels: What is done to it before.

    Raises:
        ImageError: If it cannot be read as one image.
        OSError: If it cannot be opened.
        ParamsError: If `pixels` is no such word.
    """
    if wrong := problem(pixels):
        raise ParamsError("pixels:", [f"found {wrong}"])
    data = Path(path).read_bytes()
    if pixels == FILE and (mime := _own(data)):
        return data, mime
    image = _decoded(path, data)
    for step in [] if pixels == FILE else pixels.split("+"):
        image = _changed(image, step)
    return _png(image), PNG


def sent_sha256(path: str | Path, pixels: str) -> str:
    """SHA-256 of the bytes that are sent, 64 hexadecimal digits; the image is decoded once, to see that it can be.

    A server that cannot decode an image answers as if it were itself at fault, and would be asked again for nothing.

    Raises:
        ImageError: If it cannot be read as one image.
        OSError: If it cannot be opened.
        ParamsError: If `pixels` is no such word.
    """
    content, mime = sent(path, pixels)
    if pixels == FILE and mime in (PNG, JPEG):
        _decoded(path, content)
    return sha256(content).hexdigest()


def rgb(content: bytes) -> np.ndarray:
    """Bytes that are sent as the server sees them, turned upright: uint8 of shape (height, width, 3)."""
    from PIL import Image, ImageOps  # as the servers of transformers do

    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _own(data: bytes) -> str | None:
    """MIME type of a file whose own bytes are sent; None for one that is converted."""
    if data.startswith(png.SIGNATURE):
        width_px, height_px, depth, colour = png.png_header(data)
        _check(width_px, height_px)
        animated = b"acTL" in data[: max(data.find(b"IDAT"), 0)]
        return PNG if depth == 8 and colour in (0, 2) and not animated else None
    if data.startswith(raster.JPEG):
        frame = codestream.frame(data)
        _check(frame.width_px, frame.height_px)
        return JPEG if frame.bits == 8 and frame.channels in (1, 3) and frame.marker in raster.FRAMES else None
    return None


def _check(width_px: int, height_px: int) -> None:
    if width_px * height_px > MAX_PIXELS:
        raise ImageError(f"{width_px} x {height_px} pixels, more than {MAX_PIXELS}")


def _decoded(path: str | Path, data: bytes) -> np.ndarray:
    """An image, uint8 of shape (height, width) or (height, width, 3), blue first; transparent parts are black.

    Raises:
        ImageError: If it is damaged, has no pixels, or is of a kind that is not read.
    """
    import cv2

    if data.startswith(png.SIGNATURE):
        _check(*png.png_header(data)[:2])
        png.check_chunks(data)
    elif data.startswith(raster.JPEG):
        frame = codestream.frame(data)
        _check(frame.width_px, frame.height_px)
    else:
        return _eight_bits(reading.read_grey(path, max_pixels=MAX_PIXELS).pixels)
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"cannot be decoded ({error.err})") from error
    if found is None:
        raise ImageError("a damaged image: it is truncated, or some of its bits have changed")
    image = _eight_bits(np.asarray(found))
    if image.ndim == 3 and image.shape[2] == 4:
        alpha = image[..., 3:].astype(np.uint16)
        image = (image[..., :3] * alpha // 255).astype(np.uint8)
    return image


def _eight_bits(image: np.ndarray) -> np.ndarray:
    """An image of 8 bits; of one with more, its lowest value becomes 0 and its highest 255."""
    if image.dtype == np.uint8:
        return image
    low, high = float(image.min()), float(image.max())
    return np.rint((image - low) * (255 / max(high - low, 1.0))).astype(np.uint8)


def _changed(image: np.ndarray, step: str) -> np.ndarray:
    import cv2

    match = STEP.fullmatch(step)
    if match is None:
        return image
    if match["side"]:
        scale = int(match["side"]) / max(image.shape[:2])
        height_px, width_px = (max(round(side * scale), 1) for side in image.shape[:2])
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(image, (width_px, height_px), interpolation=how))
    if match["low"]:
        low, high = np.percentile(image, [float(match["low"]), float(match["high"])])
        return np.rint(np.clip((image - low) * (255 / max(high - low, 1.0)), 0, 255)).astype(np.uint8)
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def _png(image: np.ndarray) -> bytes:
    import cv2

    done, content = cv2.imencode(".png", image)
    if not done:
        raise ImageError(f"cannot be written as PNG: {image.dtype} of shape {image.shape}")
    return content.tobytes()
