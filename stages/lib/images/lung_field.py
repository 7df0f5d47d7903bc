"""Lung field of a frontal chest radiograph, without a trained model, and a check of whether it can be one.

A pair of lungs as an outline of two polygons is placed where it correlates best with the image, in many widths and
heights. From each of the best places, the outline of each lung is moved to the closed path of most contrast: along
rays from the lung's middle, by dynamic programming, not far from the outline. The pair with the most contrast all
around is the lung field. A mass at the wall of a lung may be left out, and the part of a lung behind the heart or below
a dome is.

Source: Amini et al. (PAMI 1990) for contours by dynamic programming; van Ginneken et al. (Medical Image Analysis, 2006)
    for lung fields in radiographs. The outline, the candidates and the check are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stages.lib.core.errors import ImageError

# Outlines (x, y): x from the middle, 1 is the width of both lungs; y from the apices, 1 is the height of both lungs.
IMAGE_LEFT = (
    *((-0.20, 0.0), (-0.13, 0.03), (-0.09, 0.12), (-0.09, 0.30), (-0.10, 0.50), (-0.12, 0.68), (-0.14, 0.80)),
    *((-0.25, 0.80), (-0.36, 0.84), (-0.47, 0.97), (-0.50, 0.80), (-0.485, 0.60), (-0.445, 0.40), (-0.37, 0.19)),
    (-0.29, 0.06),
)
IMAGE_RIGHT = (
    *((0.20, 0.0), (0.13, 0.03), (0.09, 0.12), (0.12, 0.27), (0.12, 0.40), (0.17, 0.53), (0.25, 0.68), (0.29, 0.82)),
    *((0.37, 0.87), (0.47, 1.0), (0.50, 0.82), (0.485, 0.60), (0.445, 0.40), (0.37, 0.19), (0.29, 0.06)),
)
PER_EDGE = 4  # points of an outline between two of its corners

BLACK, AIR = 8, 28  # grey values up to which a border is padding or collimation, and the open air beside the body
PLACE_PX, TRACE_PX = 64, 128  # sides of the images on which places are searched and outlines moved
SIZES_PX = range(30, 66, 4)  # of both lungs together, on the image of PLACE_PX
LEAST_ASPECT, MOST_ASPECT = 0.6, 1.35  # height by width
MARGIN_PX = 3  # around a template
AROUND_PX = 16  # how far lungs may lie outside the image, on the image of PLACE_PX
BESIDE = 0.65  # rank of grey that stands for what is not body

PLACES, KEPT, ROUNDS = 48, 12, 3
REACH = np.linspace(0.5, 1.5, 51)  # places along a ray, times the outline's distance
BAND = 4  # places of a ray that are averaged on each side of an edge
ENOUGH = 0.1  # contrast (difference of ranks of grey) above which an edge is no better than another
NO_BODY = -0.2  # contrast of an edge without body on both sides
STRETCH = 1.0  # cost of an outline's change of distance, squared
ROUGHNESS = 0.02  # cost of a step of one place from one ray to the next
LARGE = 0.4  # power of the size by which a pair's contrast counts

LEAST_CONTRAST = 0.05
LEAST_FRACTION, MOST_FRACTION = 0.10, 0.60  # of the body
LEAST_RATIO = 0.45  # of the areas of the two lungs
MOST_OUTSIDE = 0.08  # of the area that the outlines enclose
LEAST_DARKER = 0.10  # difference of ranks of grey, surroundings minus lung


@dataclass(frozen=True)
class LungField:
    """Lung field of one image.

    Attributes:
        mask: bool (side, side): where the lungs are seen; all False where none could be found.
        problem: Reason why the mask cannot be a lung field; None where it passes the check.
    """

    mask: np.ndarray
    problem: str | None


def body(pixels: np.ndarray) -> np.ndarray:
    """Foreground of a normalized image: no padding, no collimated border, no open air beside the body.

    Args:
        pixels: Normalized image, uint8 (side, side).

    Returns:
        bool (side, side); all False for a black image.

    Raises:
        ImageError: If `pixels` is not such an image.

    >>> body(np.pad(np.full((6, 4), 90, np.uint8), ((0, 0), (1, 1)))).astype(int)[0].tolist()
    [0, 1, 1, 1, 1, 0]
    """
    import cv2

    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[0] != pixels.shape[1] or not pixels.size:
        raise ImageError(f"found {pixels.dtype} of shape {pixels.shape}, wanted uint8 of (side, side)")
    seen = pixels > BLACK
    rows, columns = (np.flatnonzero(seen.mean(axis) > 0.02) for axis in (1, 0))
    inside = np.zeros(pixels.shape, bool)
    if not rows.size or not columns.size:
        return inside
    inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    small = _resized(pixels, TRACE_PX)
    frame = _enlarged(inside, TRACE_PX)
    dark = cv2.morphologyEx(((small < AIR) & frame).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, parts = cv2.connectedComponents(dark, connectivity=4)
    if not frame.any():  # thinner than a pixel of the small image
        return inside
    top = np.flatnonzero(frame.any(1))[0]
    left, right = np.flatnonzero(frame.any(0))[[0, -1]]
    border = np.concatenate(
        [parts[top : top + 2].ravel(), parts[:, left : left + 2].ravel(), parts[:, right - 1 : right + 1].ravel()]
    )
    air = np.isin(parts, np.unique(border[border > 0]))
    return inside & ~_enlarged(air, pixels.shape[0])


def lung_field(pixels: np.ndarray) -> LungField:
    """Lung field of a normalized frontal radiograph, and whether it passes the check.

    The check asks for two lungs, one on each side of a middle that has none; for a plausible area, and areas that do
    not differ too much; for outlines that lie on the body; and for lungs that are darker than what is around them.

    Args:
        pixels: Normalized image, uint8 (side, side); air is dark. It may have black padding.

    Raises:
        ImageError: If `pixels` is not such an image.
    """
    shape = body(pixels)
    nothing = np.zeros(pixels.shape, bool)
    if shape.mean() < 0.05:
        return LungField(nothing, "no body: the image is black, or nearly so")
    if np.ptp(pixels[shape]) < 2:
        return LungField(nothing, "no contrast: the image is one flat grey")
    grey, weight = _ranks(pixels, shape, TRACE_PX)
    places = _places(_ranks(pixels, shape, PLACE_PX)[0])[:PLACES]
    outlines, contrast = _outlines(grey, weight, places)
    lungs = [_filled(outline, pixels.shape[0]) for outline in outlines]
    mask = (lungs[0] | lungs[1]) & shape
    return LungField(mask, _problem(lungs, mask, shape, _enlarged(grey, pixels.shape[0]), contrast))


def _problem(
    lungs: list[np.ndarray], mask: np.ndarray, shape: np.ndarray, grey: np.ndarray, contrast: float
) -> str | None:
    import cv2

    left, right = ((lung & shape).sum() for lung in lungs)
    if not left or not right:
        return "a lung lies outside the body"
    fraction = mask.sum() / shape.sum()
    if not LEAST_FRACTION <= fraction <= MOST_FRACTION:
        return f"the lungs are {fraction:.0%} of the body, wanted {LEAST_FRACTION:.0%} to {MOST_FRACTION:.0%}"
    if min(left, right) < LEAST_RATIO * max(left, right):
        return f"the smaller lung is {min(left, right) / max(left, right):.0%} of the larger, wanted {LEAST_RATIO:.0%}"
    if (lungs[0] & lungs[1]).any():
        return "the two lungs meet"
    outside = 1 - mask.sum() / (lungs[0] | lungs[1]).sum()
    if outside > MOST_OUTSIDE:
        return f"{outside:.0%} of the lungs lie outside the body, wanted at most {MOST_OUTSIDE:.0%}"
    wide = max(mask.shape[0] // 18, 1)
    for name, lung in zip(("left", "right"), lungs, strict=True):
        around = cv2.dilate(lung.astype(np.uint8), np.ones((2 * wide + 1, 2 * wide + 1), np.uint8)) > 0
        around &= shape & ~mask
        darker = float(grey[around].mean() - grey[lung & shape].mean()) if around.any() else 0.0
        if darker < LEAST_DARKER:
            return f"the lung on the image's {name} is not darker than what is around it ({darker:.2f})"
    if contrast < LEAST_CONTRAST:
        return f"the outline has a contrast of {contrast:.2f}, wanted {LEAST_CONTRAST}"
    return None


def _resized(pixels: np.ndarray, side: int) -> np.ndarray:
    import cv2

    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA))


def _enlarged(values: np.ndarray, side: int) -> np.ndarray:
    import cv2

    if values.dtype != bool:
        return np.asarray(cv2.resize(values, (side, side), interpolation=cv2.INTER_LINEAR))
    return np.asarray(cv2.resize(values.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)) > 0


def _ranks(pixels: np.ndarray, shape: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Rank of each grey value among those of the body, [0, 1], smoothed; and where the body is, as 0 and 1.

    Ranks make the contrast of a lung about the same in bright and in dark images. Both are float32 (side, side).
    """
    import cv2

    inside = _resized(shape.astype(np.float32), side) > 0.5
    small = _resized(pixels.astype(np.float32), side)
    order = np.sort(small[inside])
    ranks = np.where(inside, np.searchsorted(order, small) / max(order.size, 1), 0).astype(np.float32)
    spread = 1.0 if side == PLACE_PX else 1.2
    weight = inside.astype(np.float32)
    smooth = cv2.GaussianBlur(ranks, (0, 0), spread) / np.maximum(cv2.GaussianBlur(weight, (0, 0), spread), 1e-3)
    return np.where(inside, smooth, BESIDE).astype(np.float32), weight


