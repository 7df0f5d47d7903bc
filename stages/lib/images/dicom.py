"""Reading of one grey image from a DICOM file, or the reason why not.

Taken: one frame of MONOCHROME1 or MONOCHROME2, at most 16 bits. MONOCHROME1 is inverted, so that dense is bright as in
every other image. The rescale is applied where it keeps whole numbers; window settings are not applied, since the
percentiles of `preprocess` take their place. A message never quotes a field that may name the patient.

The size of a pixel is that at the detector (ImagerPixelSpacing), else PixelSpacing: the body is magnified at the
detector, so what is measured on an image is somewhat larger than in the patient.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.lib.core.errors import ImageError
from stages.lib.images.decoded import Decoded, Header
from stages.lib.images.notices import Notice

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DEFLATED = "1.2.840.10008.1.2.1.99"
MAX_GREY = 65535
SPACINGS = ("ImagerPixelSpacing", "PixelSpacing")
SQUARE = 1e-3  # relative difference of the two sides of a pixel up to which it is square


def read_dicom(path: str | Path, *, max_pixels: int) -> Decoded:
    """Grey values of a DICOM image, and what its header says of them.

    Args:
        path: File with the DICOM preamble.
        max_pixels: Pixels beyond which the image is not decoded.

    Raises:
        ImageError: If it is damaged, too big, compressed without a decoder for it here, or not one grey frame.
    """
    # pydicom's warnings quote the values they are about, the patient's name among them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _read(path, max_pixels)
        except (ImageError, MemoryError):
            raise
        # A damaged file makes the parser raise whatever type the damage happens to hit.
        except Exception as error:
            raise ImageError(f"damaged DICOM ({type(error).__name__})") from error


def _read(path: str | Path, max_pixels: int) -> Decoded:
    import pydicom

    meta = pydicom.filereader.read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") == DEFLATED:
        raise ImageError("the whole DICOM file is deflated, wanted it inflated (its size cannot be known before)")
    header = pydicom.dcmread(path, stop_before_pixels=True)
    check_header(header, max_pixels)
    stored = decode(path)
    if stored.shape != (header.Rows, header.Columns):
        raise ImageError(f"decoded to shape {stored.shape}, its header says ({header.Rows}, {header.Columns})")
    patient = str(header.get("PatientID") or "").strip() or None
    spacing_mm, odd = spacing(header)
    return Decoded(
        grey(stored, header),
        int(header.BitsStored),
        Header(patient=patient, spacing_mm=spacing_mm),
        (Notice("spacing", odd),) if odd else (),
    )


def spacing(header: "Dataset | Mapping[str, Any]") -> tuple[float | None, str | None]:
    """Millimetres per pixel, and a remark if the header has a spacing that cannot be used.

    >>> spacing({"ImagerPixelSpacing": [0.175, 0.175], "PixelSpacing": [0.168, 0.168]})
    (0.175, None)
    >>> spacing({"PixelSpacing": [0.2, 0.1]})
    (None, 'PixelSpacing 0.2 by 0.1 mm is not square, so no distance in mm is measured')
    """
    for name in SPACINGS:
        found = header.get(name)
        if not found:
            continue
        try:
            rows, columns = (float(value) for value in found)
        except (TypeError, ValueError):
            return None, f"{name} is not two numbers, so no distance in mm is measured"
        if not (0 < rows < np.inf and 0 < columns < np.inf):
            return None, f"{name} {rows:g} by {columns:g} is no size, so no distance in mm is measured"
        if abs(rows - columns) > SQUARE * max(rows, columns):
            return None, f"{name} {rows:g} by {columns:g} mm is not square, so no distance in mm is measured"
        return rows, None
    return None, None


def check_header(header: "Dataset", max_pixels: int) -> None:
    """Refuse by the header alone what is not one grey frame of a bearable size.

    Raises:
        ImageError: With what was found and what was wanted.
    """
    missing = [name for name in ("Rows", "Columns", "BitsAllocated", "BitsStored") if not header.get(name)]
    if missing:
        raise ImageError(f"DICOM without {', '.join(missing)}: not an image")
    if header.Rows * header.Columns > max_pixels:
        raise ImageError(f"{header.Columns} x {header.Rows} pixels, more than max_pixels = {max_pixels}")
    kind = header.get("PhotometricInterpretation")
    if kind not in ("MONOCHROME1", "MONOCHROME2") or header.get("SamplesPerPixel", 1) != 1:
        raise ImageError(f"DICOM of kind {kind!r}, wanted MONOCHROME1 or MONOCHROME2")
    if int(header.get("NumberOfFrames") or 1) != 1:
        raise ImageError(f"{header.NumberOfFrames} frames, wanted one")
    if header.BitsAllocated not in (8, 16) or header.BitsStored > header.BitsAllocated:
        raise ImageError(
            f"{header.BitsStored} of {header.BitsAllocated} bits stored, wanted at most 8 of 8 or 16 of 16"
        )
    if header.get("HighBit", header.BitsStored - 1) != header.BitsStored - 1:
        raise ImageError(f"high bit {header.HighBit}, wanted {header.BitsStored - 1}, the last of the bits stored")
    if "ModalityLUTSequence" in header:
        raise ImageError("DICOM with a modality lookup table, wanted plain grey values")


def decode(path: str | Path) -> np.ndarray:
    """Stored values of a DICOM file, decompressed if a decoder is installed.

    Raises:
        ImageError: If its transfer syntax has no decoder here.
    """
    import pydicom
    from pydicom.pixels import get_decoder

    dataset = pydicom.dcmread(path)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed:
        try:
            available = get_decoder(syntax).is_available
        except NotImplementedError:
            available = False
        if not available:
            raise ImageError(f"compressed as {syntax.name}, for which no decoder is installed: decompress it first")
    return dataset.pixel_array


def grey(stored: np.ndarray, header: "Dataset") -> np.ndarray:
    """Stored values as grey values, dense bright, rescaled: uint8 or uint16 of the same shape.

    Raises:
        ImageError: If the rescale takes a value out of the whole numbers 0..65535.
    """
    bits = int(header.BitsStored)
    signed = bool(header.get("PixelRepresentation", 0))
    least, most = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    values: np.ndarray = stored.astype(np.int32)
    if header.PhotometricInterpretation == "MONOCHROME1":
        values = least + most - values
    slope, intercept = _number(header, "RescaleSlope", 1.0), _number(header, "RescaleIntercept", 0.0)
    if (slope, intercept) != (1, 0):
        rescaled = values * slope + intercept
        if not np.array_equal(rescaled, np.rint(rescaled)):
            raise ImageError(f"rescale {slope:g} x + {intercept:g} does not keep whole numbers")
        values = rescaled
    if values.min() < 0 or values.max() > MAX_GREY:
        raise ImageError(f"grey values {values.min():g}..{values.max():g}, wanted 0..{MAX_GREY}")
    return values.astype(np.uint8 if values.max() < 256 and bits <= 8 else np.uint16)


def _number(header: "Dataset", name: str, default: float) -> float:
    value = header.get(name)
    return default if value in (None, "") else float(value)
