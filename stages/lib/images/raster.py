"""Reading of one grey image from a JPEG or a TIFF file, or the reason why not.

JPEG is lossy, and most are exports for the eye: each is remarked. Its colours may differ by what compression did to
them. Orientation tags are not applied: a radiograph is taken as it is stored. A TIFF has one page of 8 or 16 bits.
"""

import struct

import numpy as np

from stages.lib.core.errors import ImageError
from stages.lib.images import codestream, png
from stages.lib.images.decoded import Decoded
from stages.lib.images.notices import Notice

JPEG, TIFF = codestream.JPEG, (b"II*\0", b"MM\0*")
FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
COLOUR_LEVELS = 12  # by which colours of a grey JPEG differ at most
WIDTH, HEIGHT, DEPTH, COMPRESSION, PHOTOMETRIC, CHANNELS, FORM = 256, 257, 258, 259, 262, 277, 339  # tags of TIFF
WHITE_IS_ZERO = 0
PHOTOMETRICS = {0: "white is zero", 1: "black is zero", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr"}
TAKEN = ((1, 0), (1, 1), (3, 2), (3, 6))  # channels and photometric
NUMBERS = {1: "B", 3: "H", 4: "I"}  # types of fields
LOSSY = (6, 7, 34712, 33003, 33005)  # compressions: JPEG, old and new; JPEG 2000
MAX_PAGES = 1000
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
    b"II+\0": "BigTIFF",
    b"MM\0+": "BigTIFF",
    b"\xff\x0a": "JPEG XL",
}


def read_jpeg(data: bytes, max_pixels: int) -> Decoded:
    """Image in the bytes of a JPEG file.

    Raises:
        ImageError: If it is damaged, too big or has colours.
    """
    frame = codestream.frame(data)
    if frame.marker not in FRAMES:
        raise ImageError("a lossless or arithmetic JPEG outside of DICOM is not read: convert it to PNG")
    _check_size(frame.width_px, frame.height_px, max_pixels)
    if frame.bits != 8:
        raise ImageError(f"a JPEG of {frame.bits} bits, wanted 8: convert it to PNG")
    if frame.channels not in (1, 3):
        raise ImageError(f"a JPEG of {frame.channels} channels (CMYK?), wanted grey: convert it to PNG")
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


def read_tiff(data: bytes, max_pixels: int) -> Decoded:
    """Image in the bytes of a TIFF file.

    Raises:
        ImageError: If it is damaged, too big, has colours, or several pages.
    """
    pages = tiff_pages(data)
    fields = pages[0]
    if len(pages) != 1:
        raise ImageError(f"a TIFF of {len(pages)} pages, wanted one", "frames")
    width, height, depth = (fields.get(tag, 1) for tag in (WIDTH, HEIGHT, DEPTH))
    _check_size(width, height, max_pixels)
    channels, photometric, form = fields.get(CHANNELS, 1), fields.get(PHOTOMETRIC, -1), fields.get(FORM, 1)
    if depth not in (8, 16) or form != 1 or (channels, photometric) not in TAKEN:
        what = PHOTOMETRICS.get(photometric, "of no known kind") + ("" if form == 1 else ", signed or real")
        raise ImageError(f"a TIFF of {channels} channel(s) of {depth} bits ({what}), wanted grey of 8 or 16 bits")
    found = _decoded(data, "TIFF")
    if found.shape[:2] != (height, width) or found.dtype.itemsize * 8 != depth:
        raise ImageError(
            f"decoded to {found.dtype} of shape {found.shape}, its header says {depth}-bit {width}x{height}"
        )
    pixels = png.one_channel(found)
    # OpenCV turns white-is-zero of 8 bits round by itself, and leaves 16 bits as they are.
    if photometric == WHITE_IS_ZERO and depth == 16:
        pixels = np.iinfo(pixels.dtype).max - pixels
    lossy = (Notice("lossy", "a TIFF, compressed with loss"),) if fields.get(COMPRESSION) in LOSSY else ()
    return Decoded(pixels, depth, notices=lossy)


def tiff_pages(data: bytes) -> list[dict[int, int]]:
    """Fields of each page of a TIFF: its whole numbers by tag, of several the first.

    Source: TIFF revision 6.0, section 2.

    Raises:
        ImageError: If a list of fields lies outside of the file, or leads back to itself.
    """
    order = "<" if data.startswith(b"II") else ">"
    pages: list[dict[int, int]] = []
    seen: set[int] = set()
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        while at and len(pages) < MAX_PAGES:
            if at in seen:
                raise ImageError("a damaged TIFF: its pages lead back to one another")
            seen.add(at)
            (count,) = struct.unpack_from(f"{order}H", data, at)
            pages.append({})
            for field in range(at + 2, at + 2 + 12 * count, 12):
                tag, kind, number = struct.unpack_from(f"{order}HHI", data, field)
                if kind in NUMBERS and number:
                    size = struct.calcsize(NUMBERS[kind])
                    place = field + 8 if size * number <= 4 else struct.unpack_from(f"{order}I", data, field + 8)[0]
                    (pages[-1][tag],) = struct.unpack_from(order + NUMBERS[kind], data, place)
            (at,) = struct.unpack_from(f"{order}I", data, at + 2 + 12 * count)
    except struct.error as error:
        raise ImageError("a damaged TIFF: it is truncated, or its list of fields is damaged") from error
    if not pages:
        raise ImageError("a damaged TIFF: it has no page")
    return pages


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
