"""Bones of the chest: ribs seen twice, behind and before, clavicles, shoulder blades, upper arms and spine."""

import numpy as np

from stages.lib.demo.synthetic.canvas import Frame, blur, curve, ellipse, mirrored, paint, stroke

RIB_PAIRS = 10
LATERAL = 24


def bones(rng: np.random.Generator, frame: Frame, slope: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Path length that the bones add, millimetres of water, float32 of shape (h, w).

    Args:
        rng: Source of the ribs' irregularities.
        frame: The image.
        slope: Steepness of the ribs, about 1.
        x: The patient's x of every pixel, millimetres.
        y: The patient's y of every pixel, millimetres.
    """
    (behind, behind_mm), (before, before_mm) = _ribs(rng, slope)
    total = np.zeros(x.shape, np.float32)
    for lines, widths, core, cortex in ((behind, behind_mm, 6.5, 10.0), (before, before_mm, 5.5, 6.0)):
        total += _hollow(frame, list(stroke(lines, widths)), list(stroke(lines, widths * 0.66)), core, cortex)
    line = curve([(13, -88), (36, -96), (68, -108), (106, -116), (138, -130), (160, -128)])
    wide = np.interp(line[:, 0], [14, 30, 90, 158], [17, 12, 11, 14])
    total += _hollow(frame, _both(stroke(line, wide)), _both(stroke(line, wide * 0.62)), 12.0, 14.0)
    blade = curve([(96, -128), (112, -96), (118, -50), (112, -2), (126, -30), (146, -80), (158, -104)], closed=True)
    total += _hollow(frame, _both(blade), _both(blade * 0.97 + (3.6, -2.0)), 9.0, 12.0)
    shaft = stroke(curve([(178, -90), (194, -20), (206, 80), (214, 260)]), 24.0)
    total += 16 * paint(frame, _both(ellipse((172, -102), 26, 26)) + _both(shaft))
    return blur(total, frame.px(0.5)) + _spine(frame, x, y)


def _both(outline: np.ndarray) -> list[np.ndarray]:
    return [outline, mirrored(outline)]


def _hollow(
    frame: Frame, outer: list[np.ndarray], inner: list[np.ndarray], core_mm: float, cortex_mm: float
) -> np.ndarray:
    solid = np.float32(core_mm + cortex_mm) * paint(frame, outer)
    return solid - np.float32(cortex_mm) * paint(frame, inner)


def _ribs(
    rng: np.random.Generator, slope: float
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    half = np.array([60, 88, 108, 121, 130, 136, 140, 142, 142, 140], dtype=np.float64)
    root = -122 + 21.5 * np.arange(RIB_PAIRS) + rng.normal(0, 0.8, RIB_PAIRS)
    drop = slope * np.array([44, 70, 88, 100, 108, 112, 114, 112, 108, 100], dtype=np.float64)
    turn = np.linspace(0, 1, 40) ** 1.15 * 0.84 * np.pi
    x = 14 + (half[:, None] - 14) * np.sin(turn) ** 0.85
    y = (
        root[:, None]
        + drop[:, None] * ((1 - np.cos(turn)) / 2) ** 1.1
        - 9 * np.sin(turn) ** 2 * (turn < np.pi / 2)
        - 9 * np.sin(turn) * (turn >= np.pi / 2)
    )
    line = np.stack([x, y], -1)
    line = np.concatenate([line, mirrored(line)])
    thick = rng.uniform(10.5, 12.5, (2 * RIB_PAIRS, 1)) * np.interp(
        turn, [0, 0.5, 1.2, 1.7, 2.64], [0.75, 1, 1, 0.85, 1.2]
    )
    behind, before = slice(None, LATERAL), slice(LATERAL - 1, None)
    return (line[:, behind], thick[:, behind]), (line[:, before], thick[:, before])


def _spine(frame: Frame, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    near = np.flatnonzero((np.abs(x) < 24).any(axis=0))
    total = np.zeros_like(x)
    if not near.size:
        return total
    strip = slice(int(near[0]), int(near[-1]) + 1)
    x, y = x[:, strip], y[:, strip]
    across = np.abs(x) / 18
    column = (0.7 + 0.3 * across**4) * np.clip((1.1 - across) / 0.25, 0, 1)
    phase = np.mod(y + 122, 22) / 22
    disc = np.exp(-(((phase - 0.5) / 0.11) ** 2))
    plate = np.exp(-(((np.abs(phase - 0.5) - 0.16) / 0.05) ** 2))
    process = np.exp(-((x / 3.5) ** 2) - ((phase - 0.15) / 0.2) ** 2)
    pedicle = np.exp(-(((np.abs(x) - 11) / 3) ** 2) - ((phase - 0.95) / 0.12) ** 2)
    total[:, strip] = column * (15 - 10 * disc + 6 * plate) + 10 * process + 9 * pedicle
    return blur(total, frame.px(0.9))
