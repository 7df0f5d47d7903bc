"""A small study with marked images whose nodules are bright in their tokens: tables, tokens and records on disk."""

import numpy as np

from stages.lib.core import documents, tables
from stages.lib.core.feature_tables import TOKENS
from stages.lib.images.geometry import Geometry
from stages.lib.images.shifts import places, shifted
from stages.zoo.embed import failed

PATCH, ROWS, SHIFTS = 8, 4, 2
SIDE = PATCH * ROWS
WIDTH, HEIGHT = 2 * SIDE, SIDE  # so that a half of the square is padding
TRAIN, VAL, TEST = 8, 4, 3  # marked images of each split, and as many negative ones
ROW = {
    "kind": "heatmap",
    "seen": "no",
    "licence": "none",
    "commercial": True,
    "library": "transformers",
    "source": "folder",
    "revision": "none",
    "architecture": "Dinov2Model",
    "side_px": SIDE,
    "shifts": SHIFTS,
    "supervision": "marks",
    "target_mm": 0.0,
    "target_fraction": 0.05,
    "loss": "weighted_cross_entropy",
    "focus": 0.0,
    "strength": 1.0,
    "sharpness": 1.0,
    "negative_images": 6,
    "negative_weight": 1.0,
    "suppression_cells": 2.0,
    "peak_power": 3.0,
    "max_peaks": 3,
    "min_confidence": 0.0,
    "seed": 1,
}
SELECT = {
    "splits": ["train", "val"],
    "max_prompts": 1,
    "negative_images": 3,
    "false_points_per_image": 0.25,
    "seed": 1,
}
TOLERANCE = {"tight_fraction": 0.02, "tolerant_fraction": 0.05}
GEOMETRY = Geometry(width_px=WIDTH, height_px=HEIGHT, side_px=SIDE)


def tokens_of(number, points):
    """Tokens of an image whose nodules are bright, in one feature of two; the other is noise."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = np.full((SIDE, SIDE), 40.0)
    for x, y in points:
        u, v = GEOMETRY.to_normalized(x, y)
        image += 150 * np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / (2 * 4.0**2))
    image[: SIDE // 4] = image[-SIDE // 4 :] = 0
    seen = [shifted(image, place) for place in places(SHIFTS, PATCH, "shifts")]
    bright = np.stack([one.reshape(ROWS, PATCH, ROWS, PATCH).mean(axis=(1, 3)) for one in seen]) / 50
    return np.stack([bright, rng.normal(size=bright.shape)], axis=-1).astype(np.float16)


def images():
    """Rows of the images: name, split, label, points."""
    rng, rows = np.random.default_rng(3), []
    for split, count in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        for number in range(count):
            point = (float(rng.uniform(6, WIDTH - 6)), float(rng.uniform(6, HEIGHT - 6)))
            rows.append((f"{split}_p{number}", split, 1, [point]))
            rows.append((f"{split}_n{number}", split, 0, []))
    return rows


def written(folder, rows, *, shards=2, embedded=None):
    """The study's tables and the tokens of its images below a folder, and the options that name them."""
    known = {"path": "x", "source": "lidc", "width_px": WIDTH, "height_px": HEIGHT, "status": "ok", "spacing_mm": 1.0}
    manifest = [
        {"image_id": name, "file_name": name, "patient_id": f"of {name}", "label": label, **known}
        for name, _, label, _ in rows
    ]
    square = {"png": "absent.png", "low": 0.0, "high": 1.0, "side_px": SIDE, "preprocessing_hash": "c"}
    pads = {"pad_x_px": 0, "pad_y_px": HEIGHT // 2, "scale": SIDE / WIDTH}
    given = {
        "manifest": (manifest, tables.MANIFEST),
        "normalized": ([{"image_id": name, **square, **pads} for name, *_ in rows], tables.NORMALIZED),
        "split": (
            [
                {"image_id": name, "patient_id": f"of {name}", "label": label, "split": split}
                for name, split, label, _ in rows
            ],
            tables.SPLIT,
        ),
        "points": (
            [
                {"image_id": name, "point": number, "x": x, "y": y}
                for name, _, _, points in rows
                for number, (x, y) in enumerate(points)
            ],
            tables.POINTS,
        ),
    }
    options = []
    for name, (lines, schema) in given.items():
        tables.write(folder / f"{name}.parquet", tables.from_rows(lines, schema), schema)
        options += [f"--{name}", str(folder / f"{name}.parquet")]
    paths, records = [], []
    for shard in range(shards):
        lines = []
        for number, (name, _, _, points) in list(enumerate(rows))[shard::shards]:
            found = tokens_of(number, points)
            shape = {"rows": ROWS, "columns": ROWS, "preprocessing_hash": "c"}
            lines += [
                {"image_id": name, "place": place, **shape, "tokens": one.ravel()} for place, one in enumerate(found)
            ]
        paths.append(str(folder / f"tokens_{shard}.parquet"))
        tables.write(paths[-1], tables.from_rows(lines, TOKENS), TOKENS)
        records.append(str(folder / f"tokens_{shard}.json"))
        facts = {"rows": ROWS, "patch_px": PATCH, "places": SHIFTS**2, "images": len(lines), "random_weights": False}
        told = vars(failed(None)) | facts if embedded is None else embedded
        documents.write(records[-1], type(failed(None))(**told))
    return [*options, "--tokens", *paths, "--embedded", *records]
