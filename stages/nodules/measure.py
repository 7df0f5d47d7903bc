"""Measure: every number of the study with its n, its interval over patients, or the reason why it has no value.

in   manifest     tables.MANIFEST
     split        tables.SPLIT
     points       tables.POINTS
     infer        tables.INFER of each model; the file's name is the model's
     calibration  <model>_calibration.json of each model
     twin         tables.INFER: the tuned model on validation images, its weights in the other form
     localize     tables.LOCALIZE of each localizer; the file's name is the localizer's
     answers      <localizer>_answers.parquet of each localizer: the images it was asked about
     choice       <localizer>_choice.json of each localizer: its bank of requests and what was chosen
     cutoff       <localizer>_cutoff.json of each localizer: from which confidence on its points are shown
     train        train.json; its notes become warnings, and it is kept with the provenance
out  metrics      JSON: classification, comparison, localization, reference, warnings, counts, provenance
     summary      JSON: the headline metrics alone, for `dvc metrics` and `dvc exp show`
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from stages.lib.core import cli, documents, files, params, provenance, tables
from stages.lib.core.errors import ParamsError
from stages.lib.core.log import LOG
from stages.lib.detect.choice import Choice
from stages.lib.detect.cutoff import Cutoff
from stages.lib.learn.train_log import TrainLog
from stages.lib.metrics import binary_suite, localization, localization_suite
from stages.lib.metrics.binary_suite import Scored
from stages.lib.metrics.calibration import Calibration
from stages.lib.metrics.cohort import CohortParams, OpenFraction, ToleranceParams
from stages.lib.metrics.localization_suite import Asked
from stages.nodules import consistency, merged_adapter, published
from stages.nodules.consistency import SPLITS, Tables

FIRST, SECOND = "tuned", "zero_shot"
CLOCKED = ("seconds", "data_wait_fraction", "resumed_from_step")  # keys of train.json that differ from run to run
HEADLINE_SCORES: tuple[str, ...] = (
    "roc_auc",
    "pr_auc",
    "brier_calibrated",
    "ece_calibrated",
    "f1_at_f1",
    "sensitivity_at_specificity_95",
)
HEADLINE_POINTS: Mapping[str, tuple[str, ...]] = {
    "tight": ("precision", "recall", "f1"),
    "tolerant": ("precision", "recall", "f1"),
    "images": ("count_exact", "nearest_point_px", "nearest_point_mm"),
    "negatives": ("false_points_per_image",),
}


@params.section
class MeasureParams:
    """How it is measured."""

    draws: params.Count  # resamples of patients for an interval, and throws of points for chance
    seed: params.Seed  # of the resamples and throws
    confidence: OpenFraction  # of the intervals
    ece_bins: params.Count  # bins of equal mass for the calibration error
    other_prevalence: OpenFraction  # fraction of images with a nodule that PPV and NPV are translated to
    size_edges_mm: tuple[params.PositiveFloat, ...]  # diameters between two strata of nodules; none for no strata
    contrast_edges: tuple[
        float, ...
    ]  # contrasts between two strata, in the unit of the data's table; none for no strata
    min_stratum_nodules: params.Count  # nodules below which a stratum has no recall

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = []
        for name in ("size_edges_mm", "contrast_edges"):
            edges = getattr(self, name)
            if list(edges) != sorted(set(edges)):
                problems.append(f"{name} {list(edges)} do not rise")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def of_scores(self) -> binary_suite.Settings:
        """How the classification is measured."""
        return binary_suite.Settings(
            draws=self.draws,
            seed=self.seed,
            confidence=self.confidence,
            ece_bins=self.ece_bins,
            other_prevalence=self.other_prevalence,
        )


@params.section
class Params(MeasureParams, CohortParams, ToleranceParams):
    """How it is measured, on images of which sources, and how near a point must be."""

    def __post_init__(self) -> None:
        MeasureParams.__post_init__(self)
        ToleranceParams.__post_init__(self)


def metrics(study: Tables, params: Params) -> dict[str, Any]:
    """Return the document of all metrics, without its provenance.

    Raises:
        TableError: If the tables contradict each other.
    """
    consistency.check(study, params.sources)
    images = {row["image_id"]: row for row in study.manifest.to_pylist()}
    split = {row["image_id"]: row for row in study.split.to_pylist()}
    settings = params.of_scores
    scored = {
        (model, name): collect(infer, study.calibration[model], images, split, name, params.sources)
        for model, infer in study.infer.items()
        for name in SPLITS
    }
    measured = {key: binary_suite.measure(sample, settings) for key, sample in scored.items()}
    comparison = {
        name: binary_suite.compare(
            measured[FIRST, name], measured[SECOND, name], (scored[FIRST, name], scored[SECOND, name]), settings
        )
        for name in SPLITS
        if FIRST in study.infer and SECOND in study.infer
    }
    asked = {name: gather(study, name, images, split) for name in study.localize}
    return {
        "classification": {model: {name: measured[model, name][0] for name in SPLITS} for model in study.infer},
        "comparison": comparison,
        "localization": {
            name: {**locate(ones, study, params), "answers": consistency.answer_counts(study.answers[name])}
            for name, ones in asked.items()
        },
        "reference": published.TABLE,
        "warnings": consistency.warnings(study, scored, asked),
        "counts": consistency.counts(study, asked),
    }


def collect(
    infer: pa.Table,
    fitted: Calibration,
    images: Mapping[str, Mapping[str, Any]],
    split: Mapping[str, Mapping[str, Any]],
    name: str,
    sources: Sequence[str],
) -> Scored:
    """Return the labelled images of one split from the sources wanted, with a model's scores."""
    rows = [
        (row, split[row["image_id"]])
        for row in infer.to_pylist()
        if row["split"] == name and row["label"] is not None and images[row["image_id"]]["source"] in sources
    ]
    calibrated = [row["score_calibrated"] for row, _ in rows]
    return Scored(
        labels=np.array([row["label"] for row, _ in rows], np.int64),
        patients=np.array([facts["patient_id"] for _, facts in rows], str),
        scores=np.array([row["score"] for row, _ in rows], np.float64),
        calibrated=None if fitted.shift is None or None in calibrated else np.array(calibrated, np.float64),
        thresholds=fitted.thresholds,
        reason=fitted.reason or "no score of a validation image fulfils it",
    )


