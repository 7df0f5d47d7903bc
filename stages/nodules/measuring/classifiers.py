"""Classifiers: on validation and test images, on subgroups of these, on data from elsewhere, and against each other."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.lib.core import tables
from stages.lib.metrics import (
    binary_suite,
    curves,
    evaluation_sets,
    outcomes,
    subgroups,
)
from stages.lib.metrics.binary_suite import Scored
from stages.lib.metrics.bootstrap import Outcome, attempt, replicate
from stages.lib.metrics.measures import Estimate, Key, Subject, estimates
from stages.lib.metrics.ratios import ratio
from stages.nodules.consistency import Tables
from stages.nodules.measuring.results import (
    CLASSIFICATION,
    COMPARISON,
    TEST,
    VALIDATION,
    Params,
    Results,
)
from stages.nodules.notes import Subgroups


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
