"""Vessels of the lungs: a tree from each hilum, and some that are seen end-on."""

import numpy as np

from stages.lib.demo.synthetic.canvas import Frame, blur, ellipse, paint, stroke


def vessels(rng: np.random.Generator, frame: Frame) -> np.ndarray:
    """Path length that vessels and hila add, millimetres of water, float32 of shape (h, w).

    Each hilum sends out branches that fork and thin out; some vessels are seen end-on, round and sharp: these and the
    crossings of ribs are what a nodule is confused with.
    """
    return blur(_tree(rng, frame), frame.px(0.35)) + _end_on(rng, frame) + _hila(frame)


def _tree(rng: np.random.Generator, frame: Frame) -> np.ndarray:
    trunks: list[np.ndarray] = []
    widths: list[np.ndarray] = []
    twigs: list[tuple[np.ndarray, int, float]] = []
    count = 10
    side = np.repeat([-1.0, 1.0], count)
    heading = np.tile(np.linspace(-1.3, 1.45, count), 2) + rng.normal(0, 0.12, 2 * count)
    start = np.stack([side * rng.uniform(30, 40, 2 * count), -18 + 20 * np.sin(heading)], -1)
    width = rng.uniform(4.5, 7.5, 2 * count)
    steps = np.linspace(0, 1, 7)
    for level in range(6):
        number = start.shape[0]
        length = rng.uniform(18, 32, (number,)) * 0.9**level
        angle = heading[:, None] + rng.normal(0, 0.4, (number,))[:, None] * steps
        go = np.stack([side[:, None] * np.cos(angle), np.sin(angle)], -1) * (length / 6)[:, None, None]
        line = start[:, None] + np.cumsum(go, 1) - go[:, :1]
        if level < 2:
            trunks += list(stroke(line, width[:, None] * np.linspace(1, 0.78, 7)))
            widths.append(width)
        else:
            twigs.append((line, (3, 2, 1, 1)[level - 2], (0.55, 0.46, 0.36, 0.26)[level - 2]))
        fork = rng.uniform(0.2, 0.55, (2, number))
        heading = np.concatenate([angle[:, -1] + fork[0], angle[:, -1] - fork[1]])
        start, side = np.concatenate([line[:, -1]] * 2), np.concatenate([side] * 2)
        width = np.concatenate([width] * 2) * rng.uniform(0.58, 0.78, 2 * number)
        keep = rng.random(2 * number) < (0.85 if level < 2 else 0.62)
        heading, start, side, width = heading[keep], start[keep], side[keep], width[keep]
    thick = np.clip(np.concatenate(widths) / 8, 0.2, 1)
    return paint(frame, trunks[::-1], thick[::-1], lines=twigs[::-1]) * np.float32(17)


def _end_on(rng: np.random.Generator, frame: Frame) -> np.ndarray:
    count = int(rng.integers(16, 28))
    aside = np.where(rng.random(count) < 0.5, -1, 1)
    centre = np.stack([aside * (34 + np.abs(rng.normal(0, 24, count))), -12 + rng.normal(0, 32, count)], -1)
    radius = rng.uniform(1.0, 2.5, count)
    dots = [ellipse(at, size, size, 14) for at, size in zip(centre, radius, strict=True)]
    return paint(frame, dots, np.clip(radius / 2.6, 0, 1)) * np.float32(16)


def _hila(frame: Frame) -> np.ndarray:
    shapes = [ellipse((-36, -14), 11, 24), ellipse((36, -22), 11, 20)]
    return blur(paint(frame, shapes), frame.px(6)) * np.float32(24)