def gather(
    study: Tables, localizer: str, images: Mapping[str, Mapping[str, Any]], split: Mapping[str, Mapping[str, Any]]
) -> list[Asked]:
    """Return every image that a localizer was asked about, with its nodules and the points predicted."""
    points: dict[str, list[list[float]]] = defaultdict(list)
    for row in study.points.to_pylist():
        values = (row[name] for name in ("x", "y", "diameter_mm", "contrast"))
        points[row["image_id"]].append([np.nan if value is None else value for value in values])
    predictions: dict[str, list[tuple[float, float, float, bool]]] = defaultdict(list)
    for row in study.localize[localizer].to_pylist():
        confidence = np.nan if row["confidence"] is None else row["confidence"]
        predictions[row["image_id"]].append((row["x"], row["y"], confidence, row["shown"]))
    asked = []
    for image_id in sorted(set(study.answers[localizer]["image_id"].to_pylist())):
        facts = images[image_id]
        found = np.array(predictions.get(image_id, []), np.float64).reshape(-1, 4)
        true = np.array(points.get(image_id, []), np.float64).reshape(-1, 4)
        image = localization.Image(
            image_id=image_id,
            patient_id=facts["patient_id"],
            width_px=facts["width_px"],
            height_px=facts["height_px"],
            points=true[:, :2],
            predictions=found[found[:, 3] == 1, :2],
            spacing_mm=facts["spacing_mm"],
            diameter_mm=true[:, 2],
            contrast=true[:, 3],
        )
        asked.append(Asked(image, found[:, :2], found[:, 2], facts["label"], split.get(image_id, {}).get("split")))
    return asked