def _template(width: int, height: int) -> np.ndarray:
    import cv2

    image = np.ones((height + 2 * MARGIN_PX, width + 2 * MARGIN_PX), np.float32)
    for outline in (IMAGE_LEFT, IMAGE_RIGHT):
        points = np.array(outline) * (width, height) + (MARGIN_PX + width / 2, MARGIN_PX)
        cv2.fillPoly(image, [np.round(points * 16).astype(np.int32)], -1.0, shift=4)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.0))


def _places(grey: np.ndarray) -> np.ndarray:
    """Best place of a pair of lungs of each size, the best first: (n, 4), middle, top, width and height, [0, 1]."""
    import cv2

    wide = np.pad(grey, AROUND_PX, constant_values=BESIDE)
    found = []
    for width in SIZES_PX:
        for height in SIZES_PX:
            if LEAST_ASPECT < height / width < MOST_ASPECT:
                match = cv2.matchTemplate(wide, _template(width, height), cv2.TM_CCOEFF_NORMED)
                _, score, _, (x, y) = cv2.minMaxLoc(match)
                off = MARGIN_PX - AROUND_PX + 0.5
                found.append((score, x + off + width / 2, y + off, width, height))
    return np.array(sorted(found, reverse=True))[:, 1:] / PLACE_PX


