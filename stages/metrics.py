"""Measure: every number of the study with its n, its interval over patients, or the reason why it has no value.

in   manifest     tables.MANIFEST
     split        tables.SPLIT
     points       tables.POINTS
     infer        tables.INFER of each model; the file's name is the model's
     calibration  <model>_calibration.json of each model
     localize     tables.LOCALIZE of each localizer; the file's name is the localizer's
     answers      <localizer>_answers.parquet of each localizer: the films it was asked about
     train        train.json; its notes become warnings, and it is kept with the provenance
out  metrics      JSON: classification, comparison, localization, reference, warnings, counts, provenance
     summary      JSON: the chief numbers alone, for `dvc metrics` and `dvc exp show`
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import yaml
from pydantic import Field

from stages.lib import (
    calibration,
    cli,
    files,
    localization,
    measure_points,
    measure_scores,
    params,
    provenance,
    published,
    tables,
)
from stages.lib.calibration import Calibration
from stages.lib.errors import TableError
from stages.lib.measure_points import Asked
from stages.lib.measure_scores import Scored

SPLITS = ("val", "test")
FIRST, SECOND = "tuned", "zero_shot"
CLOCKED = ("seconds", "data_wait_share", "resumed_from_step")  # keys of train.json that differ from run to run
CHIEF_SCORES: tuple[str, ...] = (
    "roc_auc",
    "pr_auc",
    "brier_calibrated",
    "ece_calibrated",
    "f1_at_f1",
    "sensitivity_at_specificity_95",
)
CHIEF_POINTS: Mapping[str, tuple[str, ...]] = {
    "tight": ("precision", "recall", "f1"),
    "tolerant": ("precision", "recall", "f1"),
    "films": ("count_exact", "nearest_point_px"),
    "healthy": ("false_points_per_film",),
}
OpenShare = Annotated[float, Field(gt=0, lt=1)]


@params.section
class Params:
    """How it is measured."""

    draws: params.Count  # resamples of patients for an interval, and throws of points for chance
    seed: params.Seed  # of the resamples and throws
    confidence: OpenShare  # of the intervals
    tight_share: OpenShare  # tolerance of a hit, share of the diagonal of the original
    tolerant_share: OpenShare  # the wider tolerance, share of the diagonal of the original
    ece_bins: params.Count  # bins of equal mass for the calibration error
    other_prevalence: OpenShare  # share of films with a nodule that PPV and NPV are translated to
    sources: tuple[params.Text, ...]  # sources of the films that the classification is measured on

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if self.tight_share >= self.tolerant_share:
            raise ValueError(f"tight_share {self.tight_share} is not below tolerant_share {self.tolerant_share}")


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What is measured: the study's tables, and those of each model and localizer by name."""

    manifest: pa.Table
    split: pa.Table
    points: pa.Table
    infer: Mapping[str, pa.Table]
    calibration: Mapping[str, Calibration]
    localize: Mapping[str, pa.Table]
    answers: Mapping[str, pa.Table]


def metrics(study: Tables, params: Params) -> dict[str, Any]:
    """Return the document of all metrics, without its provenance.

    Raises:
        TableError: If the tables contradict each other.
    """
    check(study, params)
    films = {row["image_id"]: row for row in study.manifest.to_pylist()}
    split = {row["image_id"]: row for row in study.split.to_pylist()}
    settings = measure_scores.Settings(
        draws=params.draws,
        seed=params.seed,
        confidence=params.confidence,
        ece_bins=params.ece_bins,
        other_prevalence=params.other_prevalence,
    )
    scored = {
        (model, name): collect(infer, study.calibration[model], films, split, name, params.sources)
        for model, infer in study.infer.items()
        for name in SPLITS
    }
    measured = {key: measure_scores.measure(sample, settings) for key, sample in scored.items()}
    comparison = {
        name: measure_scores.compare(
            measured[FIRST, name], measured[SECOND, name], (scored[FIRST, name], scored[SECOND, name]), settings
        )
        for name in SPLITS
        if FIRST in study.infer and SECOND in study.infer
    }
    asked = {name: gather(study, name, films, split) for name in study.localize}
    return {
        "classification": {model: {name: measured[model, name][0] for name in SPLITS} for model in study.infer},
        "comparison": comparison,
        "localization": {
            name: {**locate(ones, study, params), "answers": answer_counts(study.answers[name])}
            for name, ones in asked.items()
        },
        "reference": published.TABLE,
        "warnings": warnings(study, scored, asked),
        "counts": counts(study, asked),
    }


