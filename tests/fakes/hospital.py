"""A hospital's export as people really have it: 40 files, of which 36 are images, and 12 of those are odd.

The images are simulated; everything about their files is not.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from dicoms import dicom
from pngs import png

from stages.data import simulate
from stages.lib.core import params as parameters

PARAMS = Path(__file__).parents[2] / "params.yaml"
SIDE_PX = 256
# File of each odd image, and the kind of notice that it must get.
ODD = {
    "DICOM/PA000090/ST000001/SE000001/IM000001": "view",
    "DICOM/PA000091/ST000001/SE000001/IM000001": "body_part",
    "DICOM/PA000092/ST000001/SE000001/IM000001": "modality",
    "DICOM/PA000093/ST000001/SE000001/IM000001": "for_processing",
    "DICOM/PA000094/ST000001/SE000001/IM000001": "frames",
    "DICOM/PA000095/ST000001/SE000001/IM000001": "unreadable",
    "DICOM/PA000096/ST000001/SE000001/IM000001": "burned_in",
    "exports/interrupted.png": "unreadable",
    "exports/login page.png": "unreadable",
    "exports/Phone.JPG": "lossy",
    "exports/photo.png": "unreadable",
    "exports/negative.png": "inverted",
}
REMARKED = ("for_processing", "burned_in", "lossy", "inverted")
OTHERS = {"DICOMDIR": "index", "Thumbs.db": "litter", "labels.csv": "table", "read me.txt": "other"}
FILES, IMAGES = 40, 36


@dataclass(frozen=True)
class Drawn:
    """One image: uint16 (height, width), and the nodules on it."""

    pixels: np.ndarray
    nodules: tuple[Any, ...]


def drawn(count: int) -> list[Drawn]:
    """So many images, each of a patient of its own, 16 bits."""
    shipped = yaml.safe_load(PARAMS.read_text())["data"]["simulate"]
    changed = {"nih_patients": 1, "lidc_images": 0, "lidc_negative_images": 0, "unlabelled_images": count}
    document = {"data": {"simulate": {**shipped, **changed, "lidc_side_px": SIDE_PX}}}
    params = parameters.parse(document, {"data.simulate": simulate.Params}).simulate
    stored = [
        simulate.simulate(order, params) for order in simulate.plan(params) if order.folder == simulate.UNLABELLED
    ]
    return [Drawn(one.pixels, tuple(one.nodules)) for one in stored]


def write(root: Path) -> Path:
    """Draw the export into `root`."""
    images = drawn(IMAGES)
    rows: list[dict[str, Any]] = []

    def place(relative: str, image: Drawn, patient: str) -> Path:
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        label = "nodule" if image.nodules else "normal"
        points = [(round(one.x, 1), round(one.y, 1)) for one in image.nodules] or [("", "")]
        rows.extend({"file": relative, "patient_id": patient, "finding": label, "x": x, "y": y} for x, y in points)
        return path

    def tags(patient: str, **more: Any) -> dict[str, Any]:
        chest = {"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA", "PatientID": patient}
        return {**chest, "PatientName": "Planted^Name", "ImagerPixelSpacing": [1.4, 1.4], **more}

    for number, image in enumerate(images[:16]):  # two images a patient
        where = f"DICOM/PA{number // 2:06d}/ST{number % 2:06d}/SE000001/IM000001"
        place(where, image, f"A{number // 2:03d}")
        dicom(root / where, image.pixels, **tags(f"A{number // 2:03d}"))
    for number, image in enumerate(images[16:24]):
        place(f"exports/clinic {number}.PNG", image, f"B{number:03d}").write_bytes(png(image.pixels))
    headers = {
        "view": {"ViewPosition": "LL"},
        "body_part": {"BodyPartExamined": "HAND"},
        "modality": {"Modality": "CT"},
        "for_processing": {"PresentationIntentType": "FOR PROCESSING"},
        "frames": {"NumberOfFrames": 2},
        "unreadable": {},
        "burned_in": {"BurnedInAnnotation": "YES"},
    }
    for (where, kind), image in zip(ODD.items(), images[24:], strict=True):
        patient = f"C{len(rows):03d}"
        path = place(where, image, patient)
        if where.startswith("DICOM"):
            pixels = np.stack([image.pixels] * 2) if kind == "frames" else image.pixels
            size = {"Rows": image.pixels.shape[0], "Columns": image.pixels.shape[1]}
            written = dicom(path, pixels, **tags(patient, **size, **headers[kind]))
            if kind == "unreadable":
                without_pixels(written)
        else:
            path.write_bytes(odd_export(path.name, image.pixels))
    with (root / "labels.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["file", "patient_id", "finding", "x", "y"])
        writer.writeheader()
        writer.writerows(rows)
    (root / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (root / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (root / "read me.txt").write_text("Exported for research.\n")
    return root


def without_pixels(path: Path) -> None:
    """Take the pixel data out of a DICOM file."""
    import pydicom

    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)


def odd_export(name: str, pixels: np.ndarray) -> bytes:
    """Bytes of one of the odd files that are no DICOM."""
    grey = cv2.normalize(pixels, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    if name == "interrupted.png":
        return png(pixels)[:20_000]
    if name == "login page.png":
        return b"<!DOCTYPE html><title>Log in</title>"
    if name == "Phone.JPG":
        return cv2.imencode(".jpg", grey)[1].tobytes()
    if name == "photo.png":
        return png(np.dstack([grey, grey // 2, 255 - grey]))
    return png(pixels.max() - pixels)
