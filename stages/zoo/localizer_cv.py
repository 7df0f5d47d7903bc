"""Leave one patient out: a heatmap is trained and measured on all annotated images of the study, one fit per patient.

The exception to the rule that test images alone are measured: annotated images are few, so each is looked at by a
heatmap that no image of its patient has taught. Nothing is chosen by these numbers, and nothing is submitted.

in   manifest    tables.MANIFEST
     split       tables.SPLIT
     points      tables.POINTS
     normalized  tables.NORMALIZED at the row's side
     tokens      feature_tables.TOKENS of the purpose located, all shards, and
     embedded    their records
     rivals      tables.LOCALIZE of localizers of the study; the file's name is the localizer's
     responses   tables.RESPONSES of each: which images it was asked about
     choices     JSON by nodules.select and
     cutoffs     JSON by nodules.merge, of each: which splits chose its prompt and its cutoff
out  measures, curves, outcomes  tables of those names
     notes       JSON, as records.CrossValidated

A negative image is measured if no fold trained on it, and none on its patient: those of val and test. Each is looked at
by the heatmap of one fold, its patient's own if that has annotated images. Each fold's cutoff is chosen on negative
images of the train split that teach no fold.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from stages.lib.core import cli, documents, kinds, params, tables
from stages.lib.core.errors import ParamsError, TableError
from stages.lib.core.params import Row, unknown
from stages.lib.core.progress import track
from stages.lib.detect.choice import Choice, SelectParams
from stages.lib.detect.cutoff import Cutoff, Shown, at_rate
from stages.lib.detect.trainable import Known, MarksError, Setting
from stages.lib.detect.trained import heatmap
from stages.lib.images.normalized import preprocessing_hash
from stages.lib.metrics import curves, evaluation_sets, localization, localization_suite, outcomes
from stages.lib.metrics.bootstrap import attempt, replicate
from stages.lib.metrics.cohort import OpenFraction, ToleranceParams
from stages.lib.metrics.localization_suite import Examined, Settings
from stages.lib.metrics.measures import Estimate, Key, Measured, Subject, estimates
from stages.lib.metrics.measures import table as measures_table
from stages.zoo import marks
from stages.zoo.localize import candidates
from stages.zoo.marks import Study
from stages.zoo.records import CHAPTER, CrossValidated, Embedded, Fold, RivalNotes

LOCALIZATION, COMPARISON = "localization", "comparison"
SUBSET = "leave_one_patient_out"
EQUAL_RATE = f"{SUBSET}/equal_rate"  # each system at the rate of false points that is wanted, on these very images
NEGATIVES = f"{SUBSET}/negatives"
UNCHOSEN = f"{SUBSET}/chose_nothing"  # images that chose no prompt and no cutoff of any rival
MARKED_KEYS = ("recall", "precision", "f1")
ENDINGS = {"rivals": "", "responses": "_responses", "choices": "_choice", "cutoffs": "_cutoff"}
NO_POINTS = np.zeros((0, 2))
Supervision = Literal["marks", "image_labels", "both"]


@params.section
class Params:
    """Which heatmap is left one patient out, how often, and beside whom."""

    localizer: params.Text  # row of zoo.localizers, of the kind heatmap
    supervision: Annotated[tuple[Supervision, ...], Field(min_length=1)]  # in the place of the row's own, one by one
    sources: Annotated[tuple[params.Text, ...], Field(min_length=1)]  # of the annotated images
    rivals: tuple[params.Text, ...]  # rows of nodules.localizers, or combined, on the same images
    cutoff_images: params.Count  # negative images of the train split that choose each fold's cutoff, and teach nothing
    false_points_per_image: params.PositiveFloat  # on negative images, at most
    draws: params.Count  # resamples of patients for an interval
    confidence: OpenFraction  # of the intervals
    seed: params.Seed  # of the samples, the assignment of negative images to folds, and the resamples


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Which images do what; none is in two parts but as `folds` says.

    Attributes:
        marked: Annotated images: each is measured by its patient's fold, and teaches the others.
        teaching: Negative images that teach.
        choosing: Negative images that choose each fold's cutoff.
        measured: Negative images that are measured.
        folds: Patients of the annotated images, in ascending order: a fold leaves one of them out.
    """

    marked: tuple[Known, ...]
    teaching: tuple[Known, ...]
    choosing: tuple[Known, ...]
    measured: tuple[Known, ...]
    folds: tuple[str, ...]

    def looked_at(self, seed: int) -> dict[str, list[Known]]:
        """Images that each fold's heatmap is measured on: those of its patient, and some negative ones of others."""
        found: dict[str, list[Known]] = {fold: [] for fold in self.folds}
        for image in self.marked:
            found[image.patient_id].append(image)
        strangers = [image for image in self.measured if image.patient_id not in found]
        for image in self.measured:
            if image.patient_id in found:
                found[image.patient_id].append(image)
        order = np.random.default_rng(seed).permutation(len(strangers))
        for place, number in enumerate(order.tolist()):
            found[self.folds[place % len(self.folds)]].append(strangers[number])
        return found