def _points() -> np.ndarray:
    """Both outlines with `PER_EDGE` points for each of their corners: (2, m, 2)."""
    closed = [np.array([*outline, outline[0]]) for outline in (IMAGE_LEFT, IMAGE_RIGHT)]
    at = np.arange(0, len(IMAGE_LEFT), 1 / PER_EDGE)
    return np.stack([np.stack([np.interp(at, np.arange(len(p)), p[:, i]) for i in (0, 1)], -1) for p in closed])


def _outlines(grey: np.ndarray, weight: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, float]:
    """Outlines of the pair with the most contrast, (2, m, 2) in fractions of the side; its contrast."""
    best, most, contrast = np.zeros(0), -np.inf, 0.0
    for _ in range(ROUNDS):
        outlines, edges = _moved(grey, weight, places)
        points = outlines.reshape(len(places), -1, 2)
        low, high = points.min(1), points.max(1)
        size = high - low
        score = edges * (size[:, 0] * size[:, 1]) ** LARGE
        order = np.argsort(-score, kind="stable")
        if score[order[0]] > most:
            best, most, contrast = outlines[order[0]], score[order[0]], float(edges[order[0]])
        # What was found is where the next round starts: its middle, top, width and height.
        places = np.stack([(low[:, 0] + high[:, 0]) / 2, low[:, 1], size[:, 0], size[:, 1]], -1)[order[:KEPT]]
    return best, contrast


