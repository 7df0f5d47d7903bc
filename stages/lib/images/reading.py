"""Reading of one image file that may hold anything: its grey values to the bit, or the reason why not.

The order is the safety: size of the file, our own look at the header (a bomb is refused before a decoder sees it), the
strictest decoder we know (cv2 checks every checksum and refuses a truncated file, where others hand out wrong or black
pixels), then what came out against the header, then whether it is an image at all. A grey PNG of 8 or 16 bits,
interlaced or not, is taken, and RGB(A) of equal channels and full opacity; DICOM as `dicom` says. The rest is refused.
"""

import struct
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from stages.lib.core import files
from stages.lib.core.errors import ImageError
from stages.lib.images import dicom, preprocess

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_BYTES = 132  # the DICOM preamble and its mark; the PNG header is shorter
CHANNELS = {0: (1,), 2: (3, 4), 4: (4,), 6: (4,)}  # what cv2 gives for each colour type of PNG (RGB with tRNS: 4)
COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
MIN_SIDE_PX = 32
MAX_SAME_FRACTION = (
    0.99  # beyond it the 0.5th and 99.5th percentile are the same value, and the image would be one flat grey
)


@dataclass(frozen=True)
class Decoded:
    """One image.

    Attributes:
        pixels: Grey values, uint8 or uint16, shape (height, width), dense is bright.
        bit_depth: Bits per grey value as stored.
        patient: Patient as the file itself names it; None if it names none.
        spacing_mm: Millimetres per pixel, as the file itself says; None if it says nothing of use.
        remark: What is odd about it; None if nothing.
        histogram: How often each grey value occurs, as `preprocess.histogram`; None before it was counted.
    """

    pixels: np.ndarray
    bit_depth: int
    patient: str | None = None
    spacing_mm: float | None = None
    remark: str | None = None
    histogram: np.ndarray | None = None


@dataclass(frozen=True)
class Facts:
    """Facts of an image's file; None where it could not be read.

    `remark` says what is odd, `problem` why it was refused.
    """

    sha256: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    bit_depth: int | None = None
    pixel_sha256: str | None = None
    patient: str | None = None
    spacing_mm: float | None = None
    remark: str | None = None
    problem: str | None = None


def examine(path: str, max_pixels: int) -> Facts:
    """Facts of the file at `path`; that it cannot be read as an image is a fact too, not an error.

    Args:
        path: File to open.
        max_pixels: Pixels beyond which it is not decoded.
    """
    digest = None
    try:
        check_size(path, max_pixels)
        digest = files.sha256_file(path)
        image = read_grey(path, max_pixels=max_pixels)
    except ImageError as error:
        return Facts(sha256=digest, problem=str(error))
    except OSError as error:
        return Facts(sha256=digest, problem=f"cannot be opened: {error.strerror}")
    height_px, width_px = image.pixels.shape
    hashed = pixel_sha256(image.pixels)
    return Facts(digest, width_px, height_px, image.bit_depth, hashed, image.patient, image.spacing_mm, image.remark)


def pixel_sha256(pixels: np.ndarray) -> str:
    """SHA-256 over the type, shape and values of an image, as 64 hexadecimal digits.

    >>> flat = np.zeros((2, 3), np.uint8)
    >>> pixel_sha256(flat) == pixel_sha256(flat.T)
    False
    """
    little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    digest = sha256(f"{little.dtype.str} {little.shape}".encode())
    digest.update(little.data)
    return digest.hexdigest()


def read_grey(path: str | Path, *, max_pixels: int) -> Decoded:
    """Image stored at `path`.

    Args:
        path: PNG or DICOM file; its first bytes decide which, not its name.
        max_pixels: Pixels beyond which it is not decoded.

    Raises:
        ImageError: With a sentence saying what was found, if it is not one grey image, whole and of a bearable size.
        OSError: If it cannot be opened.
    """
    check_size(path, max_pixels)
    with Path(path).open("rb") as handle:
        head = handle.read(HEADER_BYTES)
    if head.startswith(PNG_SIGNATURE):
        image = read_png(Path(path).read_bytes(), max_pixels)
    elif head[128:] == b"DICM":
        image = Decoded(**vars(dicom.read_dicom(path, max_pixels=max_pixels)))
    elif not head:
        raise ImageError("an empty file")
    else:
        raise ImageError(f"neither PNG nor DICOM: it begins with {head[:8]!r}")
    return replace(image, histogram=check_image(image.pixels))


def check_size(path: str | Path, max_pixels: int) -> None:
    """Refuse a file that is bigger than any image of `max_pixels` could be: it is never read.

    Raises:
        ImageError: If it is bigger than 8 bytes per pixel and 1 MiB.
        OSError: If there is no such file.
    """
    size = Path(path).stat().st_size
    if size > 8 * max_pixels + (1 << 20):
        raise ImageError(f"{size} bytes, more than an image of max_pixels = {max_pixels} can have")


def check_image(image: np.ndarray) -> np.ndarray:
    """Histogram of an image that is large enough for one, and not (nearly) all of one grey value.

    Args:
        image: Grey values, uint8 or uint16, shape (height, width).

    Raises:
        ImageError: If so.
    """
    height_px, width_px = image.shape
    if min(image.shape) < MIN_SIDE_PX:
        raise ImageError(f"{width_px} x {height_px} pixels, wanted at least {MIN_SIDE_PX} on each side")
    counts = preprocess.histogram(image)
    fraction = float(counts.max()) / image.size
    if fraction > MAX_SAME_FRACTION:
        raise ImageError(f"{fraction:.2%} of its pixels have the same value {int(counts.argmax())}: there is no image")
    return counts


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