@dataclass(frozen=True)
class Found:
    """What one system says of one image.

    Attributes:
        points: x and y, shape (n, 2), pixels of the original.
        confidence: Of each, shape (n,); NaN where it has none.
        shown: Whether each reaches the system's cutoff, shape (n,).
    """

    points: NDArray[np.float64]
    confidence: NDArray[np.float64]
    shown: NDArray[np.bool_]


Points = Mapping[str, Found]


def parts(study: Study, images: Sequence[Known], row: heatmap.Params, params: Params) -> Parts:
    """Which images do what, of those that have tokens.

    Args:
        study: Tables of the study.
        images: All of them that have tokens, in ascending order.
        row: The heatmap.
        params: See `Params`.

    Raises:
        MarksError: If the annotated images are of fewer than two patients, or no negative image is left to teach.
    """
    split, source = tables.mapping(study.split, "split"), tables.mapping(study.manifest, "source")
    marked = [image for image in images if image.marked and source[image.image_id] in params.sources]
    pool = [image for image in images if image.negative and split.get(image.image_id) == "train"]
    names, patients = [image.image_id for image in pool], [image.patient_id for image in pool]
    drawn = set(evaluation_sets.of_many_patients(names, patients, params.cutoff_images, params.seed))
    choosing = [image for image in pool if image.image_id in drawn]
    theirs = {image.patient_id for image in choosing}
    rest = [image for image in pool if image.patient_id not in theirs]
    if choosing and not rest:
        raise MarksError(
            "a localizer cannot be trained:",
            [
                f"zoo.localizer_cv.cutoff_images: found {params.cutoff_images}, which leaves none of the {len(pool)} "
                "negative images of the train split to teach; lower it"
            ],
        )
    teaching = heatmap.teaching(row, rest)
    taught = {image.patient_id for image in (*teaching, *choosing)}
    measured = [
        image
        for image in images
        if image.negative and split.get(image.image_id) in evaluation_sets.MEASURED_SPLITS
        if image.patient_id not in taught
    ]
    heatmap.check_marks(params.localizer, [*marked, *teaching])
    folds = sorted({image.patient_id for image in marked})
    return Parts(
        marked=tuple(marked),
        teaching=tuple(teaching),
        choosing=tuple(choosing),
        measured=tuple(measured),
        folds=tuple(folds),
    )


