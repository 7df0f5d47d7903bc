"""Findings of a chest image that are larger than a nodule: opacity, pleural effusion, pacemaker, large heart.

Air that an opacity or an effusion takes the place of becomes water, so that their borders with heart and dome vanish as
they do in a patient. The large heart is the patient's own (`large_heart`): there is nothing to add, only to mark.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from stages.lib.demo.synthetic.anatomy import AIR_FRACTION, LUNG_DEPTH_MM, Chest, Patient
from stages.lib.demo.synthetic.canvas import Frame, blur, curve, ellipse, paint, stroke

KINDS = ("heart", "pacemaker", "opacity", "effusion")
LASTING = ("heart", "pacemaker")  # on all images of a patient
SIDES = ("left", "right")  # the patient's: left is on the image's right
SIZES = ("small", "medium", "large")
LARGEST_NORMAL_HEART = 1.1
LARGE_HEART = (1.28, 1.42)
OPACITY_REACH_MM = ((30.0, 37.0), (40.0, 47.0), (50.0, 58.0))  # half of its width, by size
EFFUSION_MM = ((62.0, 76.0), (92.0, 108.0), (126.0, 144.0))  # height at the chest wall above the angle, by size
ANGLE_MM = 128.0  # y of the costophrenic angle at a usual breath: what is below is abdomen
METAL_MM = 110.0  # path length of a pacemaker, millimetres of water
LEAST_COVER, LEAST_AIR = 0.5, 0.08  # of a pixel that belongs to a finding


@dataclass(frozen=True)
class Finding:
    """A finding as wanted.

    Attributes:
        kind: One of KINDS.
        side: One of SIDES; of a heart, left.
        size: One of SIZES; of a heart and a pacemaker, large.
        at: Its middle, the patient's x and y, millimetres; of an effusion, its top at the chest wall.
        reach_mm: Half of its width, or an effusion's height, millimetres; of a heart, 0.
        seed: Of its shape.
    """

    kind: str
    side: str
    size: str
    at: tuple[float, float]
    reach_mm: float
    seed: int


@dataclass(frozen=True)
class Shown:
    """A finding on an image.

    Attributes:
        finding: What was wanted.
        cover: Pixels that belong to it, bool of shape (h, w).
    """

    finding: Finding
    cover: np.ndarray

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom edge, pixels of the image, 0 at its left (top) border.

        >>> cover = np.zeros((4, 6), bool)
        >>> cover[1:3, 2] = True
        >>> Shown(Finding("opacity", "left", "small", (0, 0), 1, 0), cover).box
        (2.0, 1.0, 3.0, 3.0)
        """
        columns, rows = np.flatnonzero(self.cover.any(0)), np.flatnonzero(self.cover.any(1))
        return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def side_of(x_mm: float) -> str:
    """Side of the patient that a point lies on.

    >>> side_of(40.0)
    'left'
    """
    return SIDES[0] if x_mm > 0 else SIDES[1]


def large_heart(rng: np.random.Generator, who: Patient, large: bool) -> Patient:
    """The same patient with a heart that is plainly large, or plainly not."""
    least, most = LARGE_HEART
    heart = float(rng.uniform(least, most)) if large else min(who.heart, LARGEST_NORMAL_HEART)
    return replace(who, heart=heart)


def findings(
    of_patient: np.random.Generator, of_image: np.random.Generator, kinds: Collection[str]
) -> tuple[Finding, ...]:
    """Findings on one image, in the order of KINDS.

    An opacity lies on the side without an effusion, and below a pacemaker, not behind it.

    Args:
        of_patient: Source of the place and shape of what all images of a patient have, a pacemaker.
        of_image: Source of the others' places, sizes and shapes.
        kinds: Which, of KINDS.
    """
    drawn = {kind: _finding(of_patient if kind in LASTING else of_image, kind) for kind in KINDS if kind in kinds}
    if "opacity" in drawn:
        drawn["opacity"] = _apart(drawn["opacity"], drawn.get("effusion"), drawn.get("pacemaker"))
    return tuple(drawn.values())


def _finding(rng: np.random.Generator, kind: str) -> Finding:
    side = SIDES[int(rng.integers(2))] if kind != "heart" else "left"
    out = 1.0 if side == "left" else -1.0
    step = int(rng.integers(len(SIZES))) if kind in ("opacity", "effusion") else len(SIZES) - 1
    reach, x, y = 0.0, 0.0, 0.0
    if kind == "opacity":
        reach = float(rng.uniform(*OPACITY_REACH_MM[step]))
        x, y = out * float(rng.uniform(58, 92)), float(rng.uniform(-88, 52))
    elif kind == "effusion":
        reach = float(rng.uniform(*EFFUSION_MM[step]))
        x, y = out * 130.0, ANGLE_MM - reach
    elif kind == "pacemaker":
        reach = float(rng.uniform(24, 29))
        x, y = out * float(rng.uniform(62, 112)), float(rng.uniform(-104, -40))
    return Finding(kind, side, SIZES[step], (x, y), reach, int(rng.integers(2**31)))