def check(study: Tables, params: Params) -> None:
    """Refuse tables that contradict each other.

    Raises:
        TableError: With every contradiction found.
    """
    problems = []
    known = set(study.manifest["image_id"].to_pylist())
    split = {row["image_id"]: row for row in study.split.to_pylist()}
    sources = dict(zip(*(study.manifest[name].to_pylist() for name in ("image_id", "source")), strict=True))
    for model, infer in study.infer.items():
        rows = {row["image_id"]: row for row in infer.to_pylist()}
        unlike = [
            image
            for image, row in rows.items()
            if image not in split or any(row[name] != split[image][name] for name in ("split", "label"))
        ]
        problems += _named(unlike, f"{model}: films have another split or label than in the split table")
        wanted = [
            image
            for image, row in split.items()
            if row["split"] in SPLITS and row["label"] is not None and sources.get(image) in params.sources
        ]
        problems += _named([image for image in wanted if image not in rows], f"{model}: films have no score")
        if model not in study.calibration:
            problems.append(f"{model}: there is no calibration")
    for name, table in study.localize.items():
        if name not in study.answers:
            problems.append(f"{name}: there is no table of answers")
            continue
        answered = set(study.answers[name]["image_id"].to_pylist())
        found = sorted(set(table["image_id"].to_pylist()) - answered)
        problems += _named(found, f"{name}: films have points but no answer")
        problems += _named(sorted(answered - known), f"{name}: films are not in the manifest")
    for what, table in (("split", study.split), ("points", study.points)):
        strangers = sorted(set(table["image_id"].to_pylist()) - known)
        problems += _named(strangers, f"{what}: films are not in the manifest")
    if problems:
        raise TableError("the tables contradict each other; run the pipeline again:\n" + "\n".join(problems))


def _named(images: Sequence[str], what: str) -> list[str]:
    """Return a sentence about some films, or nothing if there are none."""
    shown = ", ".join(images[:5]) + (", ..." if len(images) > 5 else "")
    return [f"{what}: {len(images)} ({shown})"] if images else []


def collect(
    infer: pa.Table,
    fitted: Calibration,
    films: Mapping[str, Mapping[str, Any]],
    split: Mapping[str, Mapping[str, Any]],
    name: str,
    sources: Sequence[str],
) -> Scored:
    """Return the labelled films of one split from the sources wanted, with a model's scores."""
    rows = [
        (row, split[row["image_id"]])
        for row in infer.to_pylist()
        if row["split"] == name and row["label"] is not None and films[row["image_id"]]["source"] in sources
    ]
    calibrated = [row["score_calibrated"] for row, _ in rows]
    return Scored(
        labels=np.array([row["label"] for row, _ in rows], np.int64),
        patients=np.array([facts["patient_id"] for _, facts in rows], str),
        scores=np.array([row["score"] for row, _ in rows], np.float64),
        calibrated=None if fitted.shift is None or None in calibrated else np.array(calibrated, np.float64),
        thresholds=fitted.thresholds,
        reason=fitted.reason or "no score of a validation film fulfils it",
    )


