"""Folders of images with reports, in the layouts that the chapter lofi reads, and parameters to read them by."""

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
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


def padchest_report(number: int) -> dict[str, Any]:
    """A report of PadChest-GR: a positive sentence with boxes of two readers, and a negative one without the keys."""
    nodule = {
        "sentence_en": f"Nodule {number} in the left lung.",
        "sentence_es": f"Nódulo {number} en el pulmón izquierdo.",
        "abnormal": True,
        "boxes": [[0.25, 0.25, 0.5, 0.5], [0.5, 0.5, 0.75, 0.75]],
        "extra_boxes": [[0.25, 0.25, 0.5, 0.75]],
        "labels": ["nodule"],
        "locations": ["left"],
        "progression": None,
    }
    normal = {"sentence_en": "Normal heart.", "sentence_es": "Corazón normal.", "abnormal": False}
    return {"StudyID": f"S{number}", "ImageID": f"{number}.png", "findings": [nodule, normal]}


def padchest_master(count: int) -> list[dict[str, Any]]:
    """The master table: a row of each study and label."""
    row = {"PatientSex_DICOM": "F", "boxes_count": 2}
    return [
        {"StudyID": f"S{n}", "ImageID": f"{n}.png", "PatientID": f"P{n}", "label_group": group, "split": split, **row}
        for n, split in zip(range(count), ("train", "validation", "test") * count, strict=False)
        for group in ("nodule", "normal")
    ]


def padchest_gr(
    root: Path,
    *,
    reports: Sequence[Mapping[str, Any]] | None = None,
    master: Sequence[Mapping[str, Any]] | None = None,
    count: int = 3,
    parts: int = 0,
    zipped_table: bool = False,
) -> Path:
    """PadChest-GR: 16-bit PNG, unpacked or in an archive of several parts."""
    root.mkdir(parents=True, exist_ok=True)
    reports = [padchest_report(number) for number in range(count)] if reports is None else reports
    (root / "grounded_reports_20240819.json").write_text(json.dumps(reports, ensure_ascii=False), encoding="utf-8")
    write_csv(root / "master_table.csv", padchest_master(count) if master is None else master)
    if zipped_table:
        with zipfile.ZipFile(root / "master_table.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(root / "master_table.csv", "master_table.csv")
        (root / "master_table.csv").unlink()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(count):
            data = png(image(number, dtype=np.uint16, **SIDE))
            if parts:
                archive.writestr(f"PadChest_GR/{number}.png", data)
            else:
                (root / "images").mkdir(exist_ok=True)
                (root / "images" / f"{number}.png").write_bytes(data)
    if parts:
        cut(packed.getvalue(), root / "PadChest_GR.zip", parts)
    return root


def cut(data: bytes, path: Path, parts: int) -> None:
    """An archive in parts of one size but for the last, named .001 and so on."""
    size = -(-len(data) // parts)
    for number in range(parts):
        path.with_name(f"{path.name}.{number + 1:03d}").write_bytes(data[number * size : (number + 1) * size])
