"""Reading of one grey image from a JPEG or a TIFF file, or the reason why not.

JPEG is lossy, and most are exports for the eye: each is remarked. Its colours may differ by what compression did to
them. Orientation tags are not applied: a radiograph is taken as it is stored. A TIFF has one page of 8 or 16 bits.
"""

import numpy as np

from stages.lib.core.errors import ImageError
from stages.lib.images import png
from stages.lib.images.decoded import Decoded
from stages.lib.images.notices import Notice

JPEG, TIFF = b"\xff\xd8\xff", (b"II*\0", b"MM\0*")
FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
COLOUR_LEVELS = 12  # by which colours of a grey JPEG differ at most
OTHERS = {
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"RIFF": "WebP",
    b"\x93NUMPY": "NumPy",
    b"NRRD": "NRRD",
    b"\x5c\x01\0\0": "NIfTI",
    b"%PDF": "PDF",
    b"PK\x03\x04": "zip",
}


def read_jpeg(data: bytes, max_pixels: int) -> Decoded:
    """Image in the bytes of a JPEG file.

    Raises:
        ImageError: If it is damaged, too big or has colours.
    """
    width, height, depth = jpeg_size(data)
    _check_size(width, height, max_pixels)
    if depth != 8:
        raise ImageError(f"a JPEG of {depth} bits, wanted 8: convert it to PNG")
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ImageError("a damaged JPEG: it is truncated")
    found = _decoded(data, "JPEG")
    lossy = Notice("lossy", "a JPEG, compressed with loss")
    if found.ndim == 2:
        return Decoded(found, 8, notices=(lossy,))
    spread = found.max(axis=2).astype(int) - found.min(axis=2)
    if np.percentile(spread, 99.9) > COLOUR_LEVELS:
        raise ImageError("a colour JPEG, wanted grey")
    pixels = np.rint(found.mean(axis=2)).astype(np.uint8)
    notices = (
        (lossy, Notice("colour", "its colours differ a little, and their mean was taken")) if spread.any() else (lossy,)
    )
    return Decoded(pixels, 8, notices=notices)


def jpeg_size(data: bytes) -> tuple[int, int, int]:
    """Width, height and bits as the frame header of a JPEG states them.

    Raises:
        ImageError: If there is none, or it is of a kind that is not read.
    """
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            break
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if marker not in FRAMES:
                raise ImageError("a lossless or arithmetic JPEG outside of DICOM is not read: convert it to PNG")
            height, width = (int.from_bytes(data[at + k : at + k + 2], "big") for k in (5, 7))
            return width, height, data[at + 4]
        at += 2 + length
    raise ImageError("a damaged JPEG: it has no frame header")


def read_tiff(data: bytes, max_pixels: int) -> Decoded:
    """Image in the bytes of a TIFF file.

    Raises:
        ImageError: If it is damaged, too big, has colours, or several pages.
    """
    import io

    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as opened:
            pages, (width, height), mode = getattr(opened, "n_frames", 1), opened.size, opened.mode
            lossy = str(opened.info.get("compression", "")) in ("jpeg", "tiff_jpeg", "jpeg2000")
            inverted = dict(getattr(opened, "tag_v2", {})).get(262) == 0
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, KeyError, TypeError) as error:
        raise ImageError("a damaged TIFF: its header cannot be read") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"a TIFF of more pixels than max_pixels = {max_pixels}", "no_image") from error
    if pages != 1:
        raise ImageError(f"a TIFF of {pages} pages, wanted one", "frames")
    _check_size(width, height, max_pixels)
    if mode not in ("L", "I;16", "I;16B", "I;16L", "RGB"):
        raise ImageError(f"a TIFF of the kind {mode}, wanted 8 or 16 bits of grey")
    found = _decoded(data, "TIFF")
    if found.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"a TIFF of {found.dtype}, wanted 8 or 16 bits of grey")
    pixels = png.one_channel(found)
    # OpenCV turns white-is-zero of 8 bits round by itself, and leaves 16 bits as they are.
    if inverted and pixels.dtype == np.uint16:
        pixels = np.iinfo(pixels.dtype).max - pixels
    notices = (Notice("lossy", "a TIFF, compressed with loss"),) if lossy else ()
    return Decoded(pixels, pixels.dtype.itemsize * 8, notices=notices)


def unread(head: bytes) -> str | None:
    """What a file is that begins so, if it is of a kind that is known and not read; else None."""
    if head[4:8] == b"ftyp":
        return "HEIC or AVIF"
    if head[344:347] in (b"n+1", b"ni1"):
        return "NIfTI"
    return next((name for start, name in OTHERS.items() if head.startswith(start)), None)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels or not width * height:
        raise ImageError(f"{width} x {height} pixels, wanted 1 to max_pixels = {max_pixels}", "no_image")


def _decoded(data: bytes, kind: str) -> np.ndarray:
    import cv2

    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError(f"a {kind} that cannot be decoded") from error
    if found is None:
        raise ImageError(f"a damaged {kind}: it is truncated, or some of its bits have changed")
    return np.asarray(found)