def _apart(opacity: Finding, effusion: Finding | None, pacemaker: Finding | None) -> Finding:
    (x, y), side = opacity.at, opacity.side
    if effusion and effusion.side == side:
        x, side = -x, SIDES[1 - SIDES.index(side)]
    if pacemaker and pacemaker.side == side:
        y = max(y, pacemaker.at[1] + pacemaker.reach_mm + opacity.reach_mm)
    return replace(opacity, side=side, at=(x, y))


def show(finding: Finding, frame: Frame, who: Patient, chest: Chest, path_mm: np.ndarray) -> Shown:
    """Add a finding to the path lengths in place.

    Args:
        finding: The finding.
        frame: The image.
        who: The patient.
        chest: The patient's shadow without findings.
        path_mm: Path length through the body, millimetres of water, float32 of shape (h, w).
    """
    rng = np.random.default_rng(finding.seed)
    x, y = frame.grid()
    if finding.kind == "heart":
        return Shown(finding, chest.heart & ~chest.below_dome & (y > -10))
    if finding.kind == "pacemaker":
        cover = _pacemaker(rng, frame, finding)
        path_mm += np.float32(METAL_MM) * cover
        return Shown(finding, cover > LEAST_COVER / 2)
    if finding.kind == "opacity":
        cover, filled = _opacity(rng, frame, finding), float(rng.uniform(0.45, 0.75))
    else:
        cover, filled = _effusion(frame, finding, chest, x, y), float(rng.uniform(0.8, 0.95))
    path_mm += np.float32(filled * AIR_FRACTION * who.aeration * LUNG_DEPTH_MM) * chest.air * cover
    return Shown(finding, (cover > LEAST_COVER) & (chest.air > LEAST_AIR) & (y < ANGLE_MM + chest.low_mm))


def _pacemaker(rng: np.random.Generator, frame: Frame, finding: Finding) -> np.ndarray:
    """Generator below a clavicle and its lead down to the right ventricle; the lead casts the weaker shadow."""
    (x, y), half = finding.at, finding.reach_mm
    turn = float(rng.uniform(-0.5, 0.5))
    corners = np.array([(-1.0, -0.5), (-0.7, -0.85), (0.7, -0.85), (1.0, -0.5), (1.0, 0.5), (0.6, 0.9), (-0.6, 0.9)])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    can = curve(half * np.concatenate([corners, [(-1.0, 0.5)]]) @ rotation.T + (x, y), closed=True)
    end = (float(rng.uniform(18, 42)), float(rng.uniform(48, 70)))
    lead = curve([(x, y - 0.6 * half), (0.55 * x, y - 1.1 * half), (-16, -88), (-20, -20), (0, 40), end])
    return paint(frame, [stroke(lead, 3.2), can], [0.6, 1.0])


def _opacity(rng: np.random.Generator, frame: Frame, finding: Finding) -> np.ndarray:
    """Lumps about one another within the reach."""
    angle = rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi, 6)[:-1] + rng.uniform(-0.4, 0.4, 5)
    off = finding.reach_mm * rng.uniform(0.3, 0.5, 5)
    size = finding.reach_mm * rng.uniform(0.45, 0.6, (5, 2))
    lumps = [
        ellipse((finding.at[0] + far * np.cos(turn), finding.at[1] + far * np.sin(turn)), across, down)
        for turn, far, (across, down) in zip(angle, off, size, strict=True)
    ]
    middle = ellipse(finding.at, 0.6 * finding.reach_mm, 0.6 * finding.reach_mm)
    return blur(paint(frame, [middle, *lumps]), frame.px(3.5))


def _effusion(frame: Frame, finding: Finding, chest: Chest, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Fluid at the base of one lung: its border rises towards the chest wall."""
    outwards = x if finding.side == "left" else -x
    across = np.clip((outwards - 10) / 120, 0, 1)
    top = finding.at[1] + chest.low_mm + np.float32(0.55 * finding.reach_mm) * (1 - across * across)
    return blur(((y > top) & (outwards > 0)).astype(np.float32), frame.px(2.0))