def leave_out(
    row: heatmap.Params, setting: Setting, of: Parts, rate: float, seed: int
) -> tuple[dict[str, Found], tuple[Fold, ...]]:
    """What heatmaps say of images whose patient taught them nothing.

    Args:
        row: The heatmap.
        setting: See `Setting`.
        of: Which images do what.
        rate: False points per negative image, at most, on those that choose the cutoff.
        seed: Of the assignment of negative images to folds.

    Returns:
        What is said of each image, and the folds.
    """
    prepared = heatmap.prepare(row, setting, [*of.marked, *of.teaching])
    looked_at = of.looked_at(seed)
    found: dict[str, Found] = {}
    folds = []
    for patient in track(of.folds, total=len(of.folds), what=f"leave one out, {row.supervision}", unit="patients"):
        head = heatmap.learn(row, prepared.taught_by(prepared.patients != patient))
        choosing = [image for image in of.choosing if image.patient_id != patient]
        seen = (_raw(row, setting, head, image) for image in choosing)
        cutoff = cutoff_at(rate, [Shown(points, confidence, NO_POINTS, 1.0) for points, confidence in seen])
        for image in looked_at[patient]:
            points, confidence = _raw(row, setting, head, image)
            reached = np.ones(len(points), bool) if cutoff is None else confidence >= cutoff
            found[image.image_id] = Found(points, confidence, reached)
        folds.append(Fold(patient_id=patient, cutoff=cutoff, choosing_images=len(choosing)))
    return found, tuple(folds)


def cutoff_at(rate: float, negative: Sequence[Shown]) -> float | None:
    """Lowest cutoff that keeps to a rate of false points on some negative images; None if all points do.

    Where even the surest point is one too many, it lies just above that.

    >>> one = Shown(np.zeros((1, 2)), np.array([0.5]), NO_POINTS, 1.0)
    >>> cutoff_at(1.0, [one]), cutoff_at(0.5, [one]) > 0.5
    (None, True)
    """
    counts = at_rate(negative, rate)
    if counts.cutoff is None or counts.false_on_negatives <= rate * counts.negatives:
        return counts.cutoff
    return float(np.nextafter(counts.cutoff, np.inf))


