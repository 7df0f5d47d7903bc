"""Reading and checking of PadChest-GR's tables at their true size, from the archive in 37 parts; no image is opened."""

import io
import json
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from stages.lib.images import reports
from stages.lib.images.reports import edges
from stages.lib.images.reports.reported import Options
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=reports"
STUDIES, POSITIVE, NEGATIVE, PARTS = 4555, 7037, 3422, 37
SIDE_PX = 2500
ROUNDS, AT_MOST_SECONDS = 3, 10.0


def folder(root: Path) -> None:
    """Tables as PadChest-GR's, of drawn content, and an archive of as many empty files."""
    rng = np.random.default_rng(0)
    findings: list[list[dict[str, object]]] = [[] for _ in range(STUDIES)]
    for number in range(POSITIVE + NEGATIVE):
        finding: dict[str, object] = {"sentence_en": f"Sentence {number}.", "sentence_es": f"Frase {number}."}
        if number < POSITIVE:
            corner = rng.uniform(0, 0.5, (2, 2))
            boxes = np.concatenate([corner, corner + rng.uniform(0.1, 0.4, (2, 2))], axis=1).round(4).tolist()
            finding |= {"abnormal": True, "boxes": boxes[: 1 + number % 2], "extra_boxes": boxes[1:]}
            finding |= {"labels": ["nodule"], "locations": ["left"], "progression": None}
        findings[number % STUDIES].append(finding)
    told = [{"StudyID": f"S{n}", "ImageID": f"{n}.png", "findings": one} for n, one in enumerate(findings)]
    (root / "grounded_reports_20240819.json").write_text(json.dumps(told))
    rows = [
        f"S{n},{n}.png,P{n},F,nodule,1,{('train', 'validation', 'test')[n % 3]}\n"
        for n, one in enumerate(findings)
        for _ in one
    ]
    header = "StudyID,ImageID,PatientID,PatientSex_DICOM,label_group,boxes_count,split\n"
    (root / "master_table.csv").write_text(header + "".join(rows))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(STUDIES):
            archive.writestr(f"PadChest_GR/{number}.png", b"")
    data = packed.getvalue()
    size = -(-len(data) // PARTS)
    for part in range(PARTS):
        (root / f"PadChest_GR.zip.{part + 1:03d}").write_bytes(data[part * size : (part + 1) * size])


def read(root: Path) -> float:
    """Seconds to read and check everything but the images.

    Raises:
        ValueError: If it did not find what was written.
    """
    start = time.perf_counter()
    found = reports.read(root, Options())
    faults = [edges.fault(box, SIDE_PX, SIDE_PX) for one in found.images for box in one.told.boxes]
    seconds = time.perf_counter() - start
    sentences = sum(len(one.told.sentences) for one in found.images)
    if found.problems or any(faults) or (len(found.images), sentences) != (STUDIES, POSITIVE + NEGATIVE):
        raise ValueError(f"found {len(found.images)} images, {sentences} sentences, problems {found.problems[:3]}")
    return seconds


def bench() -> dict[str, Result]:
    """Seconds to read and check the tables of PadChest-GR."""
    with tempfile.TemporaryDirectory(prefix="noduleflow-bench-") as name:
        folder(Path(name))
        runs = [read(Path(name)) for _ in range(ROUNDS)]
    return {
        "reports.padchest_gr_tables": Result(
            value=float(np.median(runs)),
            unit="s",
            label=MEASURED,
            command=COMMAND,
            low=min(runs),
            high=max(runs),
            runs=runs,
            at_most=AT_MOST_SECONDS,
            note=f"{STUDIES} studies, {POSITIVE + NEGATIVE} sentences, {PARTS} parts of an archive",
        )
    }
