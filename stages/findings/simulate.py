"""Simulate a folder in the layout of MedPix 2.0: cases of drawn CT and MR slices with their findings as text.

out  out  a folder: Case_topic.json, Descriptions.json, images/; and truth.json, which no stage reads: for each case, on
          which of its images the findings are, and what is odd about it

The drawn cases have the oddities of the real ones, each in a stated fraction: gold texts that speak of another study or
point at captions, a diagnosis in the history or in the gold text, drawings and montages among the images, both
modalities in a case, characters beyond ASCII and line ends of two characters, missing values, and a case that shows
another one's images again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.core import cli, files, params
from stages.lib.core.log import LOG
from stages.lib.core.progress import track
from stages.lib.demo.synthetic import case_texts, slice_anatomy, slice_findings, slice_texts, slices
from stages.lib.demo.synthetic.slice_anatomy import MODALITIES, REGIONS
from stages.lib.demo.synthetic.slice_findings import Finding
from stages.lib.demo.synthetic.slices import Slice

PLAN_STREAM, CASE_STREAM = 0, 1
FIRST_ID, FIRST_IMAGE = 1001, 10001
LISTS = {"CT": "TAC", "MR": "MRI"}
LINE_GREY, PAPER_GREY = 20, 245  # of a drawing


@params.section
class Params:
    """Number of cases, what is on their images, and how often their records are odd."""

    seed: params.Seed
    cases_per_stratum: params.Count  # of each region and modality
    copied_cases: params.NonNegativeInt  # further cases that show the images of another one again
    normal_fraction: params.Fraction  # of the cases of a stratum, without a finding
    second_finding_fraction: params.Fraction  # of the others, with two findings
    two_images_fraction: params.Fraction  # of the cases of a stratum, with two slices of its modality
    second_only_fraction: params.Fraction  # of these, where only the second slice shows the findings
    contrast: tuple[params.Fraction, params.Fraction]  # faintest and clearest finding
    both_modalities_fraction: params.Fraction  # of the cases of a stratum, with a slice of the other modality too
    drawing_fraction: params.Fraction  # with a drawing among the images, whose own Modality says so
    montage_fraction: params.Fraction  # with a montage among the images, whose own Plane says so
    other_studies_fraction: params.Fraction  # gold speaks of a study that is not there
    at_captions_fraction: params.Fraction  # gold points at captions
    diagnosis_in_history_fraction: params.Fraction
    diagnosis_in_gold_fraction: params.Fraction
    beyond_ascii_fraction: params.Fraction  # gold has characters beyond ASCII, and line ends of two characters
    missing_fraction: params.Fraction  # age, sex and exam are not given
    missing_findings: params.NonNegativeInt  # cases whose findings are not given at all

    def __post_init__(self) -> None:
        if self.contrast[0] > self.contrast[1]:
            raise ValueError(f"contrast from small to large (it is {list(self.contrast)})")
        cases = self.cases_per_stratum * len(REGIONS) * len(MODALITIES)
        if max(self.copied_cases, self.missing_findings) > cases:
            raise ValueError(f"copied_cases and missing_findings of at most {cases}, the number of cases")


ODD = (  # fractions of the cases of a stratum
    "normal",
    "both_modalities",
    "drawing",
    "montage",
    "other_studies",
    "at_captions",
    "diagnosis_in_history",
    "diagnosis_in_gold",
    "beyond_ascii",
    "missing",
)


@dataclass(frozen=True)
class Order:
    """One case to be made.

    Attributes:
        number: Its number; with the seed it decides its random numbers.
        region: Its region.
        modality: Its modality.
        findings: How many findings it has.
        shown: Of each slice of its modality, whether the findings are on it.
        odd: What is odd about it: of ODD, and missing_findings.
    """

    number: int
    region: str
    modality: str
    findings: int
    shown: tuple[bool, ...]
    odd: frozenset[str]


@dataclass(frozen=True)
class Shown:
    """One image of a case.

    Attributes:
        modality: In which of the case's lists it is.
        pixels: uint8 of shape (side, side).
        described_as: Its own modality.
        plane: Its plane.
        caption: What is written of it.
        findings: What is to be seen on it; None for a drawing or a montage.
    """

    modality: str
    pixels: np.ndarray
    described_as: str
    plane: str
    caption: str
    findings: tuple[Finding, ...] | None


@dataclass(frozen=True)
class Case:
    """One case as drawn.

    Attributes:
        order: What was wanted.
        images: Its images: CT before MR.
        findings: Its findings, the key finding first.
        texts: Its texts, as MedPix 2.0 has them under `Case`.
        sex: male, female, or that it is not given.
        age: Age in years as text, or that it is not given.
    """

    order: Order
    images: tuple[Shown, ...]
    findings: tuple[Finding, ...]
    texts: Mapping[str, str]
    sex: str
    age: str


def plan(params: Params) -> list[Order]:
    """Cases to make, in the order of their numbers; each fraction is exact in each stratum, to rounding."""
    rng = np.random.default_rng([params.seed, PLAN_STREAM])
    orders: list[Order] = []
    for region in REGIONS:
        for modality in MODALITIES:
            orders += _stratum(rng, params, region, modality, first=len(orders))
    without = set(rng.permutation(len(orders))[: params.missing_findings].tolist())
    return [
        Order(**{**vars(order), "odd": order.odd | {"missing_findings"}}) if order.number in without else order
        for order in orders
    ]


def _stratum(rng: np.random.Generator, params: Params, region: str, modality: str, *, first: int) -> list[Order]:
    count = params.cases_per_stratum
    odd = {name: _drawn(rng, range(count), getattr(params, f"{name}_fraction")) for name in ODD}
    abnormal = [i for i in range(count) if i not in odd["normal"]]
    double = _drawn(rng, abnormal, params.second_finding_fraction)
    pairs = _drawn(rng, range(count), params.two_images_fraction)
    late = _drawn(rng, sorted(pairs), params.second_only_fraction)
    return [
        Order(
            first + i,
            region,
            modality,
            0 if i in odd["normal"] else 1 + (i in double),
            (i not in late, True) if i in pairs else (True,),
            frozenset(name for name in ODD if i in odd[name]),
        )
        for i in range(count)
    ]


def _drawn(rng: np.random.Generator, places: Sequence[int], fraction: float) -> set[int]:
    return {places[k] for k in rng.permutation(len(places))[: round(fraction * len(places))].tolist()}


def simulate(order: Order, params: Params) -> Case:
    """One case; it depends on the seed, the order and the range of contrast alone."""
    rng = np.random.default_rng([params.seed, CASE_STREAM, order.number])
    of_patient, of_slices, of_texts = rng.spawn(3)
    body = slice_anatomy.body(of_patient, order.region)
    found = slice_findings.findings(of_patient, order.region, order.findings)
    other = MODALITIES[1 - MODALITIES.index(order.modality)]
    wanted = [(order.modality, visible) for visible in order.shown]
    wanted += [(other, True)] if "both_modalities" in order.odd else []
    drawn = [
        slices.draw(child, body, modality, found if visible else (), contrast=params.contrast)
        for child, (modality, visible) in zip(of_slices.spawn(len(wanted)), wanted, strict=True)
    ]
    images = [_slice(of_texts, one) for one in drawn]
    images += [_drawing(order, body)] if "drawing" in order.odd else []
    images += [_montage(order, drawn)] if "montage" in order.odd else []
    sex, age = ("female", "male")[int(of_texts.integers(2))], int(of_texts.integers(18, 90))
    texts = _texts(of_texts, order, found, sex, age)
    missing = "missing" in order.odd
    return Case(
        order,
        tuple(sorted(images, key=lambda image: image.modality)),
        found,
        texts,
        case_texts.MISSING if missing else sex,
        case_texts.MISSING if missing else str(age),
    )


def _slice(rng: np.random.Generator, drawn: Slice) -> Shown:
    sequences = case_texts.SEQUENCES[drawn.modality]
    report = slice_texts.report(drawn.findings, drawn.region, rng)
    return Shown(
        drawn.modality,
        drawn.pixels,
        sequences[int(rng.integers(len(sequences)))],
        "Axial",
        case_texts.caption(drawn.modality, drawn.region, report),
        drawn.findings,
    )


def _drawing(order: Order, body: slice_anatomy.Body) -> Shown:
    """Outlines of a body on paper, in the list of CT or MR images as the real ones are."""
    plain = slices.draw(np.random.default_rng(order.number), body, order.modality, contrast=(0.0, 0.0)).pixels
    coarse = plain.astype(int) // 48
    edges = np.zeros(plain.shape, bool)
    edges[:, 1:] |= coarse[:, 1:] != coarse[:, :-1]
    edges[1:] |= coarse[1:] != coarse[:-1]
    paper = np.where(edges, LINE_GREY, PAPER_GREY).astype(np.uint8)
    return Shown(order.modality, paper, "Drawing or Diagram", case_texts.MISSING, "Drawing of the region.", None)


def _montage(order: Order, drawn: Sequence[Slice]) -> Shown:
    """Four slices side by side, of half the size."""
    tiles = [drawn[i % len(drawn)].pixels[::2, ::2] for i in range(4)]
    pixels = np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])
    sequence = case_texts.SEQUENCES[order.modality][0]
    return Shown(order.modality, pixels, sequence, "Axial montage", "All slices at once.", None)


def _texts(rng: np.random.Generator, order: Order, found: Sequence[Finding], sex: str, age: int) -> dict[str, str]:
    """Texts of a case, the keys in the order of the real ones."""
    diagnosis = case_texts.DIAGNOSES[found[0].kind if found else ""]
    history = case_texts.history(rng, sex, age)
    history += f" Known {diagnosis.lower()}." if "diagnosis_in_history" in order.odd else ""
    gold = [slice_texts.report(found, order.region, rng)]
    gold += [f"This is a {diagnosis.lower()}."] if "diagnosis_in_gold" in order.odd else []
    study = case_texts.OTHER_STUDIES[int(rng.integers(len(case_texts.OTHER_STUDIES)))]
    gold += [study] if "other_studies" in order.odd else []
    gold += [case_texts.AT_CAPTIONS] if "at_captions" in order.odd else []
    gold += [case_texts.BEYOND_ASCII] if "beyond_ascii" in order.odd else []
    line_end = "\r\n\r\n" if "beyond_ascii" in order.odd else " "
    return {
        "Title": diagnosis,
        "History": history,
        "Exam": case_texts.MISSING if "missing" in order.odd else "No other sign.",
        "Findings": case_texts.MISSING if "missing_findings" in order.odd else line_end.join(gold),
        "Differential Diagnosis": diagnosis,
        "Case Diagnosis": diagnosis,
        "Diagnosis By": "Drawn by a program",
    }


def documents(cases: Sequence[Case], copied: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The JSON files by name, and the images by name.

    Args:
        cases: The cases.
        copied: How many of the first ones are there once more, under another id and other names of images.
    """
    topics, described, truth, images = [], [], [], {}
    image_number = FIRST_IMAGE
    for number, case in enumerate([*cases, *cases[:copied]]):
        case_id = f"MPX{FIRST_ID + number}"
        region = case.order.region
        place = {"Location": case_texts.LOCATIONS[region], "Location Category": case_texts.CATEGORIES[region]}
        listed: dict[str, list[str]] = {key: [] for key in LISTS.values()}
        for image in case.images:
            name = f"{case_id}_synpic{image_number}"
            image_number += 1
            listed[LISTS[image.modality]].append(name)
            images[name] = image.pixels
            description = {
                "ACR Codes": "0.0",
                "Age": case.age,
                "Caption": image.caption,
                "Figure Part": None,
                "Modality": image.described_as,
                "Plane": image.plane,
                "Sex": case.sex,
            }
            described.append(
                {"Type": image.modality, "U_id": case_id, "image": name, "Description": description, **place}
            )
        topic = {"Title": case.texts["Title"], "Disease Discussion": "Drawn.", "ACR Code": "0.0", "Category": "Drawn"}
        topics.append({"U_id": case_id, **listed, "Case": dict(case.texts), "Topic": {**topic, **place}})
        truth.append(
            {
                "U_id": case_id,
                "copy_of": f"MPX{FIRST_ID + number - len(cases)}" if number >= len(cases) else None,
                "stratum": f"{region} {case.order.modality}",
                "findings": [asdict(finding) for finding in case.findings],
                "on": [None if image.findings is None else bool(image.findings) for image in case.images],
                "odd": sorted(case.order.odd),
            }
        )
    return {"Case_topic.json": topics, "Descriptions.json": described, "truth.json": truth}, images


def write(params: Params, out: Path) -> None:
    """Make all cases as the folder `out`; it takes the place of an older one only when it is whole.

    Args:
        params: See `Params`.
        out: The folder.
    """
    import cv2

    orders = plan(params)
    cases = [simulate(order, params) for order in track(orders, total=len(orders), what="simulate", unit="cases")]
    mixed = np.random.default_rng([params.seed, PLAN_STREAM, len(cases)]).permutation(len(cases)).tolist()
    tables, images = documents([cases[i] for i in mixed], params.copied_cases)
    with files.replacing_folder(out) as beside:
        (beside / "images").mkdir()
        for name, pixels in images.items():
            _, png = cv2.imencode(".png", np.dstack([pixels] * 3))
            (beside / "images" / f"{name}.png").write_bytes(png.tobytes())
        for name, table in tables.items():
            (beside / name).write_bytes(json.dumps(table, indent=4, ensure_ascii=False).encode())
    LOG.info("simulate: %d cases with %d images in %s", len(tables["Case_topic.json"]), len(images), out)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the parameters, write the folder."""
    args = cli.parse(__doc__, argv, params={"findings.simulate": Params}, writes=("out",))
    write(args.params.simulate, Path(args.out))


if __name__ == "__main__":
    cli.run(main)
