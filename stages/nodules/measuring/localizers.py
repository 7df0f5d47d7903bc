"""Localizers: their points on each evaluation set, label and point together, and their responses."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from stages.lib.core import tables
from stages.lib.metrics import (
    curves,
    localization,
    localization_suite,
    outcomes,
    responses,
)
from stages.lib.metrics.localization_suite import Examined
from stages.lib.metrics.measures import Subject
from stages.nodules.consistency import Tables
from stages.nodules.measuring.results import (
    JOINT,
    LOCALIZATION,
    RESPONSES,
    Params,
    Results,
)
from stages.nodules.notes import Division, SetSources


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
