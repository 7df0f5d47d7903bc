"""Reading of one grey image from a MetaImage file (.mha), or the reason why not.

Taken: two dimensions, or three with one slice; one channel; whole numbers of 8 to 32 bits, or real ones; as they are or
deflated by zlib; the pixels in the file itself. A header that names another file (.mhd beside .raw) is refused: a file
must not choose what is opened.

Grey values that fit into 16 bits stay as they are. If some are negative or too large, the least becomes 0. Real ones,
and a range beyond 16 bits, are mapped linearly to 0..65535; percentiles do not depend on it but for the rounding. What
is written where no spacing is known, 1 by 1, is no spacing.

Source: the MetaIO documentation of ITK.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stages.lib.core.errors import ImageError
from stages.lib.images.decoded import Decoded, Header
from stages.lib.images.notices import Notice

MAX_HEADER_BYTES = 1 << 16
BEGINNINGS = (b"ObjectType", b"NDims", b"Comment")
MAX_GREY = 65535
SQUARE = 1e-3  # relative difference of the two sides of a pixel up to which it is square
TYPES = {
    "MET_UCHAR": "u1",
    "MET_CHAR": "i1",
    "MET_USHORT": "u2",
    "MET_SHORT": "i2",
    "MET_UINT": "u4",
    "MET_INT": "i4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
SPACINGS = ("ElementSpacing", "ElementSize")


def is_metaimage(head: bytes) -> bool:
    """Whether a file that begins so is a MetaImage.

    >>> is_metaimage(b"ObjectType = Image"), is_metaimage(b"Comments follow")
    (True, False)
    """
    return head.partition(b"=")[0].rstrip() in BEGINNINGS


def read_metaimage(path: str | Path, max_pixels: int) -> Decoded:
    """Image in a MetaImage file.

    Args:
        path: The file.
        max_pixels: Pixels beyond which it is not decoded.

    Raises:
        ImageError: If its header is not that of one grey image in the file, or its pixels are damaged.
    """
    with Path(path).open("rb") as handle:
        fields, start = read_header(handle.read(MAX_HEADER_BYTES))
        width_px, height_px, kind = shape(fields)
        if width_px * height_px > max_pixels:
            raise ImageError(f"{width_px} x {height_px} pixels, more than max_pixels = {max_pixels}")
        handle.seek(start)
        data = handle.read()
    wanted = width_px * height_px * kind.itemsize
    if _is_true(fields, "CompressedData"):
        data = inflate(data, wanted)
    if len(data) != wanted:
        raise ImageError(f"a damaged MetaImage: {len(data)} bytes of pixels, its header says {wanted}")
    values = np.frombuffer(data, kind).reshape(height_px, width_px)
    pixels, notices = grey(values.astype(kind.newbyteorder("=")))
    spacing_mm, name, odd = spacing(fields)
    if odd:
        notices.append(Notice("spacing", odd))
    return Decoded(pixels, 8 * pixels.itemsize, Header(spacing_mm=spacing_mm, spacing_from=name), tuple(notices))


def read_header(data: bytes) -> tuple[dict[str, str], int]:
    """Fields of a header, and the place where its pixels begin.

    >>> read_header(b"NDims = 2\\nDimSize = 4 3\\nElementDataFile = LOCAL\\n...")
    ({'NDims': '2', 'DimSize': '4 3', 'ElementDataFile': 'LOCAL'}, 48)
    """
    fields: dict[str, str] = {}
    start = 0
    while "ElementDataFile" not in fields:
        end = data.find(b"\n", start)
        if end < 0:
            raise ImageError("a damaged MetaImage: its header does not end with ElementDataFile")
        line = data[start:end]
        start = end + 1
        if not line.strip():
            continue
        name, equals, value = line.partition(b"=")
        if not equals or not line.isascii():
            raise ImageError(f"a damaged MetaImage: {line[:20]!r} in its header, wanted 'name = value'")
        fields[name.decode().strip()] = value.decode().strip()
    return fields, start


def shape(fields: Mapping[str, str]) -> tuple[int, int, np.dtype]:
    """Width, height and type of the pixels.

    Raises:
        ImageError: If the header is not that of one grey image whose pixels follow it.
    """
    if fields["ElementDataFile"].upper() != "LOCAL":
        raise ImageError(
            "a MetaImage header whose pixels are in another file, which is not opened: write it as one .mha file"
        )
    sizes = [int(word) for word in fields.get("DimSize", "").split() if word.isdecimal() and len(word) < 10]
    if fields.get("NDims") not in ("2", "3") or len(sizes) != int(fields["NDims"]) or 0 in sizes:
        told = f"NDims {fields.get('NDims')!r} and DimSize {fields.get('DimSize')!r}"
        raise ImageError(f"a MetaImage of {told}, wanted 2 or 3 sizes above 0")
    if sizes[2:] not in ([], [1]):
        raise ImageError(f"{sizes[2]} slices, wanted one", "frames")
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise ImageError(f"{fields['ElementNumberOfChannels']!r} channels, wanted one of grey")
    if not _is_true(fields, "BinaryData", "True"):
        raise ImageError("a MetaImage whose pixels are text, wanted BinaryData = True")
    if fields.get("HeaderSize", "0") not in ("0", "-1"):
        raise ImageError(f"a MetaImage of HeaderSize {fields['HeaderSize']!r}, wanted pixels that follow the header")
    if fields.get("ElementType") not in TYPES:
        raise ImageError(f"a MetaImage of ElementType {fields.get('ElementType')!r}, wanted one of {', '.join(TYPES)}")
    big = _is_true(fields, "BinaryDataByteOrderMSB") or _is_true(fields, "ElementByteOrderMSB")
    return sizes[0], sizes[1], np.dtype((">" if big else "<") + TYPES[fields["ElementType"]])


def inflate(data: bytes, wanted: int) -> bytes:
    """`data` unpacked by zlib: never more than one byte beyond what is wanted, whatever it unpacks to.

    Raises:
        ImageError: If it is damaged or truncated.
    """
    unpack = zlib.decompressobj()
    try:
        found = unpack.decompress(data, wanted + 1)
    except zlib.error as error:
        raise ImageError("a damaged MetaImage: its packed pixels cannot be unpacked") from error
    if len(found) <= wanted and (not unpack.eof or unpack.unused_data):
        raise ImageError("a damaged MetaImage: its packed pixels are truncated, or something follows them")
    return found


def grey(values: np.ndarray) -> tuple[np.ndarray, list[Notice]]:
    """Grey values, uint8 or uint16 of the same shape, and a remark if they had to be rounded.

    Raises:
        ImageError: If a value is no number.

    >>> grey(np.array([[-2, 3]], np.int16))[0].tolist()
    [[0, 5]]
    """
    if values.dtype in (np.uint8, np.uint16):
        return values, []
    if not np.isfinite(values).all():
        raise ImageError("pixels that are no numbers (NaN or infinite), wanted grey values")
    least, most = float(values.min()), float(values.max())
    if not np.isfinite(most - least):
        raise ImageError(f"grey values from {least:g} to {most:g}, wanted a smaller range")
    shifted = values.astype(np.float64)
    if least < 0 or most > MAX_GREY:
        shifted -= least
        most -= least
    if most <= MAX_GREY and (values.dtype.kind != "f" or np.array_equal(shifted, np.rint(shifted))):
        return shifted.astype(np.uint8 if values.dtype.itemsize == 1 else np.uint16), []
    start, extent = float(shifted.min()), most - float(shifted.min())
    text = f"grey values of {extent:g} in all, as {values.dtype}, were mapped to whole numbers of 0 to {MAX_GREY}"
    mapped = np.rint((shifted - start) / (extent or 1.0) * MAX_GREY)
    return mapped.astype(np.uint16), [Notice("lossy", text)]


def spacing(fields: Mapping[str, str]) -> tuple[float | None, str | None, str | None]:
    """Millimetres per pixel, the field that says so, and a remark if the header has a spacing that cannot be used.

    >>> spacing({"ElementSpacing": "0.2 0.2 1"}), spacing({"ElementSpacing": "1 1"})
    ((0.2, 'ElementSpacing', None), (None, None, None))
    """
    name = next((name for name in SPACINGS if name in fields), None)
    if name is None:
        return None, None, None
    try:
        across, down = (float(word) for word in fields[name].split()[:2])
    except ValueError:
        return None, None, f"{name} {fields[name]!r} is not two numbers, so no distance in mm is measured"
    if across == down == 1:
        return None, None, None
    if not (0 < across < np.inf and 0 < down < np.inf):
        return None, None, f"{name} {fields[name]!r} is no size, so no distance in mm is measured"
    if abs(across - down) > SQUARE * max(across, down):
        return None, None, f"{name} {across:g} by {down:g} mm is not square, so no distance in mm is measured"
    return across, name, None


def _is_true(fields: Mapping[str, str], name: str, default: str = "False") -> bool:
    return fields.get(name, default).casefold() in ("true", "1")
