"""Peaks of a heatmap: non-maximum suppression on its cells, then a place finer than a cell."""

import numpy as np
from numpy.typing import NDArray

from stages.lib.detect.detection import Detection


def peaks(
    heat: NDArray[np.float64],
    centres: NDArray[np.float64],
    inside: NDArray[np.bool_],
    corners: tuple[tuple[float, float], tuple[float, float]],
    *,
    most: int,
    distance_cells: float,
    power: float,
    min_confidence: float = 0.0,
) -> list[Detection]:
    """Peaks of a heatmap, the surest first.

    The hottest cell is a peak, then the hottest that is at least `distance_cells` from all peaks, and so on; a cell is
    no peak if one of its eight neighbours is hotter. The place of a peak is the mean of the cells around it, up to a
    cell away, each weighted by its heat to some power, and stays on the image.

    Args:
        heat: Of each cell, [0, 1], shape (grid, grid).
        centres: Of the cells along a side, in fractions of the padded square's side, shape (grid,).
        inside: Cells on the image, shape (grid, grid); the others are no peaks, and have no part in a place.
        corners: Of the image, as `token_grid.corners` gives them.
        most: Peaks at most.
        distance_cells: Least distance of two peaks.
        power: Of the heat, as weight in the mean; more is nearer to the middle of the hottest cell.
        min_confidence: Cells of less heat are no peaks.

    Returns:
        Points without a box; the confidence is the heat of the cell.

    >>> heat = np.array([[0.0, 0.0, 0.0], [0.2, 0.8, 0.2], [0.0, 0.0, 0.0]])
    >>> whole = ((0.0, 0.0), (1.0, 1.0))
    >>> found = peaks(heat, np.array([0.25, 0.5, 0.75]), heat >= 0, whole, most=3, distance_cells=2.0, power=3.0)
    >>> [(one.u, one.v, one.confidence) for one in found]
    [(0.5, 0.5, 0.8)]
    """
    from scipy.ndimage import maximum_filter

    hills = np.where(inside, heat, -np.inf)
    tops = inside & (hills >= maximum_filter(hills, size=3, mode="constant", cval=-np.inf)) & (hills > 0)
    rows, columns = np.nonzero(tops & (hills >= min_confidence))
    (left, top), (right, bottom) = corners
    taken: list[tuple[int, int]] = []
    found: list[Detection] = []
    for number in np.argsort(-hills[rows, columns], kind="stable"):
        row, column = int(rows[number]), int(columns[number])
        if len(found) == most:
            break
        if any(np.hypot(row - other[0], column - other[1]) < distance_cells for other in taken):
            continue
        taken.append((row, column))
        near = (slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2))
        weights = np.where(inside[near], heat[near] / heat[row, column], 0.0) ** power
        v = float(weights.sum(axis=1) @ centres[near[0]] / weights.sum())
        u = float(weights.sum(axis=0) @ centres[near[1]] / weights.sum())
        place = float(np.clip(u, left, right)), float(np.clip(v, top, bottom))
        found.append(Detection(*place, box=None, confidence=float(heat[row, column]), phrase=None))
    return found
