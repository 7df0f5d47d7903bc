"""A small folder of the chapter lofi for grounders: tables made through their schemas, and noise images."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stages.lib.core import sentence_tables, tables

WIDTH_PX, HEIGHT_PX = 80, 100
HASH = "c0ffee"
TUNE = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "learning_rate": 0.003,
    "warmup_ratio": 0.0,
    "max_steps": 2,
    "max_grad_norm": 1.0,
    "weight_decay": 0.0,
    "eval_steps": 1,
    "save_steps": 1,
    "select_by": "loss",
    "patience": 0,
    "save_total_limit": 2,
    "dataloader_num_workers": 0,
    "seed": 3,
    "tower": "frozen",
    "rounding": "round",
    "max_answer_tokens": 60,
    "gradient_checkpointing": "none",
    "schedule": "cosine",
}


@dataclass(frozen=True)
class Folder:
    """Tables of a chapter, in memory and on disk."""

    results: Path
    pairs: Any
    manifest: Any
    normalized: Any
    neighbours: Any

    def options(self, grounder: str, **more: Path | str) -> list[str]:
        """Options of lofi.ground that name these files."""
        named = {name: self.results / f"{name}.parquet" for name in ("pairs", "manifest", "normalized")}
        every: dict[str, Any] = {**named, "results": self.results, "grounder": grounder} | more
        return [part for name, value in every.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def pair(image_id: str, number: int, split: str, boxes: Sequence[Sequence[float]], **more: Any) -> dict[str, Any]:
    """Row of PAIRS; the patient has the image's name unless another is given."""
    row = {"image_id": image_id, "number": number, "patient_id": f"p-{image_id}", "study_id": None, "split": split}
    row |= {"text": f"There is finding {number}.", "abnormal": True, "labels": ["finding"], "part": 0}
    return row | {"boxes": [list(box) for box in boxes], "second": []} | more


def make(folder: Path, rows: Sequence[Mapping[str, Any]], side_px: int, seed: int = 0) -> Folder:
    """Write tables and noise images for pairs; each test image has all training images as neighbours, by name.

    Args:
        folder: Becomes the results folder.
        rows: Of PAIRS.
        side_px: Of the normalized images.
        seed: Of the images.
    """
    (folder / "normalized").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    images = sorted({row["image_id"] for row in rows})
    patients = {row["image_id"]: row["patient_id"] for row in rows}
    manifest, normalized = [], []
    for image_id in images:
        png = f"normalized/{image_id}.png"
        cv2.imwrite(str(folder / png), rng.integers(0, 256, (side_px, side_px), dtype=np.uint8))
        manifest.append(
            {"image_id": image_id, "file_name": f"{image_id}.png", "path": f"{image_id}.png", "source": "other"}
            | {"patient_id": patients[image_id], "width_px": WIDTH_PX, "height_px": HEIGHT_PX, "status": "ok"}
        )
        normalized.append(
            {"image_id": image_id, "png": png, "low": 0.0, "high": 255.0, "scale": side_px / HEIGHT_PX}
            | {"pad_x_px": 10, "pad_y_px": 0, "side_px": side_px, "preprocessing_hash": HASH}
        )
    train = sorted({row["image_id"] for row in rows if row["split"] == "train" and row["boxes"]})
    neighbours = [
        {"image_id": name, "rank": rank, "neighbour": other, "similarity": 0.9 - 0.1 * rank}
        for name in sorted({row["image_id"] for row in rows if row["split"] == "test"})
        for rank, other in enumerate(train)
    ]
    made = Folder(
        folder,
        tables.from_rows(rows, sentence_tables.PAIRS),
        tables.from_rows(manifest, tables.MANIFEST),
        tables.from_rows(normalized, tables.NORMALIZED),
        tables.from_rows(neighbours, sentence_tables.NEIGHBOURS),
    )
    schemas = {"pairs": sentence_tables.PAIRS, "manifest": tables.MANIFEST, "normalized": tables.NORMALIZED}
    for name, schema in {**schemas, "neighbours": sentence_tables.NEIGHBOURS}.items():
        tables.write(folder / f"{name}.parquet", getattr(made, name), schema)
    return made


def study() -> list[dict[str, Any]]:
    """Pairs of two training and three test images; every test image has two sentences with boxes, one has none."""
    return [
        pair("train0", 0, "train", [[10, 20, 30, 45]]),
        pair("train0", 1, "train", [[40, 50, 60, 70], [5, 5, 15, 25]]),
        pair("train1", 0, "train", [[0, 0, 80, 100]], text="The heart is large."),
        pair("train1", 1, "train", []),
        *(pair(f"test{k}", number, "test", [[10, 10, 50, 60]]) for k in range(3) for number in range(2)),
        pair("test2", 2, "test", []),
    ]


def params(**sections: Any) -> str:
    """Sections of lofi as JSON."""
    return json.dumps({"lofi": sections})
