"""Reading of one grey image from a DICOM file, or the reason why not.

Taken: one frame of MONOCHROME1 or MONOCHROME2, 1 to 16 bits stored, signed or not, by whatever name, with or without
preamble and file meta information, compressed or not. Dense is bright in what is returned: MONOCHROME1 and a negative
rescale slope are each inverted. A positive slope and an intercept move no percentile, so stored values are kept; window
settings are not applied, since the percentiles of `preprocess` take their place. Padding is no part of the percentiles.

Each compressed syntax has one decoder, the one that gives the bits of the uncompressed twin (tests/lib/images/
test_dicom.py); pydicom's own choice would depend on what happens to be installed.
"""

import io
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.lib.core.errors import DataError, ImageError
from stages.lib.images import codestream, dicom_header, preprocess
from stages.lib.images.decoded import Decoded
from stages.lib.images.dicom_header import text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PREAMBLE_BYTES = 128
GZIP = b"\x1f\x8b"
DEFLATED = "1.2.840.10008.1.2.1.99"
IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
JPEG = "1.2.840.10008.1.2.4."
RLE, EXTENDED = "1.2.840.10008.1.2.5", JPEG + "51"
DECODERS = {  # by transfer syntax
    RLE: "pydicom",
    **dict.fromkeys((JPEG + "50", EXTENDED, JPEG + "57", JPEG + "70"), "gdcm"),
    **dict.fromkeys((JPEG + "80", JPEG + "81"), "pyjpegls"),
    **dict.fromkeys((JPEG + "90", JPEG + "91", JPEG + "201", JPEG + "202", JPEG + "203"), "pylibjpeg"),
}
ENCAPSULATED = b"\xfe\xff\x00\xe0"  # how compressed pixel data begin
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
COLOURS = (
    *("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT"),
    *("XYB", "ARGB", "CMYK", "HSV", "MONOCHROME1", "MONOCHROME2"),
)
MAX_BITS = 16


