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

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.lib.core import cli, documents, params, provenance, tables
from stages.lib.core.errors import ParamsError
from stages.lib.core.log import LOG
from stages.lib.detect.choice import Choice
from stages.lib.detect.cutoff import Cutoff
from stages.lib.images.normalized import load
from stages.lib.learn.train_log import TrainLog
from stages.lib.metrics import (
    binary_suite,
    curves,
    evaluation_sets,
    localization,
    localization_suite,
    measures,
    outcomes,
    probe,
    responses,
    subgroups,
)
from stages.lib.metrics.binary_suite import Scored
from stages.lib.metrics.bootstrap import Outcome, attempt, replicate
from stages.lib.metrics.calibration import Calibration
from stages.lib.metrics.cohort import CohortParams, OpenFraction, ToleranceParams
from stages.lib.metrics.curves import Curve
from stages.lib.metrics.localization_suite import Examined
from stages.lib.metrics.measures import Estimate, Key, Subject, estimates
from stages.lib.metrics.outcomes import Row
from stages.lib.metrics.ratios import ratio
from stages.nodules import consistency, fields, merged_adapter
from stages.nodules.consistency import Tables
from stages.nodules.external import External
from stages.nodules.notes import CHAPTER, Division, Notes, SetSources, Subgroups
from stages.nodules.submission import SubmitParams, Threshold

CLASSIFICATION, COMPARISON, LOCALIZATION, JOINT = "classification", "comparison", "localization", "joint"
RESPONSES = "responses"
VALIDATION, TEST = "val", "test"
TUNED = "tuned"  # whose weights are asked in both forms
CLOCKED = ("seconds", "data_wait_fraction", "resumed_from_step")  # keys of train.json that differ from run to run


@params.section
class MeasureParams:
    """How it is measured."""

    draws: params.Count  # resamples of patients for an interval, and throws of points for chance
    seed: params.Seed  # of the resamples and throws
    confidence: OpenFraction  # of the intervals
    ece_bins: params.Count  # bins of equal mass for the calibration error
    other_prevalence: OpenFraction  # fraction of images with a nodule that PPV and NPV are translated to
    size_edges_mm: tuple[params.PositiveFloat, ...]  # diameters between two strata of nodules; none for no strata
    # contrasts between two strata, in the unit of the data's table; none for no strata
    contrast_edges: tuple[float, ...]
    min_stratum_nodules: params.Count  # nodules below which a stratum has no recall
    comparisons: tuple[tuple[params.Text, params.Text], ...]  # pairs of classifiers: the first minus the second
    age_edges_years: tuple[params.PositiveFloat, ...]  # ages between two subgroups of images; none for no subgroups
    min_subgroup_images: params.Count  # images of a class below which a subgroup has no measure of that class

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = []
        for name in ("size_edges_mm", "contrast_edges", "age_edges_years"):
            edges = getattr(self, name)
            if list(edges) != sorted(set(edges)):
                problems.append(f"{name} {list(edges)} do not rise")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def of_probes(self) -> probe.Settings:
        """How the probes are measured."""
        return probe.Settings(draws=self.draws, seed=self.seed, confidence=self.confidence)

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
    """How it is measured, on images of which sources, how near a point must be, and what calls an image."""

    threshold: Threshold  # of the joint score: that of the submission

    def __post_init__(self) -> None:
        MeasureParams.__post_init__(self)
        ToleranceParams.__post_init__(self)

    @property
    def of_points(self) -> localization_suite.Settings:
        """How the localization is measured."""
        return localization_suite.Settings(
            draws=self.draws,
            seed=self.seed,
            confidence=self.confidence,
            tolerances={"tight": self.tight_fraction, "tolerant": self.tolerant_fraction},
            size_edges_mm=self.size_edges_mm,
            contrast_edges=self.contrast_edges,
            min_stratum_nodules=self.min_stratum_nodules,
        )


