"""The chest of one patient in millimetres, and its shadow: how much water each ray meets.

Made of smooth outlines after the plain anatomy of a frontal image. Path lengths add up, as they do in a patient.
"""

from dataclasses import dataclass

import numpy as np

from stages.lib.demo.synthetic import bones, vessels
from stages.lib.demo.synthetic.canvas import Frame, blur, curve, depth_mm, ellipse, mirrored, paint, round_off, stroke

LUNG_DEPTH_MM = 170.0
AIR_FRACTION = 0.72
IRREGULAR_MM = 1.5


@dataclass(frozen=True)
class Patient:
    """What all images of one patient share.

    Attributes:
        size: Scale of the whole chest, about 1.
        tallness: Height of the chest relative to its width, about 1.
        girth: Width and thickness of the soft tissue, about 1.
        lung_volume: Depth of breath, -1 (shallow) to 1 (deep).
        heart: Width of the heart, about 1.
        slope: Steepness of the ribs, about 1.
        knob: Prominence of the aortic arch, about 1.
        breast: Thickness of the breasts, 0 to 1.
        bubble: Size of the gastric bubble, 0 for none.
        bone: Density of the bones, about 1.
        aeration: Blackness of the lungs, about 1.
        tree_seed: Seed of the vessels and of the small irregularities of the ribs.
    """

    size: float
    tallness: float
    girth: float
    lung_volume: float
    heart: float
    slope: float
    knob: float
    breast: float
    bubble: float
    bone: float
    aeration: float
    tree_seed: int


@dataclass(frozen=True)
class Chest:
    """The shadow of a chest on one image; every array has the shape (h, w).

    Attributes:
        path_mm: Path length, millimetres of water, float32.
        air: Fraction of the lung's full depth that is air, [0, 1], float32: little behind the heart and below a dome.
        heart: Whether heart or great vessels cover the pixel, bool.
        below_dome: Whether the pixel lies below the top of a dome, bool.
        low_mm: How much lower than at a usual breath the domes stand, millimetres.
    """

    path_mm: np.ndarray
    air: np.ndarray
    heart: np.ndarray
    below_dome: np.ndarray
    low_mm: float


ZONES = ("upper", "middle", "lower", "hilum", "heart", "dome")


def patient(rng: np.random.Generator) -> Patient:
    """A patient."""
    female = rng.random() < 0.45
    return Patient(
        size=float(np.clip(rng.normal(0.97 if female else 1.02, 0.03), 0.9, 1.08)),
        tallness=float(np.clip(rng.normal(1.0, 0.05), 0.9, 1.1)),
        girth=float(np.clip(rng.normal(1.0, 0.07), 0.86, 1.16)),
        lung_volume=float(np.clip(rng.normal(0.0, 0.45), -1, 1)),
        heart=float(np.clip(rng.normal(1.0, 0.1), 0.8, 1.3)),
        slope=float(rng.uniform(0.8, 1.25)),
        knob=float(rng.uniform(0.6, 1.25)),
        breast=float(rng.uniform(0.3, 1.0)) if female else 0.0,
        bubble=float(rng.uniform(0.5, 1.0)) if rng.random() < 0.4 else 0.0,
        bone=float(rng.uniform(0.8, 1.2)),
        aeration=float(rng.uniform(0.92, 1.05)),
        tree_seed=int(rng.integers(2**31)),
    )


def chest(frame: Frame, who: Patient, breath_mm: float) -> Chest:
    """Shadow of a patient.

    Args:
        frame: Where the patient stands on the image.
        who: The patient.
        breath_mm: How much lower than at the patient's usual breath the domes stand.
    """
    rng = np.random.default_rng(who.tree_seed)
    x, y = frame.grid()
    low = 16 * who.lung_volume + breath_mm

    air, full, heart, below_dome = _lungs(rng, frame, who, x, y, low)
    path = _soft(frame, who, x, y)
    path -= np.float32(AIR_FRACTION * who.aeration * LUNG_DEPTH_MM) * air
    path += full * vessels.vessels(rng, frame)
    path += np.float32(who.bone) * bones.bones(rng, frame, who.slope, x, y)
    path -= _airway(frame)
    if who.breast:
        path += _breasts(frame, who)
    if who.bubble:
        path -= _bubble(frame, who, low)
    return Chest(np.maximum(path, 0).astype(np.float32), air, heart, below_dome, low)


def zone_at(shadow: Chest, frame: Frame, column: float, row: float) -> str:
    """Zone, one of ZONES, at a pixel of the image; a pixel beyond the border counts as the nearest."""
    at = (
        min(max(round(row), 0), frame.height_px - 1),
        min(max(round(column), 0), frame.width_px - 1),
    )
    if shadow.below_dome[at]:
        return "dome"
    if shadow.heart[at]:
        return "heart"
    x, y = frame.to_patient(column, row)
    if np.hypot(abs(x) - 42, 0.8 * (y + 19)) < 22:
        return "hilum"
    return third(y)


def third(y_mm: float) -> str:
    """Third of the lung, the first three of ZONES, at a height of the patient.

    >>> [third(y) for y in (-60.0, 0.0, 40.0)]
    ['upper', 'middle', 'lower']
    """
    return "upper" if y_mm < -50 else "middle" if y_mm < 10 else "lower"