def looks_like_dicom(head: bytes) -> bool:
    """Whether a file that begins so is DICOM: by its mark, or by a first element as DICOM has it.

    >>> looks_like_dicom(bytes(128) + b"DICM"), looks_like_dicom(b"<!DOCTYPE html>")
    (True, False)
    """
    if head[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == b"DICM":
        return True
    group = head[:2] in (b"\x02\x00", b"\x08\x00") and head[3:4] == b"\0"
    return group and len(head) > 8 and ((head[4:6].isalpha() and head[4:6].isupper()) or head[6:8] == b"\0\0")


def read_dicom(path: str | Path, *, max_pixels: int) -> Decoded:
    """Grey values of a DICOM image, and what its header says of them.

    Args:
        path: The file; it may be compressed by gzip.
        max_pixels: Pixels beyond which the image is not decoded.

    Raises:
        ImageError: If it is damaged, too big, compressed in a way that is not read here, or not one grey frame.
    """
    data = Path(path).read_bytes()
    if data.startswith(GZIP):
        data = inflated(data, 8 * max_pixels + (1 << 20), 31)
        if not looks_like_dicom(data[: PREAMBLE_BYTES + 4]):
            raise ImageError("a gzip file that holds no DICOM: unpack it, as by gunzip")
    with silent():
        return _read(data, max_pixels)


@contextmanager
def silent() -> Iterator[None]:
    """No warning and no log of pydicom: they quote the values they are about, the patient's name among them."""
    logger = logging.getLogger("pydicom")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def inflated(data: bytes, limit: int, window: int) -> bytes:
    """Bytes inflated by zlib, but no more than `limit`.

    Raises:
        ImageError: If there are more, or they are damaged.
    """
    machine = zlib.decompressobj(window)
    try:
        found = machine.decompress(data, limit)
    except zlib.error as error:
        raise ImageError("damaged: what was deflated cannot be inflated") from error
    if machine.unconsumed_tail:
        raise ImageError(f"it inflates to more than {limit} bytes, more than an image of max_pixels can have")
    if not machine.eof:
        raise ImageError("damaged: the deflated data end too early")
    return found


def _read(data: bytes, max_pixels: int) -> Decoded:
    try:
        dataset, syntax = parse(data, 8 * max_pixels + (1 << 20))
    except (ImageError, MemoryError):
        raise
    # A damaged file makes the parser raise whatever type the damage happens to hit.
    except Exception as error:
        raise ImageError("a damaged DICOM: its header cannot be read") from error
    try:
        check_header(dataset, max_pixels)
        header, notices = dicom_header.read_header(dataset, syntax)
    except (ImageError, DataError, MemoryError):
        raise
    except Exception as error:
        raise ImageError("a damaged DICOM: a field of its header cannot be read") from error
    try:
        stored = decode(dataset, syntax)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError(f"a damaged DICOM: its pixel data cannot be decoded ({named(syntax)})") from error
    if stored.shape != (dataset.Rows, dataset.Columns):
        raise ImageError(f"decoded to shape {stored.shape}, its header says ({dataset.Rows}, {dataset.Columns})")
    try:
        pixels, padding = grey(stored, dataset)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError("a damaged DICOM: its grey values and its header do not fit together") from error
    counts = None
    if padding is not None and padding.any():
        if padding.all():
            raise ImageError("all of its pixels are padding: there is no image", "no_image")
        darkest = int(pixels[~padding].min())
        pixels[padding] = darkest
        counts = preprocess.histogram(pixels)
        counts[darkest] -= np.count_nonzero(padding)
    return Decoded(pixels, int(dataset.BitsStored), header, notices, counts)


def parse(data: bytes, limit: int) -> tuple["Dataset", str]:
    """The data set of a file, and the UID of the transfer syntax that it came in.

    Args:
        data: The file; without file meta information it is read as what it looks like, explicit or implicit VR.
        limit: Bytes beyond which a deflated data set is not inflated.

    Raises:
        ImageError: If it is no DICOM.
    """
    import pydicom
    from pydicom.dataset import FileMetaDataset

    if not looks_like_dicom(data[: PREAMBLE_BYTES + 4]):
        raise ImageError(f"neither PNG nor DICOM: it begins with {data[:8].decode('latin-1')!r}")
    marked = data[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == b"DICM"
    begins = PREAMBLE_BYTES + 4 if marked else 0
    handle = io.BytesIO(data[begins:])
    meta = pydicom.filereader.read_dataset(
        handle,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag >> 16 != 2,
    )
    syntax = str(meta.get("TransferSyntaxUID", ""))
    if syntax == DEFLATED:
        whole = inflated(data[begins + handle.tell() :], limit, -15)
        dataset = pydicom.filereader.read_dataset(io.BytesIO(whole), is_implicit_VR=False, is_little_endian=True)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(EXPLICIT)
        return dataset, syntax
    dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if not syntax:
        implicit, little = dataset.original_encoding
        syntax = IMPLICIT if implicit else EXPLICIT if little else BIG_ENDIAN
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    return dataset, syntax


def named(syntax: str) -> str:
    """What a transfer syntax is called."""
    import pydicom

    return str(pydicom.uid.UID(syntax).name)


def check_header(header: "Dataset", max_pixels: int) -> None:
    """Refuse by the header alone what is not one grey frame of a bearable size.

    Raises:
        ImageError: With what was found and what was wanted.
    """
    if not any(name in header for name in PIXELS):
        kind = text(header, "Modality")
        kind = kind if kind in dicom_header.OTHER_MODALITIES else ""
        raise ImageError(f"a DICOM without pixel data{f' (modality {kind})' if kind else ''}, wanted an image")
    if "PixelData" not in header:
        raise ImageError("a DICOM with pixel data in floating point, wanted whole numbers of at most 16 bits")
    missing = [name for name in ("Rows", "Columns", "BitsAllocated", "BitsStored") if not header.get(name)]
    if missing:
        raise ImageError(f"a DICOM without {', '.join(missing)}: not an image")
    if int(header.get("NumberOfFrames") or 1) != 1:
        raise ImageError(f"a DICOM of {int(header.NumberOfFrames)} frames, wanted one", "frames")
    kind = text(header, "PhotometricInterpretation")
    if kind not in ("MONOCHROME1", "MONOCHROME2") or int(header.get("SamplesPerPixel") or 1) != 1:
        kind = dicom_header.known(kind, COLOURS)
        raise ImageError(f"a DICOM of kind {kind}, wanted MONOCHROME1 or MONOCHROME2")
    if header.Rows * header.Columns > max_pixels:
        raise ImageError(f"{header.Columns} x {header.Rows} pixels, more than max_pixels = {max_pixels}", "no_image")
    allocated, stored = int(header.BitsAllocated), int(header.BitsStored)
    if stored > min(allocated, MAX_BITS) or allocated not in (1, 8, 16, 32):
        raise ImageError(f"{stored} of {allocated} bits stored, wanted 1 to {MAX_BITS} of 8, 16 or 32")
    high = int(header.get("HighBit", stored - 1))
    if not stored - 1 <= high < allocated:
        raise ImageError(f"high bit {high}, wanted {stored - 1} to {allocated - 1}")


def decode(dataset: "Dataset", syntax: str) -> np.ndarray:
    """Stored values of a data set, (height, width), decompressed.

    Raises:
        ImageError: If its transfer syntax is not read here, or the pixel data are too short.
    """
    from pydicom.encaps import get_frame
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    if UID(syntax).is_compressed:
        if syntax not in DECODERS:
            raise ImageError(
                f"compressed as {named(syntax)}, which is not read here: decompress it, as by gdcmconv --raw"
            )
        bits = int(dataset.BitsStored)
        if syntax != RLE:
            data = get_frame(dataset.PixelData, 0, number_of_frames=1)
            bits = check_codestream(data, dataset)
            if syntax == EXTENDED and bits > 8:
                return extended(data, dataset, bits)
        pixels, _ = get_decoder(UID(syntax)).as_array(dataset, raw=True, decoding_plugin=DECODERS[syntax])
        if bits > dataset.BitsStored and not _fit(pixels, dataset):
            dataset.BitsStored, dataset.HighBit = bits, bits - 1
        return np.asarray(pixels)
    if dataset.PixelData[:4] == ENCAPSULATED and dataset.BitsAllocated > 1:
        raise ImageError("its pixel data are compressed, and the file does not say how (no transfer syntax)")
    found, wanted = len(dataset.PixelData), -(-dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8)
    if found < wanted:
        raise ImageError(f"a damaged DICOM: {found} bytes of pixel data, wanted {wanted}: it is truncated")
    allocated = int(dataset.BitsAllocated)
    if allocated == 1 or syntax == BIG_ENDIAN:
        pixels, _ = get_decoder(dataset.file_meta.TransferSyntaxUID).as_array(dataset, raw=True)
        return np.asarray(pixels)
    # Not by pydicom, which clears the bits above those stored, also where the value is in them.
    values = np.frombuffer(dataset.PixelData, f"<u{allocated // 8}", count=dataset.Rows * dataset.Columns)
    return values.reshape(dataset.Rows, dataset.Columns)


def check_codestream(data: bytes, dataset: "Dataset") -> int:
    """Bits of each value in a compressed image that is of the size that the header says.

    Raises:
        ImageError: If it is of another size, has colours, or more than 16 bits.
    """
    found = codestream.frame(data)
    if (found.height_px, found.width_px, found.channels) != (dataset.Rows, dataset.Columns, 1):
        raise ImageError(
            f"a damaged DICOM: its compressed pixels are {found.width_px} x {found.height_px} "
            f"of {found.channels} channel(s), its header says {dataset.Columns} x {dataset.Rows} of 1"
        )
    if not 1 <= found.bits <= min(MAX_BITS, int(dataset.BitsAllocated)):
        raise ImageError(f"its compressed pixels have {found.bits} bits, its header says {dataset.BitsAllocated}")
    return found.bits


def _fit(pixels: np.ndarray, dataset: "Dataset") -> bool:
    """Whether all values have no more bits than the header says."""
    half = 1 << (int(dataset.BitsStored) - 1)
    least, most = (-half, half - 1) if dataset.get("PixelRepresentation", 0) else (0, 2 * half - 1)
    return bool(pixels.min() >= least and pixels.max() <= most)


def extended(data: bytes, dataset: "Dataset", bits: int) -> np.ndarray:
    """Stored values of a JPEG of 12 bits. GDCM decodes it; pydicom's way to GDCM takes 8 bits alone.

    Raises:
        ImageError: If it is damaged.
    """
    import gdcm

    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(data)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((int(dataset.Columns), int(dataset.Rows), 1))
    image.SetDataElement(element)
    grey_kind = gdcm.PhotometricInterpretation.MONOCHROME2
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey_kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, bits, bits - 1, 0))
    found = image.GetBuffer()
    if found is None:
        raise ImageError("a damaged DICOM: its JPEG cannot be decoded")
    return np.frombuffer(found.encode("utf-8", "surrogateescape"), "<u2").reshape(dataset.Rows, dataset.Columns)