@dataclass
class Results:
    """Everything that was measured."""

    measures: dict[Subject, Mapping[Key, Estimate]] = field(default_factory=dict)
    curves: dict[Subject, list[Curve]] = field(default_factory=dict)
    outcomes: dict[Subject, Sequence[Row]] = field(default_factory=dict)
    divisions: list[Division] = field(default_factory=list)
    redrawn: dict[str, Mapping[str, NDArray[np.float64]]] = field(default_factory=dict)  # thresholds by classifier
    subgroups: list[Subgroups] = field(default_factory=list)
    subgroup_tests: dict[str, int] = field(default_factory=dict)
    sources: list[SetSources] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def measure(study: Tables, params: Params) -> Results:
    """Measures, curves and outcomes of all classifiers and localizers.

    Raises:
        TableError: If the tables contradict each other.
    """
    consistency.check(study, params.sources)
    results = Results()
    scored = classify(study, params, results)
    examined = {name: gather(study, name) for name in study.localize}
    for name, images in examined.items():
        locate(name, images, study, params, results)
        if name not in consistency.DERIVED:
            read(name, study, params, results)
    results.warnings += consistency.warnings(study, scored, examined)
    images = probe.images(study.split, study.manifest, study.normalized)
    probed = probe.measure(images, params.sources, params.of_probes)
    results.measures |= probed
    results.warnings += probe.warnings(probed, images, params.sources)
    results.warnings += consistency.silent(results.measures)
    results.warnings += consistency.unread(results.measures)
    results.warnings += consistency.across(study, results.sources)
    return results


def classify(study: Tables, params: Params, results: Results) -> dict[tuple[str, str], Scored]:
    """Measure the classifiers on validation and test images, and return these with their scores.

    Thresholds are chosen anew on each resample of validation patients, and applied to a resample of test patients, or
    to the same one of validation.
    """
    of_val = replace(params.of_scores, seed=params.seed + 1)  # drawn apart from test patients
    scored, found, redrawn = {}, {}, results.redrawn
    for name in evaluation_sets.MEASURED_SPLITS:
        settings = of_val if name == VALIDATION else params.of_scores
        for classifier, infer in study.infer.items():
            images = evaluation_sets.classifier_images(infer, study.manifest, params.sources, name)
            key, subject = (classifier, name), Subject(CLASSIFICATION, classifier, name)
            scored[key] = binary_suite.with_scores(images, study.calibration[classifier])
            if name == VALIDATION:
                redrawn[classifier] = binary_suite.redraw(scored[key], study.calibration[classifier], of_val)
            found[key] = binary_suite.measure(scored[key], settings, redrawn[classifier])
            results.measures[subject] = {**found[key].measured, **answer_mass(images, params)}
            results.outcomes[subject] = outcomes.of_classifier(scored[key])
            results.curves[subject] = curves.of_classifier(scored[key], params.ece_bins, params.confidence)
            if name == TEST:
                divide(classifier, images, scored[key], redrawn[classifier], study, params, results)
        for pair in params.comparisons:
            if set(pair) <= set(study.infer):
                first, second = ((one, name) for one in pair)
                results.measures[Subject(COMPARISON, pair[0], name, pair[1])] = binary_suite.compare(
                    found[first], found[second], (scored[first], scored[second]), settings
                )
    for name, data in study.external.items():
        images = {
            one: evaluation_sets.external_images(data.infer[one], data.manifest, params.sources) for one in redrawn
        }
        scored |= classify_external(f"external/{name}", images, redrawn, study, params, results)
    return scored


def classify_external(
    subset: str,
    images: Mapping[str, pa.Table],
    redrawn: Mapping[str, Mapping[str, NDArray[np.float64]]],
    study: Tables,
    params: Params,
    results: Results,
) -> dict[tuple[str, str], Scored]:
    """Measure the classifiers on images of another place, with the study's calibrations and thresholds.

    Args:
        subset: What the images are called.
        images: Rows of `tables.INFER` with label and patient_id, by classifier.
        redrawn: Thresholds chosen on resamples of validation patients, by classifier.
        study: For the calibrations.
        params: How.
        results: Measures and curves are added to it; outcomes are of the study's own images alone.
    """
    scored, found = {}, {}
    for name, table in images.items():
        scored[name, subset] = binary_suite.with_scores(table, study.calibration[name])
        found[name] = binary_suite.measure(scored[name, subset], params.of_scores, redrawn[name])
        subject = Subject(CLASSIFICATION, name, subset)
        results.measures[subject] = {**found[name].measured, **answer_mass(table, params)}
        results.curves[subject] = curves.of_classifier(scored[name, subset], params.ece_bins, params.confidence)
    for first, second in params.comparisons:
        if {first, second} <= set(images):
            both = scored[first, subset], scored[second, subset]
            results.measures[Subject(COMPARISON, first, subset, second)] = binary_suite.compare(
                found[first], found[second], both, params.of_scores
            )
    return scored