def _raw(
    row: heatmap.Params, setting: Setting, head: heatmap.Head, image: Known
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points and confidences on an image, whose label and marks are not seen."""
    made = candidates(heatmap.peaks(row, setting, head, marks.bare(image)), image.geometry)
    points = np.array([(one.x, one.y) for one in made], np.float64).reshape(-1, 2)
    return points, np.array([one.confidence for one in made], np.float64)


def of_rival(table: pa.Table, responses: pa.Table) -> dict[str, Found]:
    """What a localizer of the study says of each image that it was asked about."""
    rows: dict[str, list[tuple[float, float, float, bool]]] = defaultdict(list)
    for row in table.to_pylist():
        confidence = np.nan if row["confidence"] is None else row["confidence"]
        rows[row["image_id"]].append((row["x"], row["y"], confidence, row["shown"]))
    made = {}
    for name in set(responses["image_id"].to_pylist()):
        values = np.array(rows.get(name, []), np.float64).reshape(-1, 4)
        made[name] = Found(values[:, :2], values[:, 2], values[:, 3] == 1)
    return made


def examined(study: Study, images: Sequence[Known], points: Points) -> list[Examined]:
    """Images as they are measured, with what a system says of them."""
    split, source = tables.mapping(study.split, "split"), tables.mapping(study.manifest, "source")
    made = []
    for image in images:
        found = points[image.image_id]
        measured = localization.Image(
            image_id=image.image_id,
            patient_id=image.patient_id,
            width_px=image.geometry.width_px,
            height_px=image.geometry.height_px,
            points=image.points,
            predictions=found.points[found.shown],
            spacing_mm=image.spacing_mm,
        )
        where = split.get(image.image_id), source[image.image_id]
        made.append(Examined(measured, found.points, found.confidence, image.label, *where))
    return made


def at_equal_rate(images: Sequence[Known], points: Points, rate: float) -> dict[str, Found]:
    """The same points, shown from the lowest cutoff that keeps to a rate on these images' own negative ones.

    That cutoff is read off the images that are measured, as a FROC curve is: it says what a system can do at a rate,
    and not what it would do with a cutoff that was chosen before.
    """
    seen = [
        Shown(points[image.image_id].points, points[image.image_id].confidence, image.points, 1.0) for image in images
    ]
    cutoff = at_rate(seen, rate).cutoff
    return {
        name: replace(one, shown=np.ones(len(one.shown), bool) if cutoff is None else ~(one.confidence < cutoff))
        for name, one in points.items()
    }


def measure(
    study: Study,
    images: Sequence[Known],
    systems: Mapping[str, Points],
    unchosen: set[str],
    params: Params,
    how: Settings,
) -> tuple[dict[Subject, Measured], dict[Subject, list[curves.Curve]], dict[Subject, Sequence[outcomes.Row]]]:
    """Measures, curves and outcomes of each system on the same images, and their differences to the first system.

    Args:
        study: Tables of the study.
        images: Annotated and negative images that every system looked at.
        systems: What each says, by its name.
        unchosen: Those of the images that chose nothing for any rival.
        params: See `Params`.
        how: Tolerances, draws, seed and confidence.
    """
    made: dict[Subject, Measured] = {}
    drawn: dict[Subject, list[curves.Curve]] = {}
    rows: dict[Subject, Sequence[outcomes.Row]] = {}
    equal = {name: at_equal_rate(images, points, params.false_points_per_image) for name, points in systems.items()}
    for name, points in systems.items():
        subject = Subject(LOCALIZATION, name, SUBSET)
        seen = examined(study, images, points)
        made[subject] = _of_marked(seen, how)
        made[subject._replace(subset=NEGATIVES)] = localization_suite.measure_negatives(seen, how)
        same = examined(study, images, equal[name])
        negative = localization_suite.measure_negatives(same, how)
        made[subject._replace(subset=EQUAL_RATE)] = _of_marked(same, how)
        made[subject._replace(subset=f"{EQUAL_RATE}/negatives")] = negative
        some = [one for one in seen if one.image.image_id in unchosen]
        if any(one.located for one in some):
            made[subject._replace(subset=UNCHOSEN)] = _of_marked(some, how)
        drawn[subject] = curves.of_localizer(seen, how.tolerances)
        rows[subject] = outcomes.of_localizer(seen, how.tolerances)
    first, *others = systems
    for other in others:
        for subset, said in ((SUBSET, systems), (EQUAL_RATE, equal)):
            one, two = (
                [some for some in examined(study, images, said[name]) if some.located] for name in (first, other)
            )
            made[Subject(COMPARISON, first, subset, other)] = differences(one, two, how)
    return made, drawn, rows


def _of_marked(seen: Sequence[Examined], how: Settings) -> Measured:
    found = localization_suite.measure_positives(seen, how)
    return {key: one for key, one in found.items() if key.metric in MARKED_KEYS}


def differences(first: Sequence[Examined], second: Sequence[Examined], how: Settings) -> dict[Key, Estimate]:
    """Recall of one system less that of another on the same annotated images, at each tolerance.

    Args:
        first: The images, with what the one says.
        second: The same images, with what the other says.
        how: Tolerances, draws, seed and confidence.
    """
    patients = np.array([one.image.patient_id for one in first], str)
    points = np.array([len(one.image.points) for one in first], np.int64)
    facts = {"n": len(first), "n_patients": len(set(patients.tolist())), "n_points": int(points.sum())}
    made = {}
    for name, fraction in how.tolerances.items():
        gained = np.subtract(
            *(localization.find_pairs([one.image for one in some], fraction).true_positives for some in (first, second))
        )

        def gap(weights: NDArray[np.int64], gained: NDArray[np.int64] = gained) -> dict[Key, localization.Outcome]:
            whole = float(weights @ points)
            return {Key("recall"): attempt(localization.ratio, float(weights @ gained), whole, "no image has a nodule")}

        found = gap(np.ones(len(first), np.int64))
        draws = replicate(gap, patients, draws=how.draws, seed=how.seed)
        made[Key("recall", name)] = estimates(found, draws, facts, confidence=how.confidence)[Key("recall")]
    return made


def chose(study: Study, select: SelectParams, choice: Choice | None, cutoff: Cutoff | None) -> set[str]:
    """Images that chose the prompt or the cutoff of a localizer."""
    found: set[str] = set()
    for splits in {one.splits for one in (choice, cutoff) if one is not None and one.splits}:
        found |= evaluation_sets.choosing_images(
            study.split, study.points, splits, negative_images=select.negative_images, seed=select.seed
        )
    return found


def heatmap_row(wanted: Params, rows: Mapping[str, Row]) -> heatmap.Params:
    """Row of the heatmap.

    Raises:
        ParamsError: If there is no such row, or it is of another kind.
    """
    if wanted.localizer not in rows:
        raise ParamsError("zoo.localizer_cv.localizer:", [unknown(wanted.localizer, rows)])
    row = rows[wanted.localizer]
    if not isinstance(row.params, heatmap.Params):
        raise ParamsError(
            "zoo.localizer_cv.localizer:",
            [f"found {wanted.localizer} of the kind {row.kind}, wanted one of the kind heatmap, which is fitted often"],
        )
    return row.params


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A localizer of the study.

    Attributes:
        name: Its name.
        found: What it says of each image that it was asked about.
        chose: Images that chose its prompt or its cutoff.
    """

    name: str
    found: Points
    chose: set[str]

    def notes(self, images: Sequence[Known]) -> RivalNotes:
        """How many of some images it was asked about, and how many of these chose for it."""
        asked = [image for image in images if image.image_id in self.found]
        return RivalNotes(
            localizer=self.name,
            images=len(asked),
            chose_marked=sum(image.marked and image.image_id in self.chose for image in asked),
            chose_negative=sum(image.negative and image.image_id in self.chose for image in asked),
        )


def read_rivals(args: argparse.Namespace, study: Study) -> list[Rival]:
    """The localizers of the study that are shown beside, in the order of the parameters.

    Raises:
        ParamsError: If a file of one was not given.
    """
    given = {
        option: {Path(path).stem.removesuffix(ending): path for path in getattr(args, option) or ()}
        for option, ending in ENDINGS.items()
    }
    wanted = args.params.localizer_cv.rivals
    problems = [
        f"--{option}: found {', '.join(given[option]) or 'none'}, wanted that of {name} too"
        for name in wanted
        for option in ("rivals", "responses")
        if name not in given[option]
    ]
    if problems:
        raise ParamsError("rivals of the trained localizer:", problems)
    made = []
    for name in wanted:
        choice = documents.read(given["choices"][name], Choice) if name in given["choices"] else None
        cutoff = documents.read(given["cutoffs"][name], Cutoff) if name in given["cutoffs"] else None
        found = of_rival(
            tables.read(given["rivals"][name], tables.LOCALIZE), tables.read(given["responses"][name], tables.RESPONSES)
        )
        made.append(Rival(name=name, found=found, chose=chose(study, args.params.select, choice, cutoff)))
    return made


def common(localizer: str, images: Sequence[Known], systems: Mapping[str, Points]) -> list[Known]:
    """Images that every system looked at.

    Raises:
        TableError: If none of them is annotated, or none is negative.
    """
    found = [image for image in images if all(image.image_id in points for points in systems.values())]
    if not any(image.marked for image in found) or not any(image.negative for image in found):
        raise TableError(
            f"{localizer}: found no annotated or no negative image that all of {', '.join(systems)} looked at, wanted "
            "both; run the localizers again, or name fewer rivals"
        )
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Read the tables, leave out one patient after the other, measure, write."""
    began = time.monotonic()
    args = cli.parse(
        __doc__,
        argv,
        params={
            "zoo.localizer_cv": Params,
            "zoo.localizers": kinds.rows(kinds.TRAINED_LOCALIZERS),
            "nodules.select": SelectParams,
            "nodules.tolerance": ToleranceParams,
        },
        reads=["manifest", "split", "points", "normalized", "tokens", "embedded", *ENDINGS],
        writes=["measures", "curves", "outcomes", "notes"],
        many=["tokens", "embedded", *ENDINGS],
        optional=[*ENDINGS],
    )
    wanted: Params = args.params.localizer_cv
    tolerance: ToleranceParams = args.params.tolerance
    row = heatmap_row(wanted, args.params.localizers)
    study = Study(
        manifest=tables.read(args.manifest, tables.MANIFEST),
        split=tables.read(args.split, tables.SPLIT),
        points=tables.read(args.points, tables.POINTS),
        normalized=tables.read(args.normalized, tables.NORMALIZED),
    )
    embedded = [documents.read(path, Embedded) for path in args.embedded]
    failed = next((one.failure for one in embedded if one.failure), None)
    if failed is not None:
        raise TableError(f"{wanted.localizer}: found no tokens, as {failed.stage} failed: {failed.reason}")
    rivals = read_rivals(args, study)
    ids = marks.there(sorted(study.split["image_id"].to_pylist()), args.tokens)
    hash_ = preprocessing_hash(study.normalized)
    images, rows = marks.with_tokens(wanted.localizer, row, study.known(ids), args.tokens, embedded, hash_)
    setting = Setting(row=wanted.localizer, folder=Path(args.notes).parent, rows=rows)
    of = parts(study, images, row, wanted)
    systems: dict[str, Points] = {}
    folds: dict[str, tuple[Fold, ...]] = {}
    for supervision in wanted.supervision:
        name, one = f"{wanted.localizer}_{supervision}", replace(row, supervision=supervision)
        systems[name], folds[name] = leave_out(one, setting, of, wanted.false_points_per_image, wanted.seed)
    systems |= {rival.name: rival.found for rival in rivals}
    measured = [*of.marked, *of.measured]
    shared = common(wanted.localizer, measured, systems)
    unchosen = {image.image_id for image in shared}.difference(*(rival.chose for rival in rivals))
    how = Settings(
        draws=wanted.draws,
        seed=wanted.seed,
        confidence=wanted.confidence,
        tolerances={"tight": tolerance.tight_fraction, "tolerant": tolerance.tolerant_fraction},
    )
    found, drawn, told = measure(study, shared, systems, unchosen, wanted, how)
    tables.write(args.measures, measures_table(CHAPTER, found), tables.MEASURES)
    tables.write(args.curves, curves.table(CHAPTER, drawn), tables.CURVES)
    tables.write(args.outcomes, outcomes.table(CHAPTER, told), tables.OUTCOMES)
    marked = [image for image in shared if image.marked]
    notes = CrossValidated(
        localizer=wanted.localizer,
        systems=tuple(systems),
        trained=tuple(folds),
        images=len(marked),
        patients=len({image.patient_id for image in marked}),
        points=sum(len(image.points) for image in marked),
        sources=wanted.sources,
        left_out=len(measured) - len(shared),
        teaching_negatives=len(of.teaching),
        choosing_negatives=len(of.choosing),
        measured_negatives=len(shared) - len(marked),
        unchosen_images=sum(image.image_id in unchosen for image in marked),
        false_points_per_image=wanted.false_points_per_image,
        tight_fraction=tolerance.tight_fraction,
        tolerant_fraction=tolerance.tolerant_fraction,
        confidence=wanted.confidence,
        folds=folds,
        rivals=tuple(rival.notes(measured) for rival in rivals),
        random_weights=any(bool(one.random_weights) for one in embedded),
        seconds=time.monotonic() - began,
    )
    documents.write(args.notes, notes)


if __name__ == "__main__":
    cli.run(main)