def gather(
    study: Tables, localizer: str, films: Mapping[str, Mapping[str, Any]], split: Mapping[str, Mapping[str, Any]]
) -> list[Asked]:
    """Return every film that a localizer was asked about, with its nodules and the points predicted."""
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in study.points.to_pylist():
        points[row["image_id"]].append((row["x"], row["y"]))
    predictions: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for row in study.localize[localizer].to_pylist():
        confidence = np.nan if row["confidence"] is None else row["confidence"]
        predictions[row["image_id"]].append((row["x"], row["y"], confidence))
    asked = []
    for image in study.answers[localizer]["image_id"].to_pylist():
        facts = films[image]
        found = np.array(predictions.get(image, []), np.float64).reshape(-1, 3)
        film = localization.Film(
            image_id=image,
            patient_id=facts["patient_id"],
            width_px=facts["width_px"],
            height_px=facts["height_px"],
            points=np.array(points.get(image, []), np.float64).reshape(-1, 2),
            predictions=found[:, :2],
        )
        asked.append(Asked(film, found[:, 2], facts["label"], split.get(image, {}).get("split")))
    return asked


def locate(asked: Sequence[Asked], study: Tables, params: Params) -> dict[str, Any]:
    """Return the measures of a localizer, alone and together with each classifier."""
    settings = measure_points.Settings(
        draws=params.draws,
        seed=params.seed,
        confidence=params.confidence,
        tolerances={"tight": params.tight_share, "tolerant": params.tolerant_share},
    )
    document = measure_points.measure(asked, settings)
    document["joint"] = {}
    for model, infer in study.infer.items():
        fitted = study.calibration[model]
        threshold = fitted.thresholds.get("f1")
        column = fitted.thresholds_on if threshold is not None else "score"
        limit = measure_scores.HALF if threshold is None else threshold
        called = {row["image_id"]: row[column] >= limit for row in infer.to_pylist() if row[column] is not None}
        document["joint"][model] = measure_points.joint(asked, called, limit, settings)
    return document


def counts(study: Tables, asked: Mapping[str, Sequence[Asked]]) -> dict[str, Any]:
    """Return how many films, patients, points and answers there are, of each kind."""
    words = {0: "no_finding", 1: "nodule", None: "unlabelled"}
    status = Counter(study.manifest["status"].to_pylist())
    by_split: dict[str, dict[str, int]] = {}
    for name in ("train", *SPLITS):
        rows = [row for row in study.split.to_pylist() if row["split"] == name]
        labels = Counter(row["label"] for row in rows)
        by_split[name] = {word: labels[label] for label, word in words.items()}
        by_split[name]["patients"] = len({row["patient_id"] for row in rows})
    return {
        "films": study.manifest.num_rows,
        "rejected": status["rejected"],
        "patients": len(set(study.manifest["patient_id"].to_pylist())),
        "points": study.points.num_rows,
        "films_with_points": len(set(study.points["image_id"].to_pylist())),
        "by_source": dict(sorted(Counter(study.manifest["source"].to_pylist()).items())),
        "by_split": by_split,
        "answers": {name: answer_counts(study.answers[name]) for name in asked},
    }


def answer_counts(answers: pa.Table) -> dict[str, int]:
    """Return how many answers a localizer gave, and how many of each kind."""
    parsed = Counter(answers["parsed"].to_pylist())
    return {"n": answers.num_rows, **{word: parsed[word] for word in ("ok", "empty", "malformed")}}


def warnings(
    study: Tables, scored: Mapping[tuple[str, str], Scored], asked: Mapping[str, Sequence[Asked]]
) -> list[str]:
    """Return a sentence for everything that a reader must know before trusting a number."""
    found = leaks(study)
    rejected = Counter(study.manifest["status"].to_pylist())["rejected"]
    if rejected:
        found.append(f"{rejected} of {study.manifest.num_rows} films were rejected; the manifest says why.")
    for model, fitted in study.calibration.items():
        if fitted.reason:
            found.append(f"{model}: the scores are not calibrated and no threshold is chosen: {fitted.reason}.")
        if fitted.at_bound:
            found.append(f"{model}: the temperature stopped at its bound, {fitted.temperature:.2f}.")
    for (model, name), sample in scored.items():
        positives = int(sample.labels.sum())
        if positives in (0, len(sample.labels)):
            found.append(f"{model}: {name} has {positives} films with a nodule of {len(sample.labels)}.")
        elif len(np.unique(sample.scores)) == 1:
            found.append(f"{model}: every film of {name} has the same score.")
    with_points = set(study.points["image_id"].to_pylist())
    for name, ones in asked.items():
        answers = answer_counts(study.answers[name])
        if answers["malformed"]:
            found.append(
                f"{name}: {answers['malformed']} of {answers['n']} answers cannot be read; they count as no point."
            )
        unasked = len(with_points - {one.film.image_id for one in ones})
        if unasked:
            found.append(f"{name}: {unasked} of {len(with_points)} films with points were not asked about.")
        if not any(one.healthy for one in ones):
            found.append(f"{name}: no healthy test film was asked about, so its false points are unknown.")
    return found