def locate(asked: Sequence[Asked], study: Tables, params: Params) -> dict[str, Any]:
    """Return the measures of a localizer in each view, on test images also together with each classifier."""
    settings = localization_suite.Settings(
        draws=params.draws,
        seed=params.seed,
        confidence=params.confidence,
        tolerances={"tight": params.tight_fraction, "tolerant": params.tolerant_fraction},
        size_edges_mm=params.size_edges_mm,
        contrast_edges=params.contrast_edges,
        min_stratum_nodules=params.min_stratum_nodules,
    )
    document = {
        view: localization_suite.measure(ones, settings, negatives_too=view == "test")
        for view, ones in localization_suite.views(asked).items()
    }
    document["test"]["joint"] = {}
    for model, infer in study.infer.items():
        fitted = study.calibration[model]
        threshold = fitted.thresholds.get("f1")
        column = fitted.thresholds_on if threshold is not None else "score"
        limit = binary_suite.HALF if threshold is None else threshold
        called = {row["image_id"]: row[column] >= limit for row in infer.to_pylist() if row[column] is not None}
        document["test"]["joint"][model] = localization_suite.joint(asked, called, limit, settings)
    return document


def weigh(study: Tables, twin: pa.Table, weights: str, params: Params) -> dict[str, Any]:
    """Return how the tuned model's answers change with the form of its weights, see `measure_twin.measure`."""
    rows = study.manifest.select(["image_id", "source", "patient_id"]).to_pylist()
    patients = {row["image_id"]: row["patient_id"] for row in rows if row["source"] in params.sources}
    return merged_adapter.measure(study.infer[FIRST], twin, patients, weights, params.of_scores)


def main(argv: Sequence[str] | None = None) -> None:
    """Read, measure, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "nodules.measure": MeasureParams,
            "nodules.cohort": CohortParams,
            "nodules.tolerance": ToleranceParams,
        },
        reads=(
            "manifest",
            "split",
            "points",
            "infer",
            "calibration",
            "twin",
            "localize",
            "answers",
            "choice",
            "cutoff",
            "train",
        ),
        writes=("metrics", "summary"),
        many=("infer", "calibration", "localize", "answers", "choice", "cutoff"),
        optional=("twin", "localize", "answers", "choice", "cutoff", "train", "summary"),
    )
    study = Tables(
        manifest=tables.read(args.manifest, tables.MANIFEST),
        split=tables.read(args.split, tables.SPLIT),
        points=tables.read(args.points, tables.POINTS),
        infer={Path(path).stem: tables.read(path, tables.INFER) for path in args.infer},
        calibration={_stem(path, "_calibration"): documents.read(path, Calibration) for path in args.calibration},
        localize={Path(path).stem: tables.read(path, tables.LOCALIZE) for path in args.localize or ()},
        answers={_stem(path, "_answers"): tables.read(path, tables.ANSWERS) for path in args.answers or ()},
    )
    params = Params(**vars(args.params.measure), **vars(args.params.cohort), **vars(args.params.tolerance))
    document = metrics(study, params)
    whole = given(argv)
    if args.twin:
        twin = tables.read(args.twin, tables.INFER)
        weights = whole.get("nodules", {}).get("infer", {}).get("weights")
        if weights not in merged_adapter.OTHER:
            raise ParamsError(
                "--twin:", [f"found infer.weights {weights!r}, wanted one of {list(merged_adapter.OTHER)}"]
            )
        document["weights"] = weigh(study, twin, weights, params)
    for kind, document_type in (("choice", Choice), ("cutoff", Cutoff)):
        found = {_stem(path, f"_{kind}"): documents.read(path, document_type) for path in getattr(args, kind) or ()}
        document[kind] = {name: documents.as_mapping(one) for name, one in found.items()}
    train = documents.as_mapping(documents.read(args.train, TrainLog)) if args.train else {}
    document["warnings"] += [f"train: {note}" for note in train.get("notes", ())]
    for sentence in document["warnings"]:
        LOG.warning("%s", sentence)
    document["provenance"] = provenance.record(whole, study.manifest, study.points)
    document["provenance"]["train"] = {key: value for key, value in train.items() if key not in CLOCKED}
    files.write_json(args.metrics, document)
    if args.summary:
        files.write_json(args.summary, summary(document))


def summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the headline metrics of the document of all metrics, undefined ones left out.

    >>> summary({"classification": {"tuned": {"test": {"roc_auc": {"value": 0.9}}}}, "localization": {}})
    {'tuned': {'roc_auc': 0.9}}
    """
    groups = {model: (splits.get("test", {}), HEADLINE_SCORES) for model, splits in document["classification"].items()}
    for name, views in document["localization"].items():
        for part, keys in HEADLINE_POINTS.items():
            groups[f"{name}_{part}"] = (views["test"].get(part, {}), keys)
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
