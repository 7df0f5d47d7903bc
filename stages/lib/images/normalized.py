"""Reading of normalized images, as `normalize` wrote them, for all models."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.lib.core.errors import ImageError, MismatchError
from stages.lib.images.shifts import UNMOVED, Shift, shifted


def load(path: Path, shift: Shift = UNMOVED, /) -> np.ndarray:
    """A normalized image: uint8 array of shape (side, side).

    Args:
        path: Of the PNG.
        shift: How far it is moved.

    Raises:
        ImageError: If the file is missing or damaged, or is not an 8-bit grey square.
    """
    import cv2

    try:
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}; run normalize again") from error
    image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if image is None:
        raise ImageError(f"{path}: damaged; delete it and run normalize again")
    if image.dtype != np.uint8 or image.ndim != 2 or image.shape[0] != image.shape[1]:
        raise ImageError(f"{path}: found {image.dtype} of shape {image.shape}, wanted a square of 8-bit grey values")
    return shifted(np.asarray(image), shift)


def resized(image: np.ndarray, side_px: int) -> np.ndarray:
    """A normalized image at another side; itself if it has it.

    Args:
        image: uint8 array of shape (side, side).
        side_px: Side wanted, pixels.

    >>> resized(np.array([[0, 100], [100, 200]], np.uint8), 1)
    array([[100]], dtype=uint8)
    """
    import cv2

    if len(image) == side_px:
        return image
    how = cv2.INTER_AREA if side_px < len(image) else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (side_px, side_px), interpolation=how))


def preprocessing_hash(normalized: pa.Table) -> str:
    """Hash of what made the images of a table of `tables.NORMALIZED`; empty if there is no image.

    Raises:
        MismatchError: If they were not made alike.
    """
    hashes = sorted(set(normalized["preprocessing_hash"].to_pylist()))
    if len(hashes) > 1:
        raise MismatchError(f"found images of the preprocessing hashes {hashes}, wanted one; run normalize again")
    return "".join(hashes)