def leaks(study: Tables) -> list[str]:
    """Return a sentence for patients, and one for pictures, that are in more than one split."""
    pixels = dict(zip(*(study.manifest[name].to_pylist() for name in ("image_id", "pixel_sha256")), strict=True))
    patients, pictures = defaultdict(set), defaultdict(set)
    for row in study.split.to_pylist():
        patients[row["patient_id"]].add(row["split"])
        if pixels[row["image_id"]] is not None:
            pictures[pixels[row["image_id"]]].add(row["split"])
    sentences = []
    for what, groups in (("patients", patients), ("pictures", pictures)):
        shared = sum(len(splits) > 1 for splits in groups.values())
        if shared:
            sentences.append(
                f"LEAK: {what} are shared between parts: {shared} of {len(groups)} {what} are in more than one split, "
                "so the numbers flatter the model."
            )
    return sentences


def main(argv: Sequence[str] | None = None) -> None:
    """Read, measure, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"metrics": Params},
        reads=("manifest", "split", "points", "infer", "calibration", "localize", "answers", "train"),
        writes=("metrics", "summary"),
        many=("infer", "calibration", "localize", "answers"),
        optional=("localize", "answers", "train", "summary"),
    )
    study = Tables(
        manifest=tables.read(args.manifest, tables.MANIFEST),
        split=tables.read(args.split, tables.SPLIT),
        points=tables.read(args.points, tables.POINTS),
        infer={Path(path).stem: tables.read(path, tables.INFER) for path in args.infer},
        calibration={_stem(path, "_calibration"): calibration.read(path) for path in args.calibration},
        localize={Path(path).stem: tables.read(path, tables.LOCALIZE) for path in args.localize or ()},
        answers={_stem(path, "_answers"): tables.read(path, tables.ANSWERS) for path in args.answers or ()},
    )
    document = metrics(study, args.params.metrics)
    train = calibration.read_object(args.train) if args.train else {}
    document["warnings"] += [f"train: {note}" for note in train.get("notes", ())]
    for sentence in document["warnings"]:
        cli.LOG.warning("%s", sentence)
    document["provenance"] = provenance.record(given(argv), study.manifest, study.points)
    document["provenance"]["train"] = {key: value for key, value in train.items() if key not in CLOCKED}
    files.write_json(args.metrics, document)
    if args.summary:
        files.write_json(args.summary, summary(document))


def summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the chief numbers of the document of all metrics, undefined ones left out.

    >>> summary({"classification": {"tuned": {"test": {"roc_auc": {"value": 0.9}}}}, "localization": {}})
    {'tuned': {'roc_auc': 0.9}}
    """
    groups = {model: (splits.get("test", {}), CHIEF_SCORES) for model, splits in document["classification"].items()}
    for name, parts in document["localization"].items():
        for part, keys in CHIEF_POINTS.items():
            groups[f"{name}_{part}"] = (parts.get(part, {}), keys)
    return {
        group: {key: entries[key]["value"] for key in keys if entries.get(key, {}).get("value") is not None}
        for group, (entries, keys) in groups.items()
    }


def _stem(path: str, ending: str) -> str:
    return Path(path).stem.removesuffix(ending)


def given(argv: Sequence[str] | None) -> dict[str, Any]:
    """Return the whole document of parameters that was given, sections that `metrics` does not want among them."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--params", required=True)
    source = parser.parse_known_args(argv)[0].params
    text = source if source.lstrip().startswith("{") else Path(source).read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


if __name__ == "__main__":
    cli.run(main)
