"""What a compressed image says of itself, before a decoder sees it: JPEG, JPEG-LS and JPEG 2000.

A decoder reserves memory for the size that it finds there: a file of 3 kB can ask for gigabytes. In DICOM it has to be
the size of the header, too; otherwise the pixels would come out as another picture.

Source: ITU-T T.81, B.2.2; T.87, C.2.2; T.800, A.5.1.
"""

import struct
from dataclasses import dataclass

from stages.lib.core.errors import ImageError

JPEG = b"\xff\xd8\xff"
JPEG_2000 = b"\xff\x4f\xff\x51"
JP2 = b"\0\0\0\x0cjP  "
NO_FRAME = (0xC4, 0xC8, 0xCC)  # of the markers 0xC0..0xCF, those that are no header of a frame
JPEG_LS = 0xF7
MAX_BOXES_BYTES = 1 << 16  # before the codestream in a JP2 file


@dataclass(frozen=True)
class Frame:
    """One image, as its codestream says.

    Attributes:
        width_px: Its width.
        height_px: Its height.
        bits: Bits per value.
        channels: 1 of grey.
        marker: Second byte of the marker of a JPEG's frame header, which says how it is coded; 0 for JPEG 2000.
    """

    width_px: int
    height_px: int
    bits: int
    channels: int
    marker: int


def frame(data: bytes) -> Frame:
    """The image in a codestream.

    Args:
        data: JPEG, JPEG-LS, JPEG 2000 or HTJ2K, from its first byte on.

    Raises:
        ImageError: If it has no header of a frame.

    >>> frame(bytes.fromhex("ffd8ffc3000b0c0024002801011100"))
    Frame(width_px=40, height_px=36, bits=12, channels=1, marker=195)
    """
    if data.startswith(JPEG):
        return _jpeg(data)
    at = data.find(JPEG_2000, 0, MAX_BOXES_BYTES) if data.startswith(JP2) else 0 if data.startswith(JPEG_2000) else -1
    if at < 0:
        raise ImageError("damaged: its compressed pixels are neither JPEG nor JPEG 2000")
    return _jpeg_2000(data[at + 4 :])


def _jpeg(data: bytes) -> Frame:
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == JPEG_LS or (0xC0 <= marker <= 0xCF and marker not in NO_FRAME):
            bits, height_px, width_px, channels = struct.unpack(">BHHB", data[at + 4 : at + 10])
            return Frame(width_px, height_px, bits, channels, marker)
        else:
            at += 2 + length
    raise ImageError("a damaged JPEG: it has no frame header")


def _jpeg_2000(data: bytes) -> Frame:
    if len(data) < 37:
        raise ImageError("a damaged JPEG 2000: it has no header")
    right, bottom, left, top, *_ = struct.unpack(">8I", data[4:36])
    # of each channel: bits, and by how much it is sampled more coarsely
    channels = int.from_bytes(data[36:38], "big")
    if len(data) < 41 or data[39:41] != b"\1\1":
        raise ImageError("a damaged JPEG 2000, or one that is sampled coarsely")
    return Frame(right - left, bottom - top, (data[38] & 0x7F) + 1, channels, 0)
