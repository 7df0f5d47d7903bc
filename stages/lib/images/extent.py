"""Where an image lies in its padded square."""

import numpy as np

Extent = tuple[float, float, float, float]
WHOLE: Extent = (0.0, 0.0, 1.0, 1.0)


def extent(image: np.ndarray) -> Extent:
    """Left, top, right and bottom of what is not black, in fractions of the padded square.

    Outside of it lie the padding and margins as black as it; an image that is black all over is returned whole.

    Args:
        image: uint8 array of shape (side, side).

    >>> image = np.zeros((4, 4), np.uint8)
    >>> image[:, 1:3] = 7
    >>> extent(image)
    (0.25, 0.0, 0.75, 1.0)
    """
    columns, rows = np.flatnonzero(image.any(axis=0)), np.flatnonzero(image.any(axis=1))
    if not len(columns):
        return WHOLE
    side = image.shape[0]
    return (
        float(columns[0] / side),
        float(rows[0] / side),
        float((columns[-1] + 1) / side),
        float((rows[-1] + 1) / side),
    )


def cells(grid: int, image: Extent) -> np.ndarray:
    """Which cells of a grid over the padded square the image reaches into, bool array of shape (grid, grid).

    >>> cells(4, (0.3, 0.0, 0.75, 1.0))[0].tolist()
    [False, True, True, False]
    """
    edges = np.arange(grid + 1) / grid
    left, top, right, bottom = image
    return np.outer((edges[1:] > top) & (edges[:-1] < bottom), (edges[1:] > left) & (edges[:-1] < right))