def grey(stored: np.ndarray, header: "Dataset") -> tuple[np.ndarray, np.ndarray | None]:
    """Stored values as grey values from 0 on, dense bright, and which of them are padding; None without padding.

    Args:
        stored: Whole numbers, (height, width).
        header: Says which bits are the value, whether it has a sign, and which values are padding.

    Returns:
        uint8 or uint16 of the same shape, and bool of it.

    Raises:
        ImageError: If a lookup table does not give grey values of 16 bits.
    """
    bits, signed = int(header.BitsStored), bool(header.get("PixelRepresentation", 0))
    values = _values(stored, bits, int(header.get("HighBit", bits - 1)), signed)
    padding = _padding(stored, values, header, bits, signed)
    inverted = text(header, "PhotometricInterpretation") == "MONOCHROME1"
    if header.get("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        least = 1 << (bits - 1) if signed else 0
        table = np.asarray(apply_modality_lut(values.astype(np.int32) - least, header))
        if table.min() < 0 or table.max() > 65535 or table.dtype.kind not in "iu":
            raise ImageError("a DICOM with a modality lookup table beyond 16 bits, wanted plain grey values")
        bits = 16 if table.max() > 255 else 8
        values = table.astype(np.uint8 if bits == 8 else np.uint16)
    else:
        slope = dicom_header.number(header, "RescaleSlope")
        inverted ^= slope is not None and slope < 0
    if inverted:
        values = values ^ values.dtype.type((1 << bits) - 1)
    return values, padding


def _values(stored: np.ndarray, bits: int, high: int, signed: bool) -> np.ndarray:
    """The value in its bits, counted from the least on: uint8 or uint16.

    What lies in other bits (an overlay, rubbish) is no part of it. The least of a signed value becomes 0 by its sign
    bit alone; so nothing here needs more bits than the values have.
    """
    values = stored.astype(stored.dtype.newbyteorder("="), copy=False).view(f"u{stored.dtype.itemsize}")
    kind = values.dtype.type
    if high + 1 > bits:
        values = values >> kind(high + 1 - bits)
    if bits < 8 * values.itemsize:
        values = values & kind((1 << bits) - 1)
    if signed:
        values = values ^ kind(1 << (bits - 1))
    if values is stored or values.base is not None:
        values = values.copy()
    return values.astype(np.uint8 if bits <= 8 else np.uint16, copy=False)


def _padding(stored: np.ndarray, values: np.ndarray, header: "Dataset", bits: int, signed: bool) -> np.ndarray | None:
    """Which values are padding; None if the header names none.

    A padding value that the bits stored cannot hold is looked for in the words as they are, all bits of them.

    Args:
        stored: The words as they are.
        values: The values in their bits, counted from the least on.
        header: Names the padding.
        bits: Bits stored.
        signed: Whether they have a sign.
    """
    ends = [_whole(header.get(name), bits, signed) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return None
    half = 1 << (bits - 1) if signed else 0
    low, high = (end + half for end in sorted((ends[0], ends[0] if ends[1] is None else ends[1])))
    most = (1 << bits) - 1
    if low > most or high < 0:
        words = stored.astype(np.int64)
        size = 8 * stored.dtype.itemsize
        low, high = low - half, high - half
        if high < 0 and stored.dtype.kind == "u":
            low, high = low + (1 << size), high + (1 << size)
        return (words >= low) & (words <= high)
    kind = values.dtype.type
    return (values >= kind(max(low, 0))) & (values <= kind(min(high, most)))


def _whole(value: Any, bits: int, signed: bool) -> int | None:
    """A padding value as the pixels have it: one above the largest of a signed image is a negative one."""
    if value is None or value == "":
        return None
    if isinstance(value, bytes):
        value = int.from_bytes(value[:2], "little")
    whole = int(value)
    return whole - (1 << 16) if signed and whole >= 1 << (bits - 1) and whole >= 1 << 15 else whole
