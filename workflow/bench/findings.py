"""Scoring of the findings benchmark again: rules judge, all metrics, intervals; and resamples against a plain loop."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from stages.findings import judge, measure
from stages.findings.measuring.settings import MeasureParams
from stages.findings.measuring.study import Tables
from stages.lib.core import case_tables, tables
from stages.lib.metrics.bootstrap import percentile, resamples
from stages.lib.metrics.measures import Key
from stages.lib.metrics.parts import Part, fraction, mean
from stages.lib.metrics.parts import measure as measure_parts
from stages.lib.metrics.text.extract import extractor
from stages.lib.models.judges import rules
from stages.lib.models.judging import rating
from workflow.bench.interleave import Interleaved, processor_seconds
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=findings"
CASES, DRAWS, SEED, ROUNDS = 671, 2000, 5, 5
ARMS = ("first", "second", "third", "fourth")
WORDS, CONFIDENCE = {"gold": 46, "answer": 100}, 0.95  # words of a text, about those of MedPix and of a model
FRAMES = (
    "There is a {size} {entity} in the {side} {place}.",
    "No {entity} is seen in the {place}.",
    "The {place} is normal in size, shape and signal on all of the sequences that were acquired.",
    "A {entity} of the {side} {place} cannot be excluded on these images.",
    "{size} {entity} with surrounding change that displaces the {side} {place}, without {other} or further lesions;",
)
COMPARISONS = [["first", "second"], ["first", "third"], ["first", "fourth"]]


def text(rng: random.Random, words: int) -> str:
    """A text of about so many words, with findings of the vocabulary."""
    vocabulary = extractor().vocabulary
    entities, places = list(vocabulary.entities), list(vocabulary.places)
    said: list[str] = []
    while sum(len(one.split()) for one in said) < words:
        entity, other = (vocabulary.name(one) for one in rng.sample(entities, 2))
        given = {"size": rng.choice(("small", "large")), "side": rng.choice(("left", "right")), "other": other}
        said.append(rng.choice(FRAMES).format(entity=entity, place=vocabulary.name(rng.choice(places)), **given))
    return " ".join(said)


def study(n: int) -> Tables:
    """A study of n cases and four arms, through the real schemas; without judgements."""
    rng = random.Random(SEED)
    names = [f"C{number:04d}" for number in range(n)]
    strata = [(region, modality) for region in case_tables.REGIONS for modality in case_tables.MODALITIES]
    sample, images = [], []
    for number, name in enumerate(names):
        region, modality = strata[number % len(strata)]
        stratum = {"region": region, "modality": modality, "gold_scope": "imaged_only", "flags": []}
        sample.append({"case_id": name, "role": "test", "numbers": [0], "gold": text(rng, WORDS["gold"]), **stratum})
        image = {"image_id": name, "path": f"{name}.png", "modality": modality, "shows": "slice", "plane": "axial"}
        images.append({"case_id": name, "number": 0, "bytes": 1, "status": "ok", **image})
    golds = {str(row["case_id"]): str(row["gold"]) for row in sample}
    return Tables(
        cases=tables.from_rows([], case_tables.CASES),
        case_images=tables.from_rows(images, case_tables.CASE_IMAGES),
        sample=tables.from_rows(sample, case_tables.SAMPLE),
        answers={arm: _answers(rng, arm, golds) for arm in ARMS},
        judgements={},
    )


def _answers(rng: random.Random, arm: str, golds: Mapping[str, str]) -> pa.Table:
    rows = []
    for name, gold in golds.items():
        kept = [sentence for sentence in gold.split(". ") if rng.random() < 0.4]
        said = ". ".join([*kept, text(rng, WORDS["answer"] - sum(len(one.split()) for one in kept))])
        about = {"arm": arm, "item": name, "case_id": name, "sample": 0, "final": True, "images": []}
        found = {"text": said, "findings": said, "findings_from": "whole", "status": "ok", "prompt_sha256": "0" * 64}
        rows.append({**about, **found})
    return tables.from_rows(rows, case_tables.ANSWERS)


def rescore(found: Tables, document: Mapping[str, Any], draws: int) -> int:
    """Judge by rules, and measure, as a preset has it; the number of measures."""
    row = next(row for row in document["findings"]["judges"].values() if row["kind"] == rating.RULES)
    given = rules.Params(**{key: value for key, value in row.items() if key not in ("kind", "label")})
    section = {**document["findings"]["measure"], "primary_judge": rating.RULES, "draws": draws}
    params = MeasureParams(**{**section, "comparisons": COMPARISONS})
    golds = judge.golds(found.sample, found.case_images)
    asked = judge.questions(pa.concat_tables(found.answers.values()), golds, given)
    judged, _ = judge.judge(asked, rating.by_rules(rules.verdict(given)), rating.RULES, "rules", given.seed)
    whole = Tables(**{**vars(found), "judgements": {rating.RULES: judged}})
    return sum(len(one) for one in measure.measure(whole, params).measures.values())


def quantities(n: int) -> tuple[np.ndarray, dict[Key, Part]]:
    """Case of each of n answers, and eight measures of them."""
    rng = np.random.default_rng(SEED)
    names = ("good_fraction", "partial_fraction", "poor_fraction", "key_finding_rate")
    parts = {Key(name): fraction(rng.random(n) < 0.4, rng.random(n) < 0.9) for name in names}
    parts |= {Key(name): mean(rng.random(n)) for name in ("finding_f1", "rouge_l_f1", "words", "invented_per_case")}
    return np.arange(n), parts


def vectorised(cases: np.ndarray, parts: Mapping[Key, Part], draws: int) -> None:
    """Intervals as the chapter makes them: all resamples as one product."""
    weights = np.concatenate(list(resamples(cases, draws=draws, seed=SEED))).astype(np.float64)
    measure_parts(parts, weights, {}, CONFIDENCE)


def looped(cases: np.ndarray, parts: Mapping[Key, Part], draws: int) -> None:
    """The same in a plain loop: cases are drawn, and each measure is summed over them."""
    rng = random.Random(SEED)
    n = len(cases)
    sums = [(part.over.tolist(), part.under.tolist()) for part in parts.values()]
    found: Sequence[list[float]] = [[] for _ in sums]
    for _ in range(draws):
        drawn = [rng.randrange(n) for _ in range(n)]
        for (over, under), values in zip(sums, found, strict=True):
            values.append(sum(over[one] for one in drawn) / sum(under[one] for one in drawn))
    for values in found:
        percentile(np.array(values), CONFIDENCE)


def bench(document: Mapping[str, Any], n: int = CASES, draws: int = DRAWS, rounds: int = ROUNDS) -> dict[str, Result]:
    """Processor seconds of scoring again, and how much faster resamples are than in a loop.

    Args:
        document: Parameters, as a preset has them.
        n: Cases.
        draws: Resamples; in the loop a tenth of them.
        rounds: Of resamples, in turns.
    """
    found = study(n)
    began = processor_seconds()
    made = rescore(found, document, draws)
    seconds = processor_seconds() - began
    given = quantities(n)
    loop: Interleaved[int] = Interleaved(lambda size: vectorised(*given, size), lambda size: looped(*given, size))
    ratios = loop.run([max(draws // 10, 1)] * rounds, what="bench: resamples")
    shared: dict[str, Any] = {"label": MEASURED, "command": COMMAND}
    return {
        "findings.rescore": Result(
            value=seconds,
            unit="processor s",
            at_most=60.0,
            note=f"{n} cases, {len(ARMS)} arms, {draws} resamples, {made} measures, judged by rules",
            **shared,
        ),
        "findings.resamples": Result(
            value=ratios.value,
            unit="x faster than a plain loop",
            low=min(ratios.ratios),
            high=max(ratios.ratios),
            runs=ratios.ratios,
            at_least=20.0,
            note=f"{n} cases, {len(given[1])} measures, {max(draws // 10, 1)} resamples",
            **shared,
        ),
    }
