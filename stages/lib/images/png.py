"""Reading of one grey image from a PNG file, or the reason why not.

cv2 checks every checksum and refuses a truncated file, where others hand out wrong or black pixels; what came out is
then held against the header. Grey of 8 or 16 bits, interlaced or not, is taken, and RGB(A) of equal channels and full
opacity.
"""

import struct

import numpy as np

from stages.lib.core.errors import ImageError
from stages.lib.images.decoded import Decoded

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: (1,), 2: (3, 4), 4: (4,), 6: (4,)}  # what cv2 gives for each colour type of PNG (RGB with tRNS: 4)
COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}


def read_png(data: bytes, max_pixels: int) -> Decoded:
    """Image in the bytes of a PNG file.

    Args:
        data: The whole file, beginning with the signature of PNG.
        max_pixels: Pixels beyond which it is not decoded.

    Raises:
        ImageError: If its header is not that of 8- or 16-bit grey or RGB, it is damaged, or has colour or transparency.
    """
    import cv2

    width_px, height_px, depth, colour = png_header(data)
    if width_px * height_px > max_pixels:
        raise ImageError(f"{width_px} x {height_px} pixels, more than max_pixels = {max_pixels}")
    if depth not in (8, 16) or colour not in CHANNELS:
        raise ImageError(f"{depth}-bit {COLOURS.get(colour, colour)} PNG, wanted 8 or 16 bits of grey or RGB")
    check_chunks(data)
    if b"acTL" in data[: max(data.find(b"IDAT"), 0)]:
        raise ImageError("an animated PNG, wanted one image")
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"cannot be decoded ({error.err})") from error
    if found is None:
        raise ImageError("a damaged PNG: it is truncated, or some of its bits have changed")
    channels = 1 if found.ndim == 2 else found.shape[2]
    if (
        found.shape[:2] != (height_px, width_px)
        or found.dtype.itemsize * 8 != depth
        or channels not in CHANNELS[colour]
    ):
        raise ImageError(
            f"decoded to {found.dtype} of shape {found.shape}, its header says {depth}-bit {COLOURS[colour]},"
            f" {width_px} x {height_px}"
        )
    return Decoded(one_channel(found), depth)


def check_chunks(data: bytes) -> None:
    """Refuse a file whose chunks do not add up to it: a decoder would reserve what a broken length says, up to 4 GB.

    Raises:
        ImageError: If a chunk is longer than the file, the last one is not the end, or there are two headers.
    """
    at = len(SIGNATURE)
    kinds: list[bytes] = []
    while at + 12 <= len(data) and kinds[-1:] != [b"IEND"]:
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        kinds.append(kind)
        at += 12 + length
    if at > len(data) or kinds[-1:] != [b"IEND"] or kinds.count(b"IHDR") != 1:
        raise ImageError("a damaged PNG: it is truncated, or some of its bits have changed")


def png_header(data: bytes) -> tuple[int, int, int, int]:
    """Width, height, bit depth and colour type as the first chunk of a PNG file states them.

    Raises:
        ImageError: If the first chunk is not a whole header.
    """
    if len(data) < 33 or data[8:16] != b"\x00\x00\x00\x0dIHDR":
        raise ImageError("a damaged PNG: it has no header")
    width_px, height_px, depth, colour = struct.unpack(">IIBB", data[16:26])
    if not width_px or not height_px:
        raise ImageError(f"a damaged PNG: its header says {width_px} x {height_px} pixels")
    return width_px, height_px, depth, colour


def one_channel(decoded: np.ndarray) -> np.ndarray:
    """A decoded image as one grey channel.

    Args:
        decoded: uint8 or uint16 of shape (height, width), (height, width, 3), or with alpha (height, width, 4).

    Raises:
        ImageError: If the colours differ anywhere, or alpha is not full everywhere.
    """
    if decoded.ndim == 2:
        return decoded
    first = decoded[..., 0]
    if not (np.array_equal(first, decoded[..., 1]) and np.array_equal(first, decoded[..., 2])):
        raise ImageError("a colour image, wanted grey or RGB of equal channels")
    if decoded.shape[2] == 4 and (decoded[..., 3] != np.iinfo(decoded.dtype).max).any():
        raise ImageError("an image with transparent parts, wanted an opaque one")
    return np.ascontiguousarray(first)
