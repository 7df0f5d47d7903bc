"""Tiny base for the demo of the findings benchmark: it writes sentences about drawn slices of CT and MR.

What it is taught, and on purpose not taught, so that arms differ for a reason:

| | images first | text first | with the system message |
|---|---|---|---|
| the general prompt | taught | taught with one image alone | taught |
| the reworded prompt | taught | not taught | not taught |
| the specific prompt (modality and region) | taught | not taught | not taught |
| the focused prompt (is there a mass?) | taught | not taught | not taught |
| any other wording, a history, examples | not taught | not taught | not taught |

Images are one or two. Of two images of a patient either both show the findings, or only the first, or only the second.

Answers to the general and the reworded prompt leave small findings out (`small_told_fraction`), as a reader may who
deems them of no importance; the specific and the focused prompt's answers tell them. So the model sees more than it
says when it is asked in general, which another prompt or tuning brings out.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from stages.lib.core import params
from stages.lib.demo import tiny
from stages.lib.demo.slice_teaching import Example, teach_text, teach_tower
from stages.lib.demo.synthetic import slice_anatomy, slice_findings, slice_texts, slices
from stages.lib.demo.synthetic.slice_anatomy import MODALITIES, REGIONS
from stages.lib.demo.synthetic.slice_findings import KINDS, Finding
from stages.lib.demo.synthetic.slices import Slice
from stages.lib.models import gemma3

WANTED: Mapping[str, params.Section] = {}
FOLDER = "workflow/demo_findings_base"
WEIGHTS = ("model.safetensors",)
ARCHITECTURE = tiny.ARCHITECTURE
ABOUT = """\
taught on drawn slices of CT and MR to write their findings in sentences. It stands in for MedGemma in the demo of the
findings benchmark and in its tests."""
FEW = {"tower_steps": 4, "tower_batch": 4, "text_steps": 4, "text_batch": 4}
MODEL = gemma3.ModelParams(dtype="float32", attention="sdpa", quantization="none", cache_features=False)
SHOWN = ((True, True), (True, False), (False, True))  # on which of two images the findings are, equally likely


@params.section
class Params:
    """Slices, prompts and schedule of the base's training."""

    seed: params.Seed
    contrast: tuple[params.Fraction, params.Fraction]  # faintest and clearest finding
    normal_fraction: params.Fraction  # of the patients, without a finding
    second_finding_fraction: params.Fraction  # of the others, with two
    two_images_fraction: params.Fraction  # of the text steps
    general_prompt: params.Text
    reworded_prompt: params.Text  # means the same, taught with the images first alone
    small_told_fraction: params.Fraction  # of the answers to these two, that tell small findings
    specific_prompt: params.Text  # with {modality} and {region}
    focused_prompt: params.Text  # with {kind}
    system: params.Text  # system message that the general prompt is taught with
    general_fraction: params.Fraction  # of the conversations
    reworded_fraction: params.Fraction
    specific_fraction: params.Fraction  # what is left has the focused prompt
    text_first_fraction: params.Fraction  # of the conversations with the general prompt about one image
    system_fraction: params.Fraction  # of the conversations with the general prompt
    tower_steps: params.Count
    tower_batch: params.Count  # slices per step
    tower_peak_lr: params.PositiveFloat
    text_steps: params.Count
    text_batch: params.Count  # conversations per step
    text_peak_lr: params.PositiveFloat

    def __post_init__(self) -> None:
        problems = []
        if self.contrast[0] > self.contrast[1]:
            problems.append(f"contrast from small to large (it is {list(self.contrast)})")
        if self.general_fraction + self.reworded_fraction + self.specific_fraction > 1 + 1e-9:
            problems.append("general_fraction, reworded_fraction and specific_fraction of at most 1 together")
        for name, fields in {"specific_prompt": ("{modality}", "{region}"), "focused_prompt": ("{kind}",)}.items():
            missing = [field for field in fields if field not in getattr(self, name)]
            problems += [f"{name} with {field} (it is {getattr(self, name)!r})" for field in missing]
        if problems:
            raise ValueError("; ".join(problems))