def divide(
    classifier: str,
    images: pa.Table,
    scored: Scored,
    redrawn: Mapping[str, NDArray[np.float64]],
    study: Tables,
    params: Params,
    results: Results,
) -> None:
    """Measure a classifier on subgroups of the test images."""
    told = tables.lookup(images, study.manifest, ["sex", "age_years", "view"])
    sizes: dict[str, list[float | None]] = defaultdict(list)
    for row in study.points.to_pylist():
        sizes[row["image_id"]].append(row["diameter_mm"])
    # The largest nodule is not known where the diameter of one is not.
    nodules = [sizes.get(image, [None]) for image in told["image_id"].to_pylist()]
    largest = np.array([np.max([np.nan if size is None else size for size in row]) for row in nodules], np.float64)
    divisions = subgroups.divide(
        told, largest, age_edges_years=params.age_edges_years, size_edges_mm=params.size_edges_mm
    )
    found = subgroups.measure(scored, divisions, params.of_scores, redrawn, params.min_subgroup_images)
    for (division, group), measured in found.groups.items():
        results.measures[Subject(CLASSIFICATION, classifier, f"{TEST}/{division}/{group}")] = measured
    results.subgroup_tests[classifier] = found.n_tests
    # The same for all classifiers: they have the same test images.
    results.subgroups = [
        Subgroups(
            name=name,
            groups={part.key: (part.low, part.high) for part in one.parts},
            n_unknown=one.unknown,
            reason=one.reason,
            note=one.note,
        )
        for name, one in divisions.items()
    ]


def answer_mass(images: pa.Table, params: Params) -> dict[Key, Estimate]:
    """Mean probability that a classifier gave to its two answers together: near 0 it wants to say something else.

    Args:
        images: Rows of `tables.INFER` with patient_id.
        params: How its interval is made.
    """
    key = Key("answer_mass")
    images = images.filter(pc.is_valid(images["answer_mass"]))
    mass = images["answer_mass"].to_numpy()
    patients = np.array(images["patient_id"].to_pylist(), str)

    def mean(weights: NDArray[np.int64]) -> dict[Key, Outcome]:
        return {
            key: attempt(ratio, float(weights @ mass), float(weights.sum()), "no image was put to a model that answers")
        }

    draws = replicate(mean, patients, draws=params.draws, seed=params.seed)
    facts = {"n": len(mass), "n_patients": len(set(patients))}
    return estimates(mean(np.ones(len(mass), np.int64)), draws, facts, confidence=params.confidence)


def gather(study: Tables, localizer: str) -> list[Examined]:
    """Every image that a localizer was run on, with its nodules and the points predicted."""
    points: dict[str, list[list[float]]] = defaultdict(list)
    for row in study.points.to_pylist():
        values = (row[name] for name in ("x", "y", "diameter_mm", "contrast"))
        points[row["image_id"]].append([np.nan if value is None else value for value in values])
    predictions: dict[str, list[tuple[float, float, float, bool]]] = defaultdict(list)
    for row in study.localize[localizer].to_pylist():
        confidence = np.nan if row["confidence"] is None else row["confidence"]
        predictions[row["image_id"]].append((row["x"], row["y"], confidence, row["shown"]))
    run = pa.table({"image_id": sorted(set(study.responses[localizer]["image_id"].to_pylist()))})
    run = tables.lookup(run, study.manifest, ["patient_id", "width_px", "height_px", "spacing_mm", "label", "source"])
    examined = []
    for facts in tables.lookup(run, study.split, ["split"]).to_pylist():
        found = np.array(predictions.get(facts["image_id"], []), np.float64).reshape(-1, 4)
        true = np.array(points.get(facts["image_id"], []), np.float64).reshape(-1, 4)
        image = localization.Image(
            image_id=facts["image_id"],
            patient_id=facts["patient_id"],
            width_px=facts["width_px"],
            height_px=facts["height_px"],
            points=true[:, :2],
            predictions=found[found[:, 3] == 1, :2],
            spacing_mm=facts["spacing_mm"],
            diameter_mm=true[:, 2],
            contrast=true[:, 3],
            field=study.fields.get(facts["image_id"]),
        )
        one = Examined(image, found[:, :2], found[:, 2], facts["label"], facts["split"], facts["source"])
        examined.append(one)
    return examined


