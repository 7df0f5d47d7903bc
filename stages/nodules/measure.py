"""Measure: every number of the study with its n, its interval over patients, or the reason why it has no value.

in   manifest     tables.MANIFEST
     normalized   tables.NORMALIZED: grey values, for the probes; results  folder of the images: where the lungs are
     split        tables.SPLIT
     points       tables.POINTS
     infer        tables.INFER of each classifier; the file's name is the classifier's
     calibration  <classifier>_calibration.json of each classifier
     other_form   tables.INFER: the tuned model on validation images, its weights in the other form
     localize     tables.LOCALIZE of each localizer; the file's name is the localizer's
     responses      <localizer>_responses.parquet of each localizer: the images it was run on
     choice       <localizer>_choice.json of each localizer that has a bank of prompts
     cutoff         <localizer>_cutoff.json of each localizer that chose one
     external_manifest, external_infer  tables.MANIFEST of each external data set, and tables.INFER of each classifier
                  on each of them: .../<data set>/manifest.parquet, .../<data set>/infer/<classifier>.parquet
     train        train.json; its notes become warnings, and it is kept with the provenance
out  measures     tables.MEASURES
     curves       tables.CURVES
     outcomes     tables.OUTCOMES
     notes        JSON, see `notes.Notes`: warnings, counts, provenance
"""

from collections.abc import Sequence
from pathlib import Path

from stages.lib.core import cli, documents, provenance, tables
from stages.lib.core.errors import ParamsError
from stages.lib.core.log import LOG
from stages.lib.detect.choice import Choice
from stages.lib.detect.cutoff import Cutoff
from stages.lib.images.normalized import load
from stages.lib.learn.train_log import TrainLog
from stages.lib.metrics import (
    curves,
    evaluation_sets,
    measures,
    outcomes,
    probe,
)
from stages.lib.metrics.calibration import Calibration
from stages.lib.metrics.cohort import CohortParams, ToleranceParams
from stages.nodules import consistency, fields, merged_adapter
from stages.nodules.consistency import Tables
from stages.nodules.external import External
from stages.nodules.measuring import classifiers, localizers
from stages.nodules.measuring.results import MeasureParams, Params, Results
from stages.nodules.notes import CHAPTER, Notes
from stages.nodules.submission import SubmitParams

TUNED = "tuned"  # whose weights are asked in both forms
CLOCKED = ("seconds", "data_wait_fraction", "resumed_from_step")  # keys of train.json that differ from run to run


def measure(study: Tables, params: Params) -> Results:
    """Measures, curves and outcomes of all classifiers and localizers.

    Raises:
        TableError: If the tables contradict each other.
    """
    consistency.check(study, params.sources)
    results = Results()
    scored = classifiers.classify(study, params, results)
    examined = {name: localizers.gather(study, name) for name in study.localize}
    for name, images in examined.items():
        localizers.locate(name, images, study, params, results)
        if name not in consistency.DERIVED:
            localizers.read(name, study, params, results)
    results.warnings += consistency.warnings(study, scored, examined)
    images = probe.images(study.split, study.manifest, study.normalized)
    probed = probe.measure(images, params.sources, params.of_probes)
    results.measures |= probed
    results.warnings += probe.warnings(probed, images, params.sources)
    results.warnings += consistency.silent(results.measures)
    results.warnings += consistency.unread(results.measures)
    results.warnings += consistency.across(study, results.sources)
    return results