def recorded(params: Params, given: SimpleNamespace) -> dict[str, Any]:
    """Parameters that decide the base, as JSON has them."""
    return {"pretrain": json.loads(json.dumps(asdict(params)))}


def pretrain(folder: Path, params: Params, given: SimpleNamespace) -> dict[str, list[float]]:
    """Write the base to `folder`, and return the loss of each step of either phase.

    Args:
        folder: Where to.
        params: See `Params`.
        given: Nothing: no other section is read.
    """
    of_tower, of_text, order = np.random.default_rng(params.seed).spawn(3)
    tiny.build(folder, params.seed, tiny.SLICES)
    loaded = gemma3.load(folder, MODEL)
    tower = teach_tower(
        loaded,
        lambda number: [single(of_tower, params) for _ in range(number)],
        steps=params.tower_steps,
        batch_size=params.tower_batch,
        learning_rate=params.tower_peak_lr,
        rng=order,
    )
    text = teach_text(
        loaded,
        conversations(of_text, params),
        steps=params.text_steps,
        batch_size=params.text_batch,
        learning_rate=params.text_peak_lr,
    )
    tiny.save(folder, loaded.model, tiny.SLICES)
    return {"tower": tower, "text": text}


def single(rng: np.random.Generator, params: Params) -> Slice:
    """A slice of a new patient."""
    (drawn,), _ = patient(rng, params, (True,))
    return drawn


def patient(
    rng: np.random.Generator, params: Params, shown: tuple[bool, ...]
) -> tuple[tuple[Slice, ...], tuple[Finding, ...]]:
    """Slices of a new patient, of one modality, and the patient's findings.

    Args:
        rng: Source of region, modality, findings and slices.
        params: See `Params`.
        shown: Of each slice, whether the findings are on it.
    """
    region, modality = str(rng.choice(REGIONS)), str(rng.choice(MODALITIES))
    number = 0 if rng.random() < params.normal_fraction else 1 + int(rng.random() < params.second_finding_fraction)
    body = slice_anatomy.body(rng, region)
    found = slice_findings.findings(rng, region, number)
    drawn = tuple(
        slices.draw(child, body, modality, found if visible else (), contrast=params.contrast)
        for child, visible in zip(rng.spawn(len(shown)), shown, strict=True)
    )
    return drawn, found


def conversations(rng: np.random.Generator, params: Params) -> Callable[[int], list[Example]]:
    """Function that draws so many conversations, all about one image or all about two."""

    def draw(number: int) -> list[Example]:
        two = rng.random() < params.two_images_fraction
        return [conversation(rng, params, SHOWN[int(rng.integers(3))] if two else (True,)) for _ in range(number)]

    return draw


def conversation(rng: np.random.Generator, params: Params, shown: tuple[bool, ...]) -> Example:
    """One conversation about a new patient.

    Args:
        rng: Source of the patient and of the prompt.
        params: See `Params`.
        shown: Of each of the patient's slices, whether the findings are on it.
    """
    drawn, found = patient(rng, params, shown)
    region = drawn[0].region
    general, reworded, specific = np.cumsum(
        [params.general_fraction, params.reworded_fraction, params.specific_fraction]
    ).tolist()
    kind, small = rng.random(), rng.random() < params.small_told_fraction
    answer = slice_texts.report(found, region)
    in_general = slice_texts.report([one for one in found if small or one.size == "large"], region)
    if kind < general:
        text_first, system = rng.random(2) < (params.text_first_fraction, params.system_fraction)
        text_first = text_first and len(shown) == 1
        return Example(params.general_prompt, params.system if system else "", not text_first, drawn, in_general)
    if kind < reworded:
        return Example(params.reworded_prompt, "", True, drawn, in_general)
    if kind < specific:
        place = slice_texts.REGION_WORDS[region]
        prompt = params.specific_prompt.format(modality=drawn[0].modality, region=place)
        return Example(prompt, "", True, drawn, answer)
    asked = found[int(rng.integers(len(found)))].kind if found and rng.random() < 0.5 else str(rng.choice(KINDS))
    return Example(params.focused_prompt.format(kind=asked), "", True, drawn, slice_texts.focused(found, region, asked))
