"""Reports beside images that a tiny LoFi can learn from, as tables and as the task has them."""

from pathlib import Path

import cv2
import numpy as np
from lofi_models import SIDE_PX

from stages.lib.core import tables
from stages.lib.core.sentence_tables import PAIRS

WIDTH_PX, HEIGHT_PX = 48, 64
SENTENCES = ("There is a nodule in the left lung.", "No nodule.", "The lungs are clear.", "Is that a nodule?")


def study(folder: Path, images: int = 12) -> Path:
    """A results folder: manifest, normalized, pairs; every second image has a sentence with a box or two."""
    (folder / "normalized").mkdir(parents=True)
    rows: dict[str, list[dict]] = {"manifest": [], "normalized": [], "pairs": []}
    rng = np.random.default_rng(0)
    for number in range(images):
        image = f"image{number:02d}"
        cv2.imwrite(str(folder / f"normalized/{image}.png"), rng.integers(0, 256, (SIDE_PX, SIDE_PX), dtype=np.uint8))
        rows["manifest"].append(
            {"image_id": image, "file_name": f"{image}.png", "path": f"{image}.png", "source": "other"}
            | {"patient_id": image, "status": "ok", "width_px": WIDTH_PX, "height_px": HEIGHT_PX}
        )
        rows["normalized"].append(
            {"image_id": image, "png": f"normalized/{image}.png", "low": 0.0, "high": 255.0, "scale": 0.5}
            | {"pad_x_px": 8, "pad_y_px": 0, "side_px": SIDE_PX, "preprocessing_hash": "c0ffee"}
        )
        split = "train" if number < images - 4 else "val" if number < images - 1 else "test"
        for place, text in enumerate(SENTENCES):
            boxed = number % 2 == 0 and place < 2
            boxes = [[4.0, 8.0, 20.0, 24.0], [30.0, 8.0, 40.0, 30.0]][: place + 1] if boxed else []
            rows["pairs"].append(
                {"image_id": image, "number": place, "patient_id": image, "study_id": None, "split": split}
                | {"text": f"{text} {number}.", "abnormal": None, "labels": [], "part": place // 3}
                | {"boxes": boxes, "second": []}
            )
    schemas = {"manifest": tables.MANIFEST, "normalized": tables.NORMALIZED, "pairs": PAIRS}
    for name, found in rows.items():
        tables.write(folder / f"{name}.parquet", tables.from_rows(found, schemas[name]), schemas[name])
    return folder
