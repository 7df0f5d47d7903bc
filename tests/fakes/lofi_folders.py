"""Folders of images with reports, in the layouts that the chapter lofi reads, and parameters to read them by."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pngs import image, png

from stages.lofi import ingest, pair

SIDE = {"width": 64, "height": 48}  # of the images
REPORT = (("A nodule on the left.", "nodule"), ("Normal heart.", "heart; size"))


def ingest_params(root: Path, **changes: Any) -> ingest.Params:
    """Parameters of `lofi.ingest` for small images, without a rejected one."""
    shipped: dict[str, Any] = {
        "root": str(root),
        "layout": "auto",
        "terms": "open",
        "accept": (),
        "max_rejected": 0,
        "max_pixels": 100_000,
        "same_correlation": 0.9,
        "similar_correlation": 0.8,
        "min_quality": 0.7,
        "grades": ("A++",),
    }
    return ingest.Params(**{**shipped, **changes})


def pair_params(**changes: Any) -> pair.Params:
    """Parameters of `lofi.pair`."""
    shipped: dict[str, Any] = {
        "fusion_iou": 1.0,
        "normal_fraction": 1.0,
        "sentences_per_part": 5,
        "fractions": (0.6, 0.2, 0.2),
        "shared": "refuse",
        "seed": 0,
    }
    return pair.Params(**{**shipped, **changes})


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as a CSV with a header; the columns are those of all rows, in the order found."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        writer.writerows(rows)


def write_images(folder: Path, names: Sequence[str]) -> None:
    """An image of noise of each name, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).write_bytes(png(image(number, **SIDE)))


def own(
    root: Path,
    *,
    names: Sequence[str] = ("a.png", "b.png", "c.png"),
    sentences: Sequence[Mapping[str, Any]] | None = None,
    boxes: Sequence[Mapping[str, Any]] | None = None,
    images: Sequence[Mapping[str, Any]] | None = None,
) -> Path:
    """The project's own layout: by default two sentences of each image, and a box of the first."""
    write_images(root / "images", names)
    if sentences is None:
        sentences = [
            {"image": name, "number": number, "sentence": text, "abnormal": number == 0, "labels": label}
            for name in names
            for number, (text, label) in enumerate(REPORT)
        ]
    if boxes is None:
        boxes = [{"image": name, "number": 0, "x0": 8, "y0": 4, "x1": 32, "y1": 24} for name in names]
    write_csv(root / "sentences.csv", sentences)
    if boxes:
        write_csv(root / "boxes.csv", boxes)
    if images is not None:
        write_csv(root / "images.csv", images)
    return root
