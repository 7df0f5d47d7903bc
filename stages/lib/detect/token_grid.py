"""Grids of patch tokens as fine as the shifts: the tokens of all places of an image, interleaved.

An image is shown at n x n places (`stages.lib.images.shifts`), each time moved down and right by parts of a patch. What
a moved image shows at some place lies further up and left in the image itself, so a token of place (down, right) stands
for the patch that begins `down` parts above and `right` parts left of the same token of the unmoved image. All centres
together are a grid n times finer than the patches, one token in each of its cells.
"""

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import ModelError
from stages.lib.images.geometry import Geometry


def interleaved(tokens: NDArray[np.floating]) -> NDArray[np.float32]:
    """Tokens of one image on the fine grid.

    Args:
        tokens: Of n * n places in the order of `shifts.places`, shape (n * n, rows, rows, features).

    Returns:
        float32 of shape (n * rows, n * rows, features). Cell (i, j) has the token whose centre is `centres(...)[i]`
        from the top and `centres(...)[j]` from the left.

    Raises:
        ModelError: If the tokens are not those of n * n places, or no square.

    >>> unmoved_first = np.array([[[[0.0]]], [[[1.0]]], [[[2.0]]], [[[3.0]]]])  # places (0, 0), (0, 1), (1, 0), (1, 1)
    >>> interleaved(unmoved_first)[:, :, 0].tolist()
    [[3.0, 2.0], [1.0, 0.0]]
    """
    places, rows, columns, features = tokens.shape
    n = round(places**0.5)
    if n * n != places or rows != columns:
        raise ModelError(f"found tokens of shape {tokens.shape}, wanted n * n places with as many rows as columns")
    down_right = tokens.reshape(n, n, rows, rows, features)[::-1, ::-1]
    fine = down_right.transpose(2, 0, 3, 1, 4).reshape(n * rows, n * rows, features)
    return np.ascontiguousarray(fine, np.float32)


def centres(rows: int, shifts: int) -> NDArray[np.float64]:
    """Centres of the cells along a side of the fine grid, in fractions of the padded square's side, ascending.

    Args:
        rows: Patches along a side.
        shifts: Places along a side of a patch.

    Returns:
        Shape (rows * shifts,).

    >>> centres(2, 1).tolist(), centres(2, 2).tolist()
    ([0.25, 0.75], [0.0, 0.25, 0.5, 0.75])
    """
    return (np.arange(rows * shifts) + 1 - shifts / 2) / (rows * shifts)


def inside(geometry: Geometry, rows: int, shifts: int) -> NDArray[np.bool_]:
    """Whether the centre of each cell lies on the image, and not on its padding or beyond the square.

    Args:
        geometry: Of the image.
        rows: Patches along a side.
        shifts: Places along a side of a patch.

    Returns:
        Shape (rows * shifts, rows * shifts), row by row.
    """
    middle = centres(rows, shifts)
    (left, top), (right, bottom) = corners(geometry)
    return np.outer((middle >= top) & (middle <= bottom), (middle >= left) & (middle <= right))


def corners(geometry: Geometry) -> tuple[tuple[float, float], tuple[float, float]]:
    """Upper left and lower right corner of an image, each (u, v), in fractions of the padded square's side.

    >>> corners(Geometry(width_px=4, height_px=2, side_px=2))
    ((0.0, 0.25), (1.0, 0.75))
    """
    return (
        geometry.to_unit(-0.5, -0.5),
        geometry.to_unit(geometry.width_px - 0.5, geometry.height_px - 0.5),
    )


def gaussian(
    points: NDArray[np.float64], geometry: Geometry, rows: int, shifts: int, deviation_px: float
) -> NDArray[np.float64]:
    """Target of a heatmap: 1 at the centre of a nodule, falling like a Gaussian with the distance to the nearest one.

    Args:
        points: Nodules, x and y, shape (m, 2), pixels of the original.
        geometry: Of the image.
        rows: Patches along a side.
        shifts: Places along a side of a patch.
        deviation_px: Standard deviation of the Gaussian, pixels of the original.

    Returns:
        At the centre of each cell, shape (rows * shifts, rows * shifts), [0, 1]; zeros without a nodule.

    >>> square = Geometry(width_px=100, height_px=100, side_px=10)
    >>> gaussian(np.array([[24.5, 74.5]]), square, 2, 1, 25.0).round(3).tolist()
    [[0.135, 0.018], [1.0, 0.135]]
    """
    middle = centres(rows, shifts)
    target = np.zeros((len(middle), len(middle)))
    for x, y in points:
        u, v = geometry.to_unit(float(x), float(y))
        squares = np.add.outer((middle - v) ** 2, (middle - u) ** 2) * geometry.square_px**2
        target = np.maximum(target, np.exp(-squares / (2 * deviation_px**2)))
    return target
