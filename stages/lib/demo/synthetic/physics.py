"""From path lengths to an image: scatter, point spread, noise, borders, marker, exposure."""

from dataclasses import dataclass

import numpy as np

from stages.lib.demo.synthetic.canvas import Frame, blur, curve, ellipse, paint, stroke

PER_MM = 0.02


@dataclass(frozen=True)
class Exposure:
    """Settings of one exposure: what differs between two images of one patient, apart from the posture.

    Attributes:
        scatter: Fraction of the light that comes from all around.
        local: Fraction of the wide shadows that the processing takes away, [0, 1].
        gamma: Power of the grey curve.
        bend: How S-shaped the grey curve is, [0, 1].
        black: Percentile that becomes black.
        white: Percentile that becomes white.
        quanta: Number of quanta per square millimetre without a body.
        borders: Width of the collimated border, fraction of the side: left, top, right, bottom.
        border_white: Whether the border is white.
        marker: Letter, "" for none.
        marker_at: Centre of the marker, fractions of width and height.
        marker_turn: Turn of the marker, radians.
        words: Text below the marker, "" for none.
        leads: Number of electrodes with their wires.
    """

    scatter: float
    local: float
    gamma: float
    bend: float
    black: float
    white: float
    quanta: float
    borders: tuple[float, float, float, float]
    border_white: bool
    marker: str
    marker_at: tuple[float, float]
    marker_turn: float
    words: str
    leads: int


def exposure(rng: np.random.Generator) -> Exposure:
    """Settings of one image."""
    sides = np.where(rng.random(4) < 0.22, rng.uniform(0.008, 0.05, 4), 0.0)
    left_letter = rng.random() < 0.7
    return Exposure(
        scatter=float(rng.uniform(0.10, 0.18)),
        local=float(rng.uniform(0.25, 0.5)),
        gamma=float(rng.uniform(0.85, 1.2)),
        bend=float(rng.uniform(0.1, 0.55)),
        black=float(rng.uniform(0.3, 3.0)),
        white=float(rng.uniform(97.5, 99.7)),
        quanta=float(rng.uniform(1.5e4, 6e4)),
        borders=(float(sides[0]), float(sides[1]), float(sides[2]), float(sides[3])),
        border_white=bool(rng.random() < 0.15),
        marker="" if rng.random() < 0.08 else "L" if left_letter else "R",
        marker_at=(
            float(rng.uniform(0.88, 0.94) if left_letter else rng.uniform(0.06, 0.12)),
            float(rng.uniform(0.06, 0.14)),
        ),
        marker_turn=float(rng.normal(0, 0.25)),
        words=str(rng.choice(["", "", "", "", "PORTABLE", "AP", "PA"])),
        leads=int(rng.integers(1, 4)) if rng.random() < 0.12 else 0,
    )


