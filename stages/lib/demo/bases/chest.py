"""Tiny base for the demo of the nodule study: it answers whether there is a nodule, and writes boxes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from stages.lib.core import kinds, params
from stages.lib.core.progress import track
from stages.lib.demo import pretraining, tiny
from stages.lib.demo.synthetic import image
from stages.lib.detect.kinds import medgemma
from stages.lib.images import preprocess
from stages.lib.images.geometry import Geometry
from stages.lib.models import box_2d, gemma3, prompts
from stages.lib.models.box_2d import Box

LABEL = "nodule"
LATTICE = 50  # units of a box: finer digits are noise to a tower with patches of 125
GREYS = 4095  # of the 12-bit image before it is normalized
LEAST_BOX_PX = (
    8.0  # side of the box about a nodule, normalized pixels: a smaller one is too fine for the tower's patches
)
WANTED: Mapping[str, params.Section] = {
    "nodules.prompt": prompts.PromptParams,
    "nodules.localizers": kinds.rows(kinds.LOCALIZERS),
}
FOLDER = "workflow/demo_base"
WEIGHTS = ("model.safetensors",)
ARCHITECTURE = tiny.ARCHITECTURE
ABOUT = """\
taught on simulated chest images to say whether there is a nodule and to write its box. It stands in for MedGemma in
the demo study and in the tests."""
FEW = {"tower_images": 6, "tower_steps": 4, "tower_batch": 4, "text_images": 6, "text_steps": 4, "text_batch": 4}


@params.section
class Params:
    """Images and schedule of the base's training."""

    seed: params.Seed
    side_px: params.Count  # of a normalized image; the tiny base takes 112
    low_percentile: params.Percent  # grey value that becomes 0
    high_percentile: params.Percent  # grey value that becomes 255
    image_px: tuple[params.Count, params.Count]  # smallest and largest side of an image before it is normalized
    padded_fraction: params.Fraction  # of the images that are not square
    diameter_mm: tuple[params.PositiveFloat, params.PositiveFloat]  # smallest and largest nodule
    contrast: tuple[params.Fraction, params.Fraction]  # faintest and clearest nodule
    tower_images: params.Count  # simulated for the vision tower, one patient each
    tower_nodules: tuple[params.NonNegativeInt, params.NonNegativeInt]  # fewest and most on one of them
    tower_steps: params.Count
    tower_batch: params.Count  # images per step
    tower_peak_lr: params.PositiveFloat
    text_images: params.Count  # simulated for the text model, one patient each
    text_nodule_fraction: params.Fraction  # of them that show nodules
    max_text_nodules: params.Count  # on one of them
    text_steps: params.Count
    text_batch: params.Count  # images per step
    text_peak_lr: params.PositiveFloat
    box_fraction: params.Fraction  # of the text steps with the prompt for boxes; the others have the question

    def __post_init__(self) -> None:
        problems = [
            f"{name} from small to large (it is {list(pair)})"
            for name in ("image_px", "diameter_mm", "contrast", "tower_nodules")
            if (pair := getattr(self, name))[0] > pair[1]
        ]
        if self.low_percentile >= self.high_percentile:
            problems.append(f"low_percentile below high_percentile ({self.low_percentile}, {self.high_percentile})")
        if self.side_px != tiny.SIDE_PX:
            problems.append(f"side_px {tiny.SIDE_PX}, which the tiny base takes (it is {self.side_px})")
        if problems:
            raise ValueError("; ".join(problems))


def recorded(params: Params, given: SimpleNamespace) -> dict[str, Any]:
    """Parameters that decide the base, as JSON has them."""
    return {
        "pretrain": json.loads(json.dumps(asdict(params))),
        "prompt": asdict(given.prompt),
        "box_prompt": taught_boxes(given).prompts[0],
    }


def taught_boxes(given: SimpleNamespace) -> medgemma.Params:
    """Localizer whose first prompt is taught."""
    found: medgemma.Params = given.localizers["medgemma"].params
    return found


def pretrain(folder: Path, params: Params, given: SimpleNamespace) -> dict[str, list[float]]:
    """Write the base to `folder`, and return the loss of each step of either phase.

    Args:
        folder: Where to.
        params: See `Params`.
        given: The question with its answers, and the localizers, of which the first prompt of medgemma is taught.
    """
    rng = np.random.default_rng(params.seed)
    of_tower, of_text, order = rng.spawn(3)
    least, most = params.tower_nodules
    numbers = of_tower.integers(least, most + 1, params.tower_images)
    tower_images, tower_boxes = examples(of_tower, numbers, params)
    present = of_text.random(params.text_images) < params.text_nodule_fraction
    numbers = present * of_text.integers(1, params.max_text_nodules + 1, params.text_images)
    text_images, text_boxes = examples(of_text, numbers, params)

    tiny.build(folder, params.seed)
    loaded = gemma3.load(
        folder, gemma3.ModelParams(dtype="float32", attention="sdpa", quantization="none", cache_features=False)
    )
    tower = pretraining.teach_tower(
        loaded,
        tower_images,
        tower_boxes,
        steps=params.tower_steps,
        batch_size=params.tower_batch,
        learning_rate=params.tower_peak_lr,
        rng=order,
    )
    text = pretraining.teach_text(
        loaded,
        text_images,
        text_boxes,
        talks(given.prompt, taught_boxes(given), params.box_fraction),
        steps=params.text_steps,
        batch_size=params.text_batch,
        learning_rate=params.text_peak_lr,
        rng=order,
    )
    tiny.save(folder, loaded.model)
    return {"tower": tower, "text": text}


