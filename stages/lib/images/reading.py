"""Reading of one image file that may hold anything: its grey values to the bit, or the reason why not.

The order is the safety: size of the file, our own look at the header (a bomb is refused before a decoder sees it), the
strictest decoder we know (cv2 checks every checksum and refuses a truncated file, where others hand out wrong or black
pixels), then what came out against the header, then whether it is an image at all. A grey PNG of 8 or 16 bits,
interlaced or not, is taken, and RGB(A) of equal channels and full opacity; DICOM as `dicom` says, JPEG and TIFF as
`raster`, MetaImage as `metaimage`, raw images of JSRT as `jsrt_raw`. The rest is refused.
"""

import base64
import zlib
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from stages.lib.core import files
from stages.lib.core.errors import ImageError
from stages.lib.images import appearance, archives, dicom, duplicates, jsrt_raw, metaimage, png, preprocess, raster
from stages.lib.images.decoded import SILENT, Decoded, Header
from stages.lib.images.notices import Notice

HEADER_BYTES = 352  # the header of NIfTI; those of the others are shorter
MIN_SIDE_PX = 32
MAX_SAME_FRACTION = (
    0.99  # beyond it the 0.5th and 99.5th percentile are the same value, and the image would be one flat grey
)


@dataclass(frozen=True)
class Facts:
    """Facts of an image's file; None where it could not be read.

    `notices` say what is odd, or why it was refused. `thumbnail` is that of `duplicates`, and `body` the packed bits of
    the mask of `appearance`, by zlib and in base64; None where it cannot be told.
    """

    sha256: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    bit_depth: int | None = None
    pixel_sha256: str | None = None
    header: Header = SILENT
    notices: tuple[Notice, ...] = ()
    thumbnail: str | None = None
    body: str | None = None


def examine(path: str, max_pixels: int) -> Facts:
    """Facts of the file at `path`; that it cannot be read as an image is a fact too, not an error.

    Args:
        path: File to open; it may be one of an archive, see `archives`.
        max_pixels: Pixels beyond which it is not decoded.
    """
    digest = None
    try:
        with archives.on_disk(path, max_bytes(max_pixels)) as file:
            check_size(file, max_pixels)
            digest = files.sha256_file(file)
            image = read_grey(file, max_pixels=max_pixels)
    except ImageError as error:
        return Facts(sha256=digest, notices=(Notice(error.kind, str(error)),))
    except OSError as error:
        return Facts(sha256=digest, notices=(Notice("file", f"cannot be opened: {error.strerror}"),))
    height_px, width_px = image.pixels.shape
    hashed = pixel_sha256(image.pixels)
    small, remarks, body = seen(image)
    notices = (*image.notices, *remarks)
    return Facts(
        digest,
        width_px,
        height_px,
        image.bit_depth,
        hashed,
        image.header,
        notices,
        _text(small.tobytes()),
        _text(body),
    )


def seen(image: Decoded) -> tuple[np.ndarray, list[Notice], bytes | None]:
    """Thumbnail of an image, remarks on its looks, and the packed mask of its body; None where it cannot be told."""
    view = duplicates.view(image.pixels)
    counts = preprocess.histogram(image.pixels) if image.histogram is None else image.histogram
    low, high = (preprocess.percentile(counts, at) for at in (appearance.LOW_PERCENTILE, appearance.HIGH_PERCENTILE))
    normalized = appearance.normalized(view, low, high)
    remarks = appearance.remarks(normalized)
    mask = None if any(one.kind == "inverted" for one in remarks) else appearance.body(normalized)
    return duplicates.of_view(view), remarks, None if mask is None else zlib.compress(np.packbits(mask).tobytes())


def outside_body(facts: Facts, x: float, y: float) -> bool:
    """Whether a point of an image, in its pixels, is clearly outside of the body."""
    if facts.body is None or not facts.width_px or not facts.height_px:
        return False
    side = appearance.BODY_PX
    mask = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(facts.body)), np.uint8)).reshape(side, side) > 0
    return appearance.outside(mask, x, y, (facts.width_px, facts.height_px))


def _text(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


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
        path: PNG, DICOM, JPEG, TIFF or MetaImage file, its first bytes decide which, not its name;
            or a raw image of JSRT.
        max_pixels: Pixels beyond which it is not decoded.

    Raises:
        ImageError: With a sentence saying what was found, if it is not one grey image, whole and of a bearable size.
        OSError: If it cannot be opened.
    """
    check_size(path, max_pixels)
    with Path(path).open("rb") as handle:
        head = handle.read(HEADER_BYTES)
    if head.startswith(png.SIGNATURE):
        image = png.read_png(Path(path).read_bytes(), max_pixels)
    elif dicom.looks_like_dicom(head) or head.startswith(dicom.GZIP):
        image = dicom.read_dicom(path, max_pixels=max_pixels)
    elif head.startswith(raster.JPEG):
        image = raster.read_jpeg(Path(path).read_bytes(), max_pixels)
    elif head.startswith(raster.TIFF):
        image = raster.read_tiff(Path(path).read_bytes(), max_pixels)
    elif metaimage.is_metaimage(head):
        image = metaimage.read_metaimage(path, max_pixels)
    elif jsrt_raw.is_jsrt(path):
        image = jsrt_raw.read_jsrt(path, max_pixels)
    elif not head:
        raise ImageError("an empty file")
    elif kind := raster.unread(head):
        raise ImageError(f"a {kind} file, wanted PNG, DICOM, JPEG or TIFF: convert it to PNG")
    else:
        raise ImageError(f"neither PNG nor DICOM, JPEG or TIFF: it begins with {head[:8].decode('latin-1')!r}")
    return replace(image, histogram=check_image(image.pixels, image.histogram))


def max_bytes(max_pixels: int) -> int:
    """Bytes beyond which no file is an image of so many pixels: 8 per pixel and 1 MiB."""
    return 8 * max_pixels + (1 << 20)


def check_size(path: str | Path, max_pixels: int) -> None:
    """Refuse a file that is bigger than any image of `max_pixels` could be: it is never read.

    Raises:
        ImageError: If it is bigger than 8 bytes per pixel and 1 MiB.
        OSError: If there is no such file.
    """
    size = Path(path).stat().st_size
    if size > max_bytes(max_pixels):
        raise ImageError(f"{size} bytes, more than an image of max_pixels = {max_pixels} can have")


def check_image(image: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Histogram of an image that is large enough for one, and not (nearly) all of one grey value.

    Args:
        image: Grey values, uint8 or uint16, shape (height, width).
        counts: Its histogram without padding, where it is known.

    Raises:
        ImageError: If not.
    """
    height_px, width_px = image.shape
    if min(image.shape) < MIN_SIDE_PX:
        raise ImageError(f"{width_px} x {height_px} pixels, wanted at least {MIN_SIDE_PX} on each side", "no_image")
    if counts is None:
        counts = preprocess.histogram(image)
    fraction = float(counts.max()) / max(int(counts.sum()), 1)
    if fraction > MAX_SAME_FRACTION:
        raise ImageError(
            f"{fraction:.2%} of its pixels have the same value {int(counts.argmax())}: there is no image", "no_image"
        )
    return counts
