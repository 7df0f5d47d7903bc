"""Drawing in millimetres: smooth outlines, tapering strokes and rounded bodies on the pixels of an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Frame:
    """How millimetres of the patient become pixels of one image.

    The patient's x grows to the image's right (the patient's left), y downwards, both from a point on the spine.

    Attributes:
        width_px: Width of the image, pixels.
        height_px: Height of the image, pixels.
        mm_per_px: Side of a pixel on the image, millimetres.
        matrix: Shape (2, 2): patient millimetres to pixels, without the shift.
        shift: Shape (2,): the pixel of the patient's origin (x, y).
    """

    width_px: int
    height_px: int
    mm_per_px: float
    matrix: np.ndarray
    shift: np.ndarray

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Points of the patient, shape (..., 2), millimetres, as pixels (x, y) of the image."""
        return points @ self.matrix.T + self.shift

    def to_patient(self, column: float, row: float) -> tuple[float, float]:
        """Patient's x and y, millimetres, of a point of the image."""
        x, y = np.linalg.solve(self.matrix, np.array([column, row]) - self.shift)
        return float(x), float(y)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Patient's x and y, millimetres, of every pixel: two float32 arrays of shape (h, w)."""
        inverse = np.linalg.inv(self.matrix)
        columns = np.arange(self.width_px, dtype=np.float32) - np.float32(self.shift[0])
        rows = np.arange(self.height_px, dtype=np.float32)[:, None] - np.float32(self.shift[1])
        a, b, c, d = (np.float32(value) for value in inverse.ravel())
        return a * columns + b * rows, c * columns + d * rows

    def px(self, mm: float) -> float:
        """A length of the image in pixels."""
        return mm / self.mm_per_px


def curve(points: Sequence[Sequence[float]] | np.ndarray, *, closed: bool = False, between: int = 6) -> np.ndarray:
    """A smooth curve (Catmull-Rom) through `points`, shape (n, 2), with `between` steps from one to the next.

    >>> curve([(0, 0), (1, 1), (2, 2)], between=2)[:, 0].tolist()
    [0.0, 0.4375, 1.0, 1.5625, 2.0]
    """
    p = np.asarray(points, dtype=np.float64)
    if closed:
        before, start, end, after = np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0)
    else:
        padded = np.concatenate([p[:1], p, p[-1:]])
        before, start, end, after = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = (np.arange(between) / between)[None, :, None]
    before, start, end, after = (q[:, None] for q in (before, start, end, after))
    steps = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    smooth = steps.reshape(-1, 2)
    return smooth if closed else np.concatenate([smooth, p[-1:]])


def stroke(line: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """Outline of lines of shape (..., m, 2) with the full `width` (..., m): shape (..., 2 m, 2).

    >>> stroke(np.array([[0.0, 0.0], [4.0, 0.0]]), 2.0).tolist()
    [[0.0, 1.0], [4.0, 1.0], [4.0, -1.0], [0.0, -1.0]]
    """
    along = np.empty_like(line)
    along[..., 1:-1, :] = line[..., 2:, :] - line[..., :-2, :]
    along[..., 0, :] = line[..., 1, :] - line[..., 0, :]
    along[..., -1, :] = line[..., -1, :] - line[..., -2, :]
    along /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
    half = 0.5 * np.broadcast_to(np.asarray(width, dtype=np.float64), line.shape[:-1])[..., None]
    normal = np.stack([-along[..., 1], along[..., 0]], axis=-1) * half
    return np.concatenate([line + normal, (line - normal)[..., ::-1, :]], axis=-2)


def ellipse(centre: Sequence[float] | np.ndarray, across: float, down: float, corners: int = 32) -> np.ndarray:
    """Outline of an ellipse with the half axes `across` and `down`, shape (corners, 2)."""
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.asarray(centre) + np.stack([across * np.cos(turn), down * np.sin(turn)], -1)


def mirrored(points: np.ndarray) -> np.ndarray:
    """Same points, shape (..., 2), on the other side of the patient."""
    return points * np.array([-1.0, 1.0])


def paint(
    frame: Frame,
    outlines: Sequence[np.ndarray] = (),
    strength: Sequence[float] | np.ndarray | float = 1.0,
    *,
    lines: Sequence[tuple[np.ndarray, int, float]] = (),
) -> np.ndarray:
    """How much of each pixel the outlines and lines cover, times their strength; a later one hides an earlier.

    Args:
        frame: The image.
        outlines: Closed outlines, each of shape (n, 2), patient millimetres; drawn over the lines.
        strength: In [0, 1], one for all outlines or one each.
        lines: Groups of thin lines: points of shape (k, m, 2), width in half pixels of a 256 px image, strength.

    Returns:
        Float32 array of shape (h, w), in [0, 1].
    """
    import cv2

    over = 2 if frame.width_px >= 192 else 3
    canvas = np.zeros((frame.height_px * over, frame.width_px * over), np.uint8)

    def fixed(points: np.ndarray) -> np.ndarray:
        pixels = (frame.to_pixels(points) + 0.5) * over - 0.5
        return np.rint(pixels * (1 << SUBPIXEL_BITS)).astype(np.int32)

    for group, half_px, level in lines:
        width = max(round(half_px * frame.width_px * over / 512), 1)
        cv2.polylines(canvas, list(fixed(group)), False, round(255 * level), width, cv2.LINE_AA, SUBPIXEL_BITS)
    if len(outlines):
        levels = np.rint(255 * np.broadcast_to(np.asarray(strength, dtype=np.float64), (len(outlines),))).tolist()
        corners = np.cumsum([len(outline) for outline in outlines])[:-1]
        for outline, level in zip(np.split(fixed(np.concatenate(outlines)), corners), levels, strict=True):
            cv2.fillPoly(canvas, [outline], level, cv2.LINE_AA, SUBPIXEL_BITS)
    small = cv2.resize(canvas, (frame.width_px, frame.height_px), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255)


def round_off(depth: np.ndarray) -> np.ndarray:
    """Thickness of a rounded body, [0, 1], at `depth` in from its edge; 1 at a depth of 1 and beyond.

    It is the quarter of a circle, so that the shadow of an edge is steep, as that of a heart or a diaphragm is.

    >>> round_off(np.array([-1.0, 0.0, 0.4, 1.0, 3.0])).tolist()
    [0.0, 0.0, 0.8, 1.0, 1.0]
    """
    clipped = np.clip(depth, 0, 1)
    return np.sqrt(clipped * (2 - clipped))


def depth_mm(frame: Frame, cover: np.ndarray) -> np.ndarray:
    """Distance from each pixel that is covered by more than half to the nearest that is not, millimetres.

    The border of the image is no edge: what is cut off there goes on.
    """
    import cv2

    inside = (cover > 0.5).astype(np.uint8)
    if inside.all():
        return np.full(cover.shape, 1e4, np.float32)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5)
    distance = np.maximum(distance - 1 + cover, 0)
    return distance * np.float32(frame.mm_per_px)


def blur(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """`image` blurred by a Gaussian; a wide one is done on a smaller copy, where it costs little."""
    import cv2

    if sigma_px <= 0.2:
        return image
    step = int(sigma_px // 3)
    if step <= 1:
        return cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE)
    height, width = image.shape
    size = (max(width // step, 2), max(height // step, 2))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma_px * size[0] / width, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
