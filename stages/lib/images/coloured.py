"""Reading of one PNG or JPEG that may have colours: its facts, or the reason why it takes no part.

`reading` takes grey radiographs alone. Here colours are taken too, as slices carry coloured arrows; hash and thumbnail
are of the grey values. The order is as there: size, header, decoder, then what came out against the header.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from stages.lib.core.errors import ImageError
from stages.lib.images import codestream, duplicates, png, raster, reading
from stages.lib.images.notices import Notice

PNG_MODES = {
    **{(depth, 0): "L" for depth in (2, 4, 8)},
    **{(depth, 3): "P" for depth in (1, 2, 4, 8)},
    (1, 0): "1",
    (16, 0): "I;16",
    (8, 2): "RGB",
    (16, 2): "RGB;16",
    (8, 4): "LA",
    (16, 4): "LA;16",
    (8, 6): "RGBA",
    (16, 6): "RGBA;16",
}
COLOURS, COLOURS_AND_ALPHA = 3, 4


@dataclass(frozen=True)
class Facts:
    """Facts of an image's file; None where it could not be read.

    Attributes:
        bytes: Size of the file.
        sha256: Of its bytes.
        width_px: Width.
        height_px: Height.
        mode: Its pixels as the file stores them, in the words of Pillow.
        pixel_sha256: Of its grey values, as `reading.pixel_sha256`.
        thumbnail: Of `duplicates`, uint8 of shape (SIDE_PX, SIDE_PX).
        notices: Why it was refused.
    """

    bytes: int | None = None
    sha256: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    mode: str | None = None
    pixel_sha256: str | None = None
    thumbnail: np.ndarray | None = None
    notices: tuple[Notice, ...] = ()


def examine(path: str, max_pixels: int) -> Facts:
    """Facts of the file at `path`; that it cannot be read is a fact too, not an error.

    Args:
        path: File to open.
        max_pixels: Pixels beyond which it is not decoded.
    """
    size = digest = None
    try:
        size = Path(path).stat().st_size
        reading.check_size(path, max_pixels)
        data = Path(path).read_bytes()
        digest = sha256(data).hexdigest()
        grey, mode = read(data, max_pixels)
        reading.check_image(grey)
    except ImageError as error:
        return Facts(size, digest, notices=(Notice(error.kind, str(error)),))
    except OSError as error:
        return Facts(notices=(Notice("file", f"cannot be opened: {error.strerror}"),))
    height_px, width_px = grey.shape
    hashed = reading.pixel_sha256(grey)
    return Facts(size, digest, width_px, height_px, mode, hashed, duplicates.thumbnail(grey))


def read(data: bytes, max_pixels: int) -> tuple[np.ndarray, str]:
    """Grey values of an image, uint8 or uint16 of shape (height, width), and its mode.

    Args:
        data: The whole file.
        max_pixels: Pixels beyond which it is not decoded.

    Raises:
        ImageError: If it is neither PNG nor JPEG, damaged, too big, animated, or has transparent parts.
    """
    if data.startswith(png.SIGNATURE):
        width_px, height_px, depth, colour = png.png_header(data)
        mode = PNG_MODES.get((depth, colour), "")
        if not mode:
            raise ImageError(f"a PNG of {depth} bits and colour type {colour}, which is none of PNG's")
        png.check_chunks(data)
        if b"acTL" in data[: max(data.find(b"IDAT"), 0)]:
            raise ImageError("an animated PNG, wanted one image", "frames")
    elif data.startswith(raster.JPEG):
        frame = codestream.frame(data)
        width_px, height_px, mode = frame.width_px, frame.height_px, {1: "L", COLOURS: "RGB"}.get(frame.channels, "")
        if not mode or frame.marker not in raster.FRAMES:
            raise ImageError("a lossless JPEG, or one of four colours: convert it to PNG")
    elif not data:
        raise ImageError("an empty file")
    else:
        kind = raster.unread(data[: reading.HEADER_BYTES]) or f"file that begins with {data[:8].decode('latin-1')!r}"
        raise ImageError(f"a {kind}, wanted PNG or JPEG: convert it to PNG")
    if not 0 < width_px * height_px <= max_pixels:
        raise ImageError(f"{width_px} x {height_px} pixels, wanted 1 to max_pixels = {max_pixels}", "no_image")
    return _grey(_decoded(data, (height_px, width_px))), mode


def _decoded(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    import cv2

    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError(f"cannot be decoded ({error.err})") from error
    if found is None:
        raise ImageError("a damaged image: it is truncated, or some of its bits have changed")
    if found.shape[:2] != shape or found.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"decoded to {found.dtype} of shape {found.shape}, its header says {shape[1]} x {shape[0]}")
    return np.asarray(found)


def _grey(found: np.ndarray) -> np.ndarray:
    """Grey values of what OpenCV decoded: BGR(A), or grey. Of equal channels it is that channel, to the bit."""
    import cv2

    if found.ndim == 2:
        return found
    if found.shape[2] == COLOURS_AND_ALPHA:
        if (found[..., 3] != np.iinfo(found.dtype).max).any():
            raise ImageError("an image with transparent parts, wanted an opaque one")
        found = found[..., :3]
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(found), cv2.COLOR_BGR2GRAY))