def talks(prompt: prompts.PromptParams, boxes: medgemma.Params, box_fraction: float) -> list[pretraining.Talk]:
    """Prompts that the text model is trained on: whether there is a nodule, and where."""
    return [
        pretraining.Talk(
            text=prompt.question,
            image_first=prompt.image_first,
            answer=lambda nodules: prompt.positive_answer if nodules else prompt.negative_answer,
            fraction=1 - box_fraction,
        ),
        pretraining.Talk(
            text=boxes.prompts[0], image_first=boxes.image_first, answer=in_reading_order, fraction=box_fraction
        ),
    ]


def in_reading_order(nodules: Sequence[Box]) -> str:
    """Response with these nodules from top to bottom, each a box of two lattice steps about its place.

    >>> in_reading_order([Box(411, 305, 470, 361, "nodule")])
    '[{"box_2d": [400, 300, 500, 400], "label": "nodule"}]'
    """
    return box_2d.write(sorted((_on_lattice(box) for box in nodules), key=lambda box: (box.y0, box.x0)))


def _on_lattice(box: Box) -> Box:
    y, x = (LATTICE * round((low + high) / 2 / LATTICE) for low, high in ((box.y0, box.y1), (box.x0, box.x1)))
    edges = (y - LATTICE, x - LATTICE, y + LATTICE, x + LATTICE)
    y0, x0, y1, x1 = (min(max(edge, 0), box_2d.UNITS) for edge in edges)
    return Box(y0, x0, y1, x1, box.label)


def examples(
    rng: np.random.Generator, numbers: Sequence[int] | np.ndarray, params: Params
) -> tuple[np.ndarray, list[list[Box]]]:
    """Normalized images, and the boxes of their nodules.

    Args:
        rng: Each image has random numbers of its own, spawned from it.
        numbers: How many nodules on each of n images.
        params: See `Params`.

    Returns:
        uint8 array of shape (n, side_px, side_px), and n lists.
    """
    streams = zip(rng.spawn(len(numbers)), numbers, strict=True)
    made = [
        _example(stream, int(number), params)
        for stream, number in track(streams, total=len(numbers), what="simulate", unit="images")
    ]
    return np.stack([pixels for pixels, _ in made]), [found for _, found in made]


def _example(rng: np.random.Generator, number: int, params: Params) -> tuple[np.ndarray, list[Box]]:
    low, high = params.image_px
    width = height = int(rng.integers(low, high + 1))
    if rng.random() < params.padded_fraction:
        short = int(width * rng.uniform(0.8, 1.0))
        width, height = (short, height) if rng.random() < 0.7 else (width, short)
    drawn = image.draw(
        rng,
        image.patient(rng),
        width_px=width,
        height_px=height,
        nodules=number,
        diameter_mm=params.diameter_mm,
        contrast=params.contrast,
    )
    pixels, _, _ = preprocess.normalize_pixels(
        np.rint(drawn.density * GREYS).astype(np.uint16),
        low_percentile=params.low_percentile,
        high_percentile=params.high_percentile,
        side_px=params.side_px,
    )
    geometry = Geometry(width_px=width, height_px=height, side_px=params.side_px)
    return pixels, [box_about(nodule.x, nodule.y, nodule.diameter_px, geometry) for nodule in drawn.nodules]


def box_about(x: float, y: float, diameter_px: float, geometry: Geometry) -> Box:
    """Box about a nodule, cut to the square; its side is the diameter, but at least LEAST_BOX_PX.

    >>> box_about(49.5, 24.5, 20.0, Geometry(width_px=100, height_px=100, side_px=100))
    Box(y0=150.0, x0=400.0, y1=350.0, x1=600.0, label='nodule')
    """
    half = max(diameter_px, LEAST_BOX_PX / geometry.scale) / 2
    corners = (*geometry.to_unit(x - half, y - half), *geometry.to_unit(x + half, y + half))
    x0, y0, x1, y1 = (min(max(edge, 0.0), 1.0) * box_2d.UNITS for edge in corners)
    return Box(y0, x0, y1, x1, LABEL)
