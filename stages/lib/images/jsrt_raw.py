"""Reading of a raw image of the JSRT database, or the reason why not.

2048 x 2048 grey values of 12 bits, each in two bytes, the most significant first, and no header: the file is known by
its ending and its size alone. A value is the optical density of the exposed sheet, so that air is high and bone low; it
is inverted here, so that dense is bright as in every other image.

Source: Shiraishi et al., AJR 174, 2000, and the user's guide of the database.
"""

from pathlib import Path

import numpy as np

from stages.lib.core.errors import ImageError
from stages.lib.images.decoded import Decoded

ENDING = ".img"
SIDE_PX = 2048
BITS = 12
BYTES = SIDE_PX * SIDE_PX * 2
MAX_GREY = (1 << BITS) - 1


def is_jsrt(path: str | Path) -> bool:
    """Whether the file has the ending and the size of such an image."""
    file = Path(path)
    return file.name.casefold().endswith(ENDING) and file.stat().st_size == BYTES


def read_jsrt(path: str | Path, max_pixels: int) -> Decoded:
    """Image in a raw file.

    Args:
        path: File of `BYTES` bytes.
        max_pixels: Pixels beyond which it is not read.

    Raises:
        ImageError: If a value has more than 12 bits.
    """
    if max_pixels < SIDE_PX * SIDE_PX:
        raise ImageError(f"{SIDE_PX} x {SIDE_PX} pixels, more than max_pixels = {max_pixels}")
    stored = np.fromfile(path, ">u2").reshape(SIDE_PX, SIDE_PX)
    if (most := int(stored.max())) > MAX_GREY:
        raise ImageError(f"a raw image with a grey value of {most}, wanted {BITS} bits, most significant byte first")
    return Decoded((MAX_GREY - stored).astype(np.uint16), BITS)