def locate(localizer: str, examined: Sequence[Examined], study: Tables, params: Params, results: Results) -> None:
    """Measure a localizer on its evaluation sets, on test images also together with each classifier."""
    settings = params.of_points
    for name in ("test", "all"):
        images = localization_suite.subset(examined, name)
        subject = Subject(LOCALIZATION, localizer, name)
        positives = localization_suite.measure_positives(images, settings)
        if name == "test":
            results.measures[subject] = localization_suite.measure(images, positives, settings)
            subject = subject._replace(subset="test/positives")
        results.measures[subject] = positives
        strata = localization_suite.measure_strata(images, settings)
        for one in strata.strata:
            results.measures[subject._replace(subset=f"{name}/{one.division}/{one.name}")] = one.measured
        for division, found in strata.divisions.items():
            results.divisions.append(
                Division(
                    localizer=localizer,
                    subset=name,
                    name=division,
                    strata={part.key: (part.low, part.high) for part in found.parts},
                    n_unknown=found.unknown,
                    reason=found.reason,
                    note=found.note,
                )
            )
    test = Subject(LOCALIZATION, localizer, "test")
    images = localization_suite.subset(examined, "test")
    results.measures[test._replace(subset="test/negatives")] = localization_suite.measure_negatives(images, settings)
    results.curves[test] = curves.of_localizer(images, settings.tolerances)
    results.outcomes[test] = outcomes.of_localizer(examined, settings.tolerances)
    join(localizer, "test", images, study, params, results)
    results.sources.append(SetSources(localizer=localizer, subset="test", sources=localization_suite.sources(images)))
    for source in sorted({one.source for one in images}):
        inside, why = localization_suite.within(images, source)
        subset = f"test/source/{source}"
        if why is None:
            positives = localization_suite.measure_positives(inside, settings)
            results.measures[test._replace(subset=subset)] = localization_suite.measure(inside, positives, settings)
            join(localizer, subset, inside, study, params, results)
            continue
        for subject in (test, *(Subject(JOINT, localizer, "test", classifier) for classifier in study.infer)):
            nothing = localization_suite.undefined(results.measures[subject], inside, why)
            results.measures[subject._replace(subset=subset)] = nothing


def join(
    localizer: str, subset: str, images: Sequence[Examined], study: Tables, params: Params, results: Results
) -> None:
    """Measure label and points together: each classifier with a localizer, at the threshold of the submission.

    Where that threshold could not be chosen, it is `half`; the estimates carry its value.
    """
    for classifier, infer in study.infer.items():
        fitted = study.calibration[classifier]
        threshold = fitted.threshold("half" if fitted.thresholds.get(params.threshold) is None else params.threshold)
        scores = tables.mapping(infer, threshold.column)
        known = {image: score for image, score in scores.items() if score is not None}
        redrawn = results.redrawn[classifier].get(threshold.name)
        joint = localization_suite.joint(images, known, threshold.value, params.of_points, redrawn)
        results.measures[Subject(JOINT, localizer, subset, classifier)] = joint


def read(localizer: str, study: Tables, params: Params, results: Results) -> None:
    """Measure how many of a localizer's responses cannot be read or were cut, and how far its attribution maps add up.

    `localized` are the images that it was run on, with what was chosen; `choosing` those on which each prompt of its
    bank was tried. A prompt stands behind a stroke.
    """
    rows = tables.lookup(study.responses[localizer], study.manifest, ["patient_id"]).to_pylist()
    prompts = list(dict.fromkeys(row["prompt"] for row in rows))
    for subset, kept in (("localized", prompts), *((f"localized/{prompt}", [prompt]) for prompt in prompts)):
        said = [row for row in rows if row["prompt"] in kept]
        parsed, errors, images, patients = (
            [row[name] for row in said] for name in ("parsed", "completeness_error", "image_id", "patient_id")
        )
        draws, seed, confidence = params.draws, params.seed, params.confidence
        results.measures[Subject(RESPONSES, localizer, subset)] = {
            **responses.measure(parsed, images, patients, draws=draws, seed=seed, confidence=confidence),
            **responses.completeness(errors, images, patients, draws=draws, seed=seed, confidence=confidence),
        }
    for row in study.choice[localizer].bank if localizer in study.choice else ():
        results.measures[Subject(RESPONSES, localizer, f"choosing/{row.prompt}")] = responses.of_counts(
            responses=row.responses,
            malformed=row.malformed,
            cut=row.cut,
            images=row.images,
            confidence=params.confidence,
        )


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
