"""Normalized films as arrays: what `normalize` wrote is read here, for every model alike."""

from pathlib import Path

import numpy as np

from stages.lib.core.errors import ImageError


def load(path: Path) -> np.ndarray:
    """Return a normalized film: uint8 array of shape (side, side).

    Raises:
        ImageError: If the file is missing or damaged, or is not an 8-bit grey square.
    """
    import cv2

    try:
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}; run normalize again") from error
    film = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if film is None:
        raise ImageError(f"{path}: damaged; delete it and run normalize again")
    if film.dtype != np.uint8 or film.ndim != 2 or film.shape[0] != film.shape[1]:
        raise ImageError(f"{path}: found {film.dtype} of shape {film.shape}, wanted a square of 8-bit grey values")
    return np.asarray(film)
