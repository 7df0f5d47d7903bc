"""A few cases with drawn images, and the options of the stages that ask about them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from stages.lib.core import files, tables
from stages.lib.core.case_tables import CASE_IMAGES, SAMPLE

ARM: dict[str, Any] = {
    "prompt": "brief",
    "system": False,
    "image_first": True,
    "images": "all",
    "max_images": 4,
    "choose_images": "first",
    "pixels": "file",
    "unit": "case",
    "temperature": 0.0,
    "top_p": 1.0,
    "max_tokens": 8,
    "seed": 1,
    "samples": 1,
    "consensus": "none",
    "after": "none",
    "examples": "none",
    "n_examples": 0,
    "example_images": False,
    "retriever": "none",
    "min_similarity": 0.0,
}
LOCAL: dict[str, Any] = {
    "kind": "local",
    "model": "tiny",
    "revision": "none",
    "adapter": "none",
    "dtype": "float32",
    "attention": "sdpa",
    "quantization": "none",
    "batch_size": 4,
    "dollars_per_gpu_hour": 0.0,
}
ROLES = ("test", "test", "test", "test", "example", "example", "train", "train", "val")


def arm(kind: str = "local", **changes: Any) -> dict[str, Any]:
    """A row of findings.arms."""
    if kind == "constant":
        return {"kind": kind, "unit": "case", **changes}
    return {**ARM, **(LOCAL if kind == "local" else {"kind": kind}), **changes}


@dataclass(frozen=True)
class Cases:
    """A folder with sample.parquet, case_images.parquet and the images.

    Attributes:
        folder: Where they are.
        sample: The first table.
        case_images: The second.
    """

    folder: Path
    sample: pa.Table
    case_images: pa.Table

    def options(self, out: Path, rows: dict[str, Any], name: str, **more: Any) -> list[str]:
        """Options of stages.findings.answer."""
        named = {"params": json.dumps({"findings": {"arms": rows}}), "arm": name, "shard": "1-of-1"}
        named |= {"sample": self.folder / "sample.parquet", "case-images": self.folder / "case_images.parquet"}
        named |= {"answers": out / f"{name}.parquet", "timing": out / f"{name}_timing.json", **more}
        return [text for key, value in named.items() for text in (f"--{key}", str(value))]


GOLDS = ("There is no mass.", "There is a large mass in the left abdomen.")


def write_cases(folder: Path, roles: Sequence[str] = ROLES, golds: tuple[str, str] = GOLDS) -> Cases:
    """Cases with 1, 2 or 3 noise images; every second one has the first gold text, the others the second."""
    rng = np.random.default_rng(5)
    folder.mkdir(parents=True, exist_ok=True)
    sample, images = [], []
    for number, role in enumerate(roles):
        case_id, count = f"MPX{number:04d}", 1 + number % 3
        for place in range(count):
            path = folder / f"{case_id}_{place}.png"
            cv2.imwrite(str(path), rng.integers(0, 256, (40, 48), dtype=np.uint8))
            images.append(
                {"case_id": case_id, "number": place, "image_id": path.stem, "path": str(path), "modality": "CT"}
                | {"described_as": "CT", "shows": "slice", "plane": "axial", "caption": f"A caption of {path.stem}."}
                | {"width_px": 48, "height_px": 40, "mode": "L", "bytes": path.stat().st_size, "status": "ok"}
                | {"sha256": files.sha256_file(path), "pixel_sha256": files.sha256_json([case_id, place])}
            )
        sample.append(
            {"case_id": case_id, "role": role, "region": "abdomen", "modality": "CT", "numbers": list(range(count))}
            | {
                "history": f"Pain of {number} weeks {{x}}",
                "gold": golds[number % 2],
                "gold_scope": "imaged_only",
                "flags": [],
            }
        )
    found = Cases(folder, tables.from_rows(sample, SAMPLE), tables.from_rows(images, CASE_IMAGES))
    tables.write(folder / "sample.parquet", found.sample, SAMPLE)
    tables.write(folder / "case_images.parquet", found.case_images, CASE_IMAGES)
    return found


@pytest.fixture(scope="session")
def tiny_cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """Nine cases of all roles."""
    return write_cases(tmp_path_factory.mktemp("cases"))