def _soft(frame: Frame, who: Patient, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    right = np.array(
        [
            *[(44.0, -330.0), (45, -196), (52, -168), (84, -150), (128, -138), (164, -122), (180, -92)],
            *[(172, -50), (160, -12), (157, 40), (158, 110), (164, 200), (168, 360)],
        ]
    )
    right[:, 0] *= who.girth
    outline = curve(np.concatenate([right, mirrored(right)[::-1]]), closed=True)
    torso = round_off(depth_mm(frame, paint(frame, [outline])) / np.float32(115))
    level = np.clip((y + 185) / 120, 0, 1)
    level = 0.72 + 0.28 * level * level * (3 - 2 * level) + 0.3 * np.clip((y - 30) / 120, 0, 1)
    path = np.float32(200 * who.girth) * torso * level
    arm = curve([(150, -118), (184, -95), (203, -20), (214, 80), (220, 260)]) * np.array([who.girth, 1.0])
    wide = np.interp(arm[:, 1], [-118, -60, 260], [60, 62, 50]) * who.girth
    outlines = [stroke(arm, wide), stroke(mirrored(arm), wide)]
    limbs = round_off(depth_mm(frame, paint(frame, outlines)) / np.float32(30))
    path = np.maximum(path, 84 * limbs)
    return blur(path, frame.px(2.5))


def _lungs(
    rng: np.random.Generator, frame: Frame, who: Patient, x: np.ndarray, y: np.ndarray, low: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    cage = np.array(
        [
            *[(4.0, -118.0), (18, -132), (38, -138), (60, -129), (86, -100), (108, -58), (123, -12)],
            *[(133, 38), (138, 90), (137, 140), (130, 190), (4, 190)],
        ]
    )
    sides = cage + rng.normal(0, IRREGULAR_MM, (2, *cage.shape))
    depth = depth_mm(frame, paint(frame, [curve(sides[0], closed=True), mirrored(curve(sides[1], closed=True))]))
    height = np.clip((y + 135) / 80, 0, 1)
    full = round_off(depth / np.float32(52)) * (0.66 + 0.34 * height)

    cover = paint(frame, [_mediastinum(who, low)])
    heart = 0.16 * cover + 0.84 * round_off(depth_mm(frame, cover) / np.float32(42))
    under = np.maximum(y - _dome(x, low), 0)
    belly = 0.12 * (under > 0) + 0.88 * round_off(under / np.float32(46))
    fraction = full * (1 - blur(heart, frame.px(0.9))) * (1 - blur(belly.astype(np.float32), frame.px(0.8)))
    return fraction, full, cover > 0.5, under > 0


def _mediastinum(who: Patient, low: float) -> np.ndarray:
    knob, wide = who.knob, who.heart
    base = 104 + low
    left = [
        *[(20, -200), (22, -125), (25, -98), (27 + 9 * knob, -80), (28 + 13 * knob, -66), (30 + 4 * knob, -50)],
        *[(34, -34), (41, -18), (56 * wide, 6), (74 * wide, 30), (87 * wide, 55), (92 * wide, 78)],
        *[(88 * wide, base), (80, base + 40), (70, base + 130)],
    ]
    right = [
        *[(-60, base + 130), (-34, base + 8), (-42 * wide, base - 28), (-43 * wide, 38), (-36 * wide, 8)],
        *[(-29, -20), (-27, -60), (-26, -96), (-22, -125), (-20, -200)],
    ]
    return curve(np.array([*left, *right], dtype=np.float64), closed=True)


def _dome(x: np.ndarray, low: float) -> np.ndarray:
    side = x > 0
    across = np.clip((np.abs(x) - 10) / 126, 0, 1.1) - np.float32(0.42)
    top = np.where(side, np.float32(82 + low), np.float32(68 + low))
    lateral, medial = np.maximum(across, 0) / 0.58, np.minimum(across, 0) / 0.42
    return top + 50 * lateral * lateral * np.sqrt(lateral) + 22 * medial * medial


def _airway(frame: Frame) -> np.ndarray:
    tube = curve([(0, -260), (0, -180), (-1, -120), (-3, -72), (-4, -58)])
    left = curve([(-3, -60), (14, -42), (34, -30)])
    right = curve([(-4, -60), (-16, -40), (-30, -24)])
    cover = paint(frame, [stroke(tube, 16.0), stroke(left, 11.0), stroke(right, 12.0)], [1.0, 0.5, 0.5])
    return blur(cover, frame.px(1.6)) * np.float32(19)


def _breasts(frame: Frame, who: Patient) -> np.ndarray:
    shape = ellipse((92, 62), 58, 56)
    depth = depth_mm(frame, paint(frame, [shape, mirrored(shape)]))
    y = frame.grid()[1]
    fade = np.clip((y - 10) / 70, 0, 1) * np.clip((140 - y) / 40, 0, 1)
    return blur(round_off(depth / np.float32(56)) * fade * np.float32(27 * who.breast), frame.px(2.5))


def _bubble(frame: Frame, who: Patient, low: float) -> np.ndarray:
    shape = ellipse((62, 112 + low), 26 * who.bubble, 15 * who.bubble)
    depth = depth_mm(frame, paint(frame, [shape]))
    return blur(round_off(depth / np.float32(14)) * np.float32(45 * who.bubble), frame.px(1.5))
