"""Folders of images with reports, in the layouts that the chapter lofi reads, and parameters to read them by."""

import csv
import gzip
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


MIMIC_REPORT = "The heart is normal.\nA nodule in the left lung, seen by Dr. Smith."


def mimic_ids(number: int) -> dict[str, str]:
    """Ids of a study, its patient, and its image."""
    return {"patient": f"1000000{number}", "study": f"5000000{number}", "image": f"{number:08x}-aaaa-bbbb-cccc-dddd"}


def mimic_annotation(number: int, **changes: Any) -> dict[str, Any]:
    """An entry of LLaVA-Rad's annotations."""
    ids = mimic_ids(number)
    entry = {
        "id": ids["image"],
        "image": f"mimic/p10/p{ids['patient']}/s{ids['study']}/{ids['image']}.jpg",
        "view": "PA",
        "generate_method": "gpt4",
        "conversations": [
            {"from": "human", "value": "<image>\nDescribe the findings."},
            {"from": "gpt", "value": MIMIC_REPORT},
        ],
        "impression": "A nodule.",
        "chexpert_labels": {"No Finding": 0.0, "Lung Lesion": 1.0},
    }
    return {**entry, **changes}


def mimic_answers(number: int, bboxes: Sequence[Any] = ((8, 4, 32, 24),)) -> dict[str, Any]:
    """Questions and answers of MIMIC-Ext-CXR-QBA about a study: one answer is taken, twice, and all others are not."""
    ids = mimic_ids(number)
    place = {"bboxes": [list(box) for box in bboxes], "is_fallback": False, "localization_quality": 3}
    answer = {
        "text": "There is a nodule in the left lung.",
        "positiveness": "pos",
        "from_report": True,
        "certainty": "certain",
        "laterality": "left",
        "localization": {ids["image"]: place},
        "sub_answers": [],
    }
    others = ({"positiveness": "neg"}, {"from_report": False}, {"localization": {"another": place}})
    question = {"question_id": f"q{number}", "contains_report_answers": True, "question_quality": 4}
    questions = [
        {**question, "answers": [answer, *({**answer, **other} for other in others)]},
        {**question, "answers": [answer]},
        {**question, "contains_report_answers": False, "answers": [answer]},
        {**question, "question_id": "poor", "question_quality": 1, "answers": [answer]},
    ]
    return {"patient_id": ids["patient"], "study_id": ids["study"], "questions": questions}


def mimic(
    root: Path,
    *,
    count: int = 3,
    annotations: Sequence[Mapping[str, Any]] | None = None,
    split: Sequence[Mapping[str, Any]] | None = None,
    quality: Mapping[str, Any] | None = None,
    answers: Sequence[Mapping[str, Any]] | None = None,
    zipped: bool = False,
    listed: bool = False,
) -> Path:
    """MIMIC-CXR with LLaVA-Rad's annotations, MIMIC-Ext-CXR-QBA's exports and CheXmask's table."""
    ids = [mimic_ids(number) for number in range(count)]
    for number, one in enumerate(ids):
        folder = root / "files" / "p10" / f"p{one['patient']}" / f"s{one['study']}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{one['image']}.png").write_bytes(png(image(number, **SIDE)))
    entries = [mimic_annotation(number) for number in range(count)] if annotations is None else annotations
    for name, part in (("train", entries[:-1]), ("test", entries[-1:])):
        path = root / f"chat_{name}_MIMIC_CXR_all_gpt4extract_rulebased_v1.json"
        path.write_text(json.dumps(part))
    if split is None:
        split = [
            {"dicom_id": one["image"], "study_id": one["study"], "subject_id": one["patient"], "split": name}
            for one, name in zip(ids, ("train", "validate", "test") * count, strict=False)
        ]
    write_csv(root / "split.csv", split)
    with gzip.open(root / "mimic-cxr-2.0.0-split.csv.gz", "wb") as handle:
        handle.write((root / "split.csv").read_bytes())
    (root / "split.csv").unlink()
    quality = {one["image"]: 0.9 for one in ids} if quality is None else quality
    write_csv(
        root / "OriginalResolution" / "MIMIC-CXR-JPG.csv",
        [{"dicom_id": name, "Left Lung": "1 2 3", "Dice RCA (Mean)": value} for name, value in quality.items()],
    )
    documents = [mimic_answers(number) for number in range(count)] if answers is None else answers
    inside = {f"qa/p10/p{one['patient_id']}/s{one['study_id']}.qa.json": json.dumps(one) for one in documents}
    exports = root / "exports" / "A_frontal"
    exports.mkdir(parents=True, exist_ok=True)
    if zipped:
        with zipfile.ZipFile(exports / "qa.zip", "w") as archive:
            for name, text in inside.items():
                archive.writestr(name, text)
    else:
        for name, text in inside.items():
            (exports / name).parent.mkdir(parents=True, exist_ok=True)
            (exports / name).write_text(text)
    if listed:
        write_csv(exports / "metadata" / "App", [{"question_id": f"q{number}"} for number in range(count)])
    else:
        write_csv(root / "quality_mappings.csv", [{"code": 1, "grade": "B"}, {"code": 4, "grade": "A++"}])
    return root
