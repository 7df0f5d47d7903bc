"""What the demo's base of the findings benchmark knows, on drawn cases that nobody was taught on.

    python -m workflow.slices_quality          write the table in workflow/demo_findings_base/README.md
    python -m workflow.slices_quality --check  measure again and compare with it

The cases are drawn as the study's are (findings.simulate of the demo, without drawings and montages), with another
seed. They are asked as an arm in process asks, decoded greedily, and read by the benchmark's own extractor.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stages.findings import simulate
from stages.lib.core import files, params
from stages.lib.demo.synthetic.slice_texts import REGION_WORDS
from stages.lib.metrics.text import extract
from workflow import base_record

SEED, PER_STRATUM, BATCH, MAX_TOKENS = 991, 12, 32, 60
TOLERANCE = 0.08  # of a fraction measured on another type of processor
HEADING = "## What it knows"
INTRO = """\
On {n} new cases, drawn as the study's are (contrast {contrast}; {abnormal} with a finding, {late} of them with the
findings on the second image alone), by greedy decoding. The key finding is right if an answer has its kind on its side.
F1 is over all findings, by kind and side. A normal case is right if its answer has no finding.

| asked | images | key finding | kind | side | normal cases | F1 |
|---|---|---|---|---|---|---|
"""
NOTES = """
The answers to the first line, each given to the next case, have the key finding right in {shifted:.2f}; the best
constant answer in {constant:.2f}. Measured by `python -m workflow.slices_quality`.
"""


@dataclass(frozen=True)
class Way:
    """One way to ask about a case.

    Attributes:
        label: In the table.
        prompt: With {modality} and {region}.
        images: all or first.
        image_first: Whether the images stand before the prompt.
        system: System message, or nothing.
    """

    label: str
    prompt: str
    images: str = "all"
    image_first: bool = True
    system: str = ""


def ways(row: Any) -> list[Way]:
    """Ways to ask: those that the base is taught, and some that it is not."""
    return [
        Way("general prompt", row.general_prompt),
        Way("general prompt", row.general_prompt, images="first"),
        Way("general prompt, system message", row.general_prompt, system=row.system),
        Way("general prompt, text first (with two images not taught)", row.general_prompt, image_first=False),
        Way("reworded prompt", row.reworded_prompt),
        Way("specific prompt", row.specific_prompt),
        Way("specific prompt, text first (not taught)", row.specific_prompt, image_first=False),
        Way("another wording (not taught)", "Report all abnormalities."),
        Way("general prompt behind a history (not taught)", "History: {history}\n\n" + row.general_prompt),
    ]


def drawn(root: Path) -> list[simulate.Case]:
    """Cases that nobody was taught on."""
    document = yaml.safe_load((root / base_record.PRESET).read_text())
    given = params.parse(document, {"findings.simulate": simulate.Params}).simulate
    none = dict.fromkeys(("drawing_fraction", "montage_fraction", "both_modalities_fraction"), 0.0)
    wanted = replace(given, seed=SEED, cases_per_stratum=PER_STRATUM, missing_findings=0, copied_cases=0, **none)
    return [simulate.simulate(order, wanted) for order in simulate.plan(wanted)]


def answers(cases: Sequence[simulate.Case], way: Way, loaded: Any, folder: Path) -> list[str]:
    """Answer to each case.

    Args:
        cases: The cases.
        way: How they are asked.
        loaded: The model.
        folder: Where their images are put.
    """
    from stages.lib.models.chat import local
    from stages.lib.models.chat.request import Message, Picture, Request, Sampling, Text

    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=MAX_TOKENS, seed=None)
    asked = []
    for case in cases:
        text = way.prompt.format(
            modality=case.order.modality, region=REGION_WORDS[case.order.region], history=case.texts["History"]
        )
        shown = case.images if way.images == "all" else case.images[:1]
        pictures = [picture(image.pixels, folder) for image in shown]
        given = tuple(Picture(path, files.sha256_file(path)) for path in pictures)
        parts: tuple[Text | Picture, ...] = (*given, Text(text)) if way.image_first else (Text(text), *given)
        said = [Message("system", (Text(way.system),))] if way.system else []
        asked.append(Request("case", "base", "none", (*said, Message("user", parts)), sampling))
    responder = local.Local(lambda: loaded, "base", "none", BATCH)
    replies = dict(responder.replies(asked))
    return [replies[number].text or "" for number in range(len(asked))]


def picture(pixels: np.ndarray, folder: Path) -> Path:
    """PNG of an image in a folder, as 8-bit RGB."""
    import cv2

    _, png = cv2.imencode(".png", np.dstack([pixels] * 3))
    path = folder / f"{files.sha256_json(pixels.tobytes().hex())}.png"
    path.write_bytes(png.tobytes())
    return path


def quality(cases: Sequence[simulate.Case], said: Sequence[str]) -> dict[str, float]:
    """Fractions of cases that are answered rightly.

    Args:
        cases: The cases.
        said: The answer to each.
    """
    reader = extract.extractor()
    found = [
        [(one.entity.removeprefix("NF:"), one.side) for one in reader.read(text).findings if one.presence == "present"]
        for text in said
    ]
    truth = [[(one.kind, one.side) for one in case.findings] for case in cases]
    ill = [number for number, one in enumerate(truth) if one]
    keys, told = [truth[number][0] for number in ill], [found[number] for number in ill]
    right = sum(len(set(one) & set(other)) for one, other in zip(truth, found, strict=True))
    return {
        "key": float(np.mean([key in one for key, one in zip(keys, told, strict=True)])),
        "kind": float(np.mean([key[0] in {kind for kind, _ in one} for key, one in zip(keys, told, strict=True)])),
        "side": float(np.mean([key[1] in {side for _, side in one} for key, one in zip(keys, told, strict=True)])),
        "normal": float(np.mean([not one for one, true in zip(found, truth, strict=True) if not true])),
        "f1": 2 * right / (sum(len(set(one)) for one in found) + sum(map(len, truth))),
        "shifted": float(np.mean([key in one for key, one in zip(keys, told[1:] + told[:1], strict=True)])),
        "constant": max(keys.count(key) for key in set(keys)) / len(keys),
    }


def measured(root: Path, folder: Path | None = None, few: Sequence[int] | None = None) -> list[dict[str, float]]:
    """Quality of each way to ask.

    Args:
        root: Folder of the checkout.
        folder: Folder of the base; None for the shipped one.
        few: Numbers of the ways that are asked; None for all.
    """
    from stages.lib.demo.bases import slices
    from stages.lib.models import gemma3

    base = base_record.bases(root)["slices"]
    cases = drawn(root)
    loaded = gemma3.load(folder or root / base.folder, slices.MODEL)
    chosen = [way for number, way in enumerate(ways(base.params)) if few is None or number in few]
    with tempfile.TemporaryDirectory() as images:
        return [quality(cases, answers(cases, way, loaded, Path(images))) for way in chosen]


def table(root: Path, found: Sequence[Mapping[str, float]]) -> str:
    """The part of the README that says what the base knows."""
    base, cases = base_record.bases(root)["slices"], drawn(root)
    document = yaml.safe_load((root / base_record.PRESET).read_text())
    low, high = params.parse(document, {"findings.simulate": simulate.Params}).simulate.contrast
    text = INTRO.format(
        n=len(cases),
        contrast=f"{low} to {high}, taught {base.params.contrast[0]} to {base.params.contrast[1]}",
        abnormal=sum(bool(case.findings) for case in cases),
        late=sum(bool(case.findings) and case.order.shown == (False, True) for case in cases),
    )
    for way, one in zip(ways(base.params), found, strict=True):
        figures = " | ".join(f"{one[name]:.2f}" for name in ("key", "kind", "side", "normal", "f1"))
        text += f"| {way.label} | {way.images} | {figures} |\n"
    return f"{HEADING}\n\n{text}{NOTES.format(**found[0])}"


def recorded(readme: str) -> list[list[float]]:
    """Figures of each line of the table in a README.

    >>> recorded("| asked | images | key |\\n|---|---|---|\\n| so | all | 0.50 |\\n")
    [[0.5]]
    """
    rows = [line.strip("|").split("|") for line in readme.splitlines() if line.startswith("| ")]
    return [[float(cell) for cell in row[2:]] for row in rows[1:]]


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if the table does not agree")
    check = parser.parse_args(argv).check
    path = base_record.bases(Path())["slices"].folder / "README.md"
    text, found = path.read_text(), measured(Path())
    if not check:
        path.write_text(text.partition(HEADING)[0].rstrip("\n") + "\n\n" + table(Path(), found))
        return
    names = ("key", "kind", "side", "normal", "f1")
    wrong = [
        f"line {number}, {name}: found {one[name]:.3f}, the table has {value}"
        for number, (one, row) in enumerate(zip(found, recorded(text), strict=True), 1)
        for name, value in zip(names, row, strict=True)
        if abs(one[name] - value) > TOLERANCE
    ]
    if wrong:
        sys.exit("\n".join([f"{path} does not agree:", *(f"  - {line}" for line in wrong)]))


if __name__ == "__main__":
    main()