def _moved(grey: np.ndarray, weight: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outlines moved to where the contrast is: (k, 2, m, 2) in fractions of the side; mean contrast of each pair."""
    outline = _points()
    rays = outline.shape[1]
    middle = places[:, None, None, :2] + places[:, None, None, 2:] * outline  # (k, 2, m, 2)
    points = middle.reshape(-1, rays, 2)
    centre = points.mean(1, keepdims=True)
    away = points - centre
    at = centre[:, :, None] + REACH[:, None] * away[:, :, None]  # (2 k, m, places, 2)
    cost = STRETCH * (REACH - 1) ** 2 - _edges(grey, weight, at)
    cost[..., [0, -1]] = 1.0
    path = _closed_path(cost)
    moved = centre + REACH[path][..., None] * away
    edges = -np.take_along_axis(cost, path[..., None], 2)[..., 0].mean(1)
    return moved.reshape(len(places), 2, rays, 2), edges.reshape(len(places), 2).mean(1)


def _edges(grey: np.ndarray, weight: np.ndarray, at: np.ndarray) -> np.ndarray:
    """How much brighter the body is just beyond each place of each ray than just before it: (2 k, m, places)."""
    import cv2

    flat = (at * grey.shape[0] - 0.5).astype(np.float32).reshape(-1, REACH.size, 2)

    def sums(image: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        sampled = cv2.remap(image, flat[..., 0], flat[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        total = np.pad(np.cumsum(sampled, 1, dtype=np.float64), ((0, 0), (1, 0)))
        return lambda start, stop: total[:, stop] - total[:, start]

    here = np.arange(REACH.size)
    before, beyond = np.maximum(here - BAND, 0), np.minimum(here + BAND, REACH.size)
    value, count = sums(grey * weight), sums(weight)
    inner, outer = count(before, here), count(here, beyond)
    edge = value(here, beyond) / np.maximum(outer, 1e-3) - value(before, here) / np.maximum(inner, 1e-3)
    edge = np.where((inner < 2) | (outer < 2), NO_BODY, np.minimum(edge, ENOUGH))
    return np.asarray(edge.reshape(at.shape[:3]))


def _closed_path(cost: np.ndarray) -> np.ndarray:
    """Place on each ray of the closed path of least cost, (n, m), for costs (n, m, places), by dynamic programming.

    The rays are passed twice, and the middle of the way is taken: so the path closes but for rare ties.
    """
    lines, rays, places = cost.shape
    steps = np.arange(-2, 3)
    total, came = cost[:, 0], []
    for ray in range(1, 2 * rays):
        padded = np.pad(total, ((0, 0), (2, 2)), constant_values=np.inf)
        ways = np.stack([padded[:, 2 + step : 2 + step + places] + ROUGHNESS * abs(step) for step in steps])
        chosen = ways.argmin(0)
        came.append(np.arange(places) + steps[chosen])
        total = ways.min(0) + cost[:, ray % rays]
    path = [total.argmin(1)]
    for before in reversed(came):
        path.append(before[np.arange(lines), path[-1]])
    return np.roll(np.stack(path[::-1], 1)[:, rays // 2 : rays // 2 + rays], rays // 2, axis=1)


def _filled(outline: np.ndarray, side: int) -> np.ndarray:
    import cv2

    image = np.zeros((side, side), np.uint8)
    cv2.fillPoly(image, [np.round((outline * side - 0.5) * 16).astype(np.int32)], 1, shift=4)
    return image > 0
