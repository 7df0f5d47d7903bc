"""Folders in the layout of MedPix 2.0 with drawn texts and noise for images, one of them with the data set's counts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pngs import png

CATEGORIES = {
    "head": "Head",
    "thorax": "Thorax",
    "abdomen": "Abdomen",
    "spine": "Spine and Muscles",
    "urinary": "Reproductive and Urinary System",
}
# Cases of CT, of both and of MR with ten words of findings or more, and those of them that name no other study.
LONG = {
    "head": (66, 45, 86), "thorax": (115, 4, 8), "abdomen": (116, 6, 5), "spine": (36, 15, 72), "urinary": (47, 1, 8),
}  # fmt: skip
IMAGED_ONLY = {
    "head": (57, 40, 81), "thorax": (54, 4, 3), "abdomen": (80, 5, 3), "spine": (18, 7, 35), "urinary": (34, 1, 3),
}  # fmt: skip
ALL = {"head": 223, "thorax": 132, "abdomen": 131, "spine": 126, "urinary": 59}
WITHOUT_FINDINGS, WITHOUT_HISTORY = 17, 7
CT_IMAGES, MR_IMAGES = 1062, 988
ODD_MODALITIES = ("Drawing or Diagram",) * 3 + ("CT - Virtual Colonoscopy",) * 2 + ("Montage",)
ODD_PLANES = ("Mosaic/Montage",) * 21 + ("3D",) * 19
SIDE_PX = 32
GOLD = "There is a large mass in the right part. There are no other findings."


@dataclass(frozen=True)
class Case:
    """A case to write."""

    case_id: str
    region: str = "head"
    ct: int = 1
    mr: int = 0
    gold: str | None = GOLD
    history: str | None = "A patient with pain."
    diagnosis: str = "Oddity of the third kind"

    def images(self, modality: str) -> list[str]:
        """Names of its images of CT or of MR."""
        count = self.ct if modality == "CT" else self.mr
        return [f"{self.case_id}_synpic{modality}{number}" for number in range(count)]


def entry(case: Case) -> dict[str, Any]:
    """A row of Case_topic.json."""
    told = {"Title": f"TITLE of {case.case_id}", "Case Diagnosis": case.diagnosis, "Diagnosis By": "N/A"}
    told |= {} if case.history is None else {"History": case.history}
    told |= {} if case.gold is None else {"Findings": case.gold}
    topic = {"Title": "TOPIC", "Disease Discussion": "TOPIC", "ACR Code": "1.1", "Category": "TOPIC"}
    return {
        "U_id": case.case_id, "TAC": case.images("CT"), "MRI": case.images("MR"), "Case": told, "Topic": topic,
    }  # fmt: skip


def descriptions(case: Case) -> list[dict[str, Any]]:
    """Its rows of Descriptions.json."""
    return [
        {
            "Type": modality,
            "U_id": case.case_id,
            "image": name,
            "Description": {
                "ACR Codes": "1.1",
                "Age": "61",
                "Caption": f"Caption of {name}.",
                "Figure Part": None,
                "Modality": "CT w/contrast (IV)" if modality == "CT" else "MR - T2 weighted",
                "Plane": "Axial",
                "Sex": "female",
            },
            "Location": "Somewhere",
            "Location Category": CATEGORIES.get(case.region, case.region),
        }
        for modality in ("CT", "MR")
        for name in case.images(modality)
    ]


def noise(seed: int) -> bytes:
    """A PNG of noise, RGB with equal channels."""
    grey = np.random.default_rng(seed).integers(0, 256, (SIDE_PX, SIDE_PX), np.uint8)
    return png(np.dstack([grey] * 3))


def write(root: Path, cases: Sequence[Case]) -> Path:
    """Write a folder with these cases; each image is another one."""
    tell(root, [entry(case) for case in cases], [one for case in cases for one in descriptions(case)])
    (root / "images").mkdir(parents=True, exist_ok=True)
    names = [name for case in cases for modality in ("CT", "MR") for name in case.images(modality)]
    for seed, name in enumerate(names):
        (root / "images" / f"{name}.png").write_bytes(noise(seed))
    return root


def tell(root: Path, entries: Any, described: Any) -> None:
    """Write the two tables of a folder."""
    root.mkdir(parents=True, exist_ok=True)
    for name, rows in (("Case_topic.json", entries), ("Descriptions.json", described)):
        (root / name).write_text(json.dumps(rows), encoding="utf-8")


def as_published() -> tuple[list[Case], list[dict[str, Any]]]:
    """Cases and descriptions with the counts of MedPix 2.0; their order says nothing."""
    cases: list[Case] = []
    short = 0
    for region, counts in LONG.items():
        for (ct, mr), count, imaged in zip(((1, 0), (1, 1), (0, 1)), counts, IMAGED_ONLY[region], strict=True):
            for number in range(count):
                gold = GOLD if number < imaged else f"The chest radiograph was normal. {GOLD}"
                cases.append(Case(f"MPX{len(cases):04d}", region, ct, mr, gold))
        for _ in range(ALL[region] - sum(counts)):
            gold = None if short < WITHOUT_FINDINGS else "A small mass."
            cases.append(Case(f"MPX{len(cases):04d}", region, gold=gold))
            short += 1
    cases = [replace(case, history=None) if number < WITHOUT_HISTORY else case for number, case in enumerate(cases)]
    for key, wanted in (("ct", CT_IMAGES), ("mr", MR_IMAGES)):
        held = [place for place, case in enumerate(cases) if getattr(case, key)]
        each, more = divmod(wanted, len(held))
        for turn, place in enumerate(held):
            cases[place] = replace(cases[place], **{key: each + (turn < more)})
    described = [one for case in cases for one in descriptions(case)]
    # Odd images are second ones of their cases, so that no case is without a slice.
    seconds = [one for one in described if one["image"].endswith("1")]
    ct = [one for one in seconds if one["Type"] == "CT"]
    for one, modality in zip(ct[::10], ODD_MODALITIES, strict=False):
        one["Description"]["Modality"] = modality
    rest = [one for one in seconds if one not in ct[::10]]
    for one, plane in zip(rest[::7], ODD_PLANES, strict=False):
        one["Description"]["Plane"] = plane
    order = np.random.default_rng(0).permutation(len(cases))
    return [cases[place] for place in order], described