def develop(rng: np.random.Generator, frame: Frame, path_mm: np.ndarray, settings: Exposure) -> np.ndarray:
    """Grey image of a body.

    The grey range comes from the finished image's own percentiles, so the exposure does not depend on its content.

    Args:
        rng: Source of the noise.
        frame: The image.
        path_mm: Path length through the body, millimetres of water, float32 of shape (h, w); leads are added to it.
        settings: The image's exposure.

    Returns:
        Float32 array of shape (h, w) in [0, 1]; dense is bright.
    """
    if settings.leads:
        _lead(rng, frame, path_mm, settings.leads)
    light = np.exp(-np.float32(PER_MM) * path_mm)
    light = np.float32(1 - settings.scatter) * light + np.float32(settings.scatter) * blur(light, frame.px(30))
    light = blur(light, 0.6)
    quanta = np.float32(settings.quanta * frame.mm_per_px**2)
    shape = path_mm.shape
    grain = rng.standard_normal(shape, dtype=np.float32) / np.sqrt(quanta * np.maximum(light, 1e-3))
    density = -np.log(np.maximum(light, 1e-4)) + np.clip(grain, -0.3, 0.3) + np.float32(0.03) * cloud(rng, shape)
    wide = blur(density, frame.px(28))
    density = density - np.float32(settings.local) * (wide - wide.mean())
    step = max(frame.width_px // 128, 1)
    low, high = np.percentile(density[::step, ::step], [settings.black, settings.white])
    grey = np.clip((density - np.float32(low)) / np.float32(high - low), 0, 1) ** np.float32(settings.gamma)
    grey -= np.float32(settings.bend / (2 * np.pi)) * np.sin(np.float32(2 * np.pi) * grey)
    _collimate(grey, settings)
    _mark(grey, settings)
    return grey


def cloud(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """1/f noise of unit spread, float32 of `shape`: a sum of grids, each twice as coarse and as strong."""
    import cv2

    height, width = shape
    total = np.zeros(shape, np.float32)
    for cell, strength in ((2, 0.25), (4, 0.35), (8, 0.5), (16, 0.65), (32, 0.8)):
        grid = rng.standard_normal((max(height // cell, 2), max(width // cell, 2)), dtype=np.float32)
        total += np.float32(strength) * cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
    return total / np.float32(1.2)


def _collimate(grey: np.ndarray, settings: Exposure) -> None:
    height, width = grey.shape
    left, top, right, bottom = settings.borders
    value = 1.0 if settings.border_white else 0.0
    grey[:, : round(left * width)] = value
    grey[: round(top * height)] = value
    grey[:, width - round(right * width) :] = value
    grey[height - round(bottom * height) :] = value


def _mark(grey: np.ndarray, settings: Exposure) -> None:
    height, width = grey.shape
    if settings.marker:
        _write(grey, settings.marker, 0.055, settings.marker_at, settings.marker_turn)
    if settings.words:
        below = settings.marker_at[1] + 0.07 * width / height
        _write(grey, settings.words, 0.018, (settings.marker_at[0], below), 0.0)


def _write(grey: np.ndarray, text: str, tall_fraction: float, at: tuple[float, float], turn: float) -> None:
    import cv2

    height, width = grey.shape
    over, font = 4, cv2.FONT_HERSHEY_SIMPLEX
    scale = tall_fraction * width * over / 21
    weight = max(round(scale * 3), 1)
    (wide, tall), _ = cv2.getTextSize(text, font, scale, weight)
    side = int(np.hypot(wide, tall) / over) + 3
    sheet = np.zeros((side * over, side * over), np.uint8)
    middle = side * over / 2
    cv2.putText(
        sheet, text, (round(middle - wide / 2), round(middle + tall / 2)), font, scale, 255.0, weight, cv2.LINE_AA
    )
    rotation = cv2.getRotationMatrix2D((middle, middle), float(np.degrees(turn)), 1.0)
    turned = cv2.warpAffine(sheet, rotation, sheet.shape[::-1])
    letters = cv2.resize(turned, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    column = round(float(np.clip(at[0] * width, wide / over / 2 + 1, width - wide / over / 2 - 1)) - side / 2)
    row = round(at[1] * height - side / 2)
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + side, height), min(column + side, width)
    window = grey[top:bottom, left:right]
    np.maximum(window, 0.97 * letters[top - row : bottom - row, left - column : right - column], out=window)


def _lead(rng: np.random.Generator, frame: Frame, path_mm: np.ndarray, count: int) -> None:
    outlines: list[np.ndarray] = []
    strength: list[float] = []
    for _ in range(count):
        side = 1.0 if rng.random() < 0.6 else -1.0
        x, y = side * rng.uniform(55, 130), rng.uniform(-60, 90)
        wire = [(x, y), (x + side * 14, y - rng.uniform(10, 30)), (side * rng.uniform(120, 170), y - 70)]
        wire.append((side * 190, y - rng.uniform(90, 150)))
        outlines += [stroke(curve(wire), 1.6), ellipse((x, y), 4.2, 4.2), ellipse((x, y), 1.8, 1.8)]
        strength += [0.6, 0.45, 1.0]
    path_mm += np.float32(90) * paint(frame, outlines, strength)