def main(argv: Sequence[str] | None = None) -> None:
    """Read, measure, write."""
    single = ("manifest", "normalized", "results", "split", "points")
    localized = ("localize", "responses", "choice", "cutoff")
    outside = ("external_manifest", "external_infer")
    args = cli.parse(
        __doc__,
        argv,
        params={
            "nodules.measure": MeasureParams,
            "nodules.cohort": CohortParams,
            "nodules.tolerance": ToleranceParams,
            "nodules.submit": SubmitParams,
        },
        reads=(*single, "infer", "calibration", "other_form", *localized, *outside, "train"),
        writes=("measures", "curves", "outcomes", "notes"),
        many=("infer", "calibration", *localized, *outside),
        optional=("other_form", *localized, *outside, "train"),
    )
    manifest, points = tables.read(args.manifest, tables.MANIFEST), tables.read(args.points, tables.POINTS)
    normalized, folder = tables.read(args.normalized, tables.NORMALIZED), Path(args.results)
    marked = set(points["image_id"].to_pylist())
    placed = fields.find(manifest, normalized, marked, lambda png: load(folder / png)) if args.localize else None
    study = Tables(
        manifest=manifest,
        normalized=normalized,
        split=tables.read(args.split, tables.SPLIT),
        points=points,
        fields=placed.fields if placed else {},
        infer={Path(path).stem: tables.read(path, tables.INFER) for path in args.infer},
        calibration={_stem(path, "_calibration"): documents.read(path, Calibration) for path in args.calibration},
        localize={Path(path).stem: tables.read(path, tables.LOCALIZE) for path in args.localize or ()},
        responses={_stem(path, "_responses"): tables.read(path, tables.RESPONSES) for path in args.responses or ()},
        choice={_stem(path, "_choice"): documents.read(path, Choice) for path in args.choice or ()},
        cutoff={_stem(path, "_cutoff"): documents.read(path, Cutoff) for path in args.cutoff or ()},
        external={
            Path(path).parent.name: External(
                tables.read(path, tables.MANIFEST),
                {
                    Path(scores).stem: tables.read(scores, tables.INFER)
                    for scores in args.external_infer or ()
                    if Path(scores).parent.parent.name == Path(path).parent.name
                },
            )
            for path in args.external_manifest or ()
        },
    )
    shared = {**vars(args.params.cohort), **vars(args.params.tolerance), "threshold": args.params.submit.threshold}
    params = Params(**vars(args.params.measure), **shared)
    results = measure(study, params)
    results.warnings += consistency.elsewhere(placed.placement if placed else None)
    whole = args.document
    if args.other_form:
        weights = whole.get("nodules", {}).get("infer", {}).get("weights")
        if weights not in merged_adapter.OTHER:
            raise ParamsError(
                "--other-form:", [f"found infer.weights {weights!r}, wanted one of {list(merged_adapter.OTHER)}"]
            )
        other = tables.read(args.other_form, tables.INFER)
        both = [
            evaluation_sets.classifier_images(table, study.manifest, params.sources, "val")
            for table in (study.infer[TUNED], other)
        ]
        results.measures |= merged_adapter.measure(both[0], both[1], weights, params.of_scores)
    train = documents.read(args.train, TrainLog) if args.train else None
    results.warnings += [f"train: {note}" for note in (train.notes if train else ())]
    for sentence in results.warnings:
        LOG.warning("%s", sentence)
    origin = provenance.record(whole, study.manifest, study.points)
    log = documents.as_mapping(train) if train else {}
    origin["train"] = {key: value for key, value in log.items() if key not in CLOCKED}
    tables.write(args.measures, measures.table(CHAPTER, results.measures), tables.MEASURES)
    tables.write(args.curves, curves.table(CHAPTER, results.curves), tables.CURVES)
    tables.write(args.outcomes, outcomes.table(CHAPTER, results.outcomes), tables.OUTCOMES)
    notes = Notes(
        warnings=tuple(results.warnings),
        counts=consistency.counts(study),
        divisions=tuple(results.divisions),
        subgroups=tuple(results.subgroups),
        subgroup_tests=results.subgroup_tests,
        sources=tuple(results.sources),
        placement=placed.placement if placed else None,
        provenance=origin,
    )
    documents.write(args.notes, notes)


def _stem(path: str, ending: str) -> str:
    return Path(path).stem.removesuffix(ending)


if __name__ == "__main__":
    cli.run(main)
