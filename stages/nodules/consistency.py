"""Whether the tables of a study agree with each other, and what a reader must know before trusting a number of it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import tables
from stages.lib.core.errors import TableError
from stages.lib.detect import views
from stages.lib.detect.choice import Choice
from stages.lib.detect.cutoff import Cutoff
from stages.lib.images import patients
from stages.lib.metrics.binary_suite import Scored
from stages.lib.metrics.calibration import Calibration
from stages.lib.metrics.evaluation_sets import MEASURED_SPLITS, classifier_images
from stages.lib.metrics.localization import Field
from stages.lib.metrics.localization_suite import Examined
from stages.lib.metrics.measures import Key, Measures
from stages.nodules import external
from stages.nodules.external import External
from stages.nodules.notes import Counts, Placement, Responses, SetSources, SplitCounts

LEAST_ANSWER_MASS = 0.5  # mean probability of the two answers together below which a reader is warned
MOST = 0.5  # fraction of a localizer's responses, malformed or cut, above which a reader is warned of its prompt
ACROSS = {  # what is across sources, by evaluation set
    "test": (
        "test images",
        "FROC, precision, F1 and the joint score compare the two kinds, so a localizer that tells the sources apart "
        "looks as if it found nodules; what can be measured within one source is in the subsets test/source",
    ),
    "choosing": (
        "images that choose",
        "The cutoff keeps false points to its rate on the sources of the negative ones, and nothing says to which on "
        "the others",
    ),
}
DERIVED = ("combined", "cascade")  # made from what localizers found, on images that those examined


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What is measured: the study's tables, and those of each model and localizer by name."""

    manifest: pa.Table
    normalized: pa.Table
    split: pa.Table
    points: pa.Table
    infer: Mapping[str, pa.Table]
    calibration: Mapping[str, Calibration]
    localize: Mapping[str, pa.Table]
    responses: Mapping[str, pa.Table]
    choice: Mapping[str, Choice]
    cutoff: Mapping[str, Cutoff]
    fields: Mapping[str, Field]
    external: Mapping[str, External] = field(default_factory=dict)


def check(study: Tables, sources: Sequence[str]) -> None:
    """Refuse tables that contradict each other.

    Args:
        study: The tables.
        sources: Sources of the images that need a score.

    Raises:
        TableError: With every contradiction found.
    """
    problems = []
    known = set(study.manifest["image_id"].to_pylist())
    split = {row["image_id"]: row for row in study.split.to_pylist()}
    inside = study.split.filter(pc.is_in(study.split["image_id"], study.manifest["image_id"].combine_chunks()))
    for model, infer in study.infer.items():
        rows = {row["image_id"]: row for row in infer.to_pylist()}
        unlike = [
            image
            for image, row in rows.items()
            if image not in split or any(row[name] != split[image][name] for name in ("split", "label"))
        ]
        problems += _named(unlike, f"{model}: images have another split or label than in the split table")
        wanted = [
            image
            for name in MEASURED_SPLITS
            for image in classifier_images(inside, study.manifest, sources, name)["image_id"].to_pylist()
        ]
        problems += _named([image for image in wanted if image not in rows], f"{model}: images have no score")
        if model not in study.calibration:
            problems.append(f"{model}: there is no calibration")
    for name, table in study.localize.items():
        if name not in study.responses:
            problems.append(f"{name}: there is no table of responses")
            continue
        answered = set(study.responses[name]["image_id"].to_pylist())
        found = sorted(set(table["image_id"].to_pylist()) - answered)
        problems += _named(found, f"{name}: images have points but no response")
        problems += _named(sorted(answered - known), f"{name}: images are not in the manifest")
    for what, table in (("split", study.split), ("points", study.points)):
        strangers = sorted(set(table["image_id"].to_pylist()) - known)
        problems += _named(strangers, f"{what}: images are not in the manifest")
    problems += external.problems(study.external, list(study.infer), study.manifest, inside, sources)
    if problems:
        raise TableError("the tables contradict each other; run the pipeline again:\n" + "\n".join(problems))


def _named(images: Sequence[str], what: str) -> list[str]:
    """A sentence about some images, or nothing if there are none."""
    shown = ", ".join(images[:5]) + (", ..." if len(images) > 5 else "")
    return [f"{what}: {len(images)} ({shown})"] if images else []


def counts(study: Tables) -> Counts:
    """Images, patients, points and responses of each kind."""
    by_split = {}
    for name in ("train", *MEASURED_SPLITS):
        rows = [row for row in study.split.to_pylist() if row["split"] == name]
        labels = Counter(row["label"] for row in rows)
        patients = len({row["patient_id"] for row in rows})
        by_split[name] = SplitCounts(no_finding=labels[0], nodule=labels[1], unlabelled=labels[None], patients=patients)
    return Counts(
        images=study.manifest.num_rows,
        rejected=Counter(study.manifest["status"].to_pylist())["rejected"],
        patients=len(set(study.manifest["patient_id"].to_pylist())),
        points=study.points.num_rows,
        images_with_points=len(set(study.points["image_id"].to_pylist())),
        by_source=dict(sorted(Counter(study.manifest["source"].to_pylist()).items())),
        by_split=by_split,
        responses={name: count_responses(table) for name, table in study.responses.items()},
    )


def sides(study: Tables, localizer: str) -> tuple[int, int]:
    """How many findings lie on the other side of the patient than they say, and how many name a side."""
    width = tables.mapping(study.manifest, "width_px")
    placed = [
        (row["phrase"], (row["x"] + 0.5) / width[row["image_id"]])
        for row in study.localize[localizer].to_pylist()
        if row["phrase"] and views.SIDES.search(row["phrase"])
    ]
    return sum(views.contradicts(phrase, u) for phrase, u in placed), len(placed)


def count_responses(responses: pa.Table) -> Responses:
    """Number of responses of a localizer, and of each kind."""
    parsed = Counter(responses["parsed"].to_pylist())
    kinds = {kind: parsed[kind] for kind in ("ok", "empty", "malformed", "cut")}
    return Responses(n=responses.num_rows, **kinds)


def warnings(
    study: Tables, scored: Mapping[tuple[str, str], Scored], examined: Mapping[str, Sequence[Examined]]
) -> list[str]:
    """A sentence for everything that a reader must know before trusting a number."""
    found = [*leaks(study), *unknown_patients(study), *external.warnings(study.external, study.manifest)]
    rejected = Counter(study.manifest["status"].to_pylist())["rejected"]
    if rejected:
        found.append(f"{rejected} of {study.manifest.num_rows} images were rejected; the manifest says why.")
    left = left_out(study)
    if left:
        found.append(f"{left} labelled images are in no split, since data.split.file does not name them.")
    for model, fitted in study.calibration.items():
        if fitted.reason:
            found.append(f"{model}: the scores are not calibrated and no threshold is chosen: {fitted.reason}.")
        if fitted.at_bound:
            found.append(f"{model}: the temperature stopped at its bound, {fitted.temperature:.2f}.")
    for (model, name), sample in scored.items():
        positives = int(sample.labels.sum())
        if positives in (0, len(sample.labels)):
            found.append(f"{model}: {name} has {positives} images with a nodule of {len(sample.labels)}.")
        elif len(np.unique(sample.evidence)) == 1:
            found.append(f"{model}: every image of {name} has the same score.")
    with_points = set(study.points["image_id"].to_pylist())
    for name, ones in examined.items():
        said = count_responses(study.responses[name])
        if said.malformed or said.cut:
            what = f"{said.malformed} of {said.n} responses cannot be read"
            what += f", and {said.cut} were cut at max_new_tokens" if said.cut else ""
            found.append(f"{name}: {what}; only boxes that could be read in them count.")
        unasked = len(with_points - {one.image.image_id for one in ones})
        if unasked and name not in DERIVED:
            found.append(f"{name}: {unasked} of {len(with_points)} images with points were not examined.")
        wrong, named = sides(study, name)
        if wrong:
            found.append(
                f"{name}: {wrong} of {named} findings that name a side of the patient lie on the other; left is the "
                "patient's left, on the right of the image."
            )
        tested = [one for one in ones if one.split == "test"]
        if with_points and not any(one.located for one in tested):
            found.append(
                f"{name}: no test image with a marked nodule was examined, so its headline metrics are unknown."
            )
        if not any(one.negative for one in tested):
            found.append(f"{name}: no negative test image was examined, so its false points are unknown.")
    return found


def unknown_patients(study: Tables) -> list[str]:
    """A sentence, if there are images in the split whose patient is not known."""
    lonely = patients.unknown(study.manifest)["image_id"]
    n = pc.sum(pc.is_in(lonely.combine_chunks(), study.split["image_id"].combine_chunks())).as_py() or 0
    if not n:
        return []
    return [
        f"The patient of {n:,} of {study.split.num_rows:,} images is not known: each is taken for a patient of its "
        "own. If images share a patient, a patient may be in two splits, and the intervals are too narrow."
    ]


def left_out(study: Tables) -> int:
    """Number of labelled usable images that are in no split."""
    usable = pc.and_(pc.equal(study.manifest["status"], "ok"), pc.is_valid(study.manifest["label"]))
    labelled = study.manifest["image_id"].filter(usable)
    return len(labelled) - (pc.sum(pc.is_in(labelled, study.split["image_id"].combine_chunks())).as_py() or 0)


def silent(measures: Measures) -> list[str]:
    """A sentence for each classifier whose model mostly wants to say something else than its two answers."""
    key, sentences = Key("answer_mass"), []
    for subject, measured in measures.items():
        mass = measured[key].value if key in measured and subject.subset == "test" else None
        if mass is not None and mass < LEAST_ANSWER_MASS:
            sentences.append(
                f"{subject.system}: on test images its two answers together have {100 * mass:.0f} % of the "
                "probability; left to itself, the model would mostly say something else."
            )
    return sentences


def unread(measures: Measures) -> list[str]:
    """A sentence for each localizer most of whose responses to its chosen prompts are malformed or cut."""
    sentences = []
    for subject, measured in measures.items():
        if (subject.task, subject.subset) != ("responses", "localized"):
            continue
        malformed, cut = (measured[Key(name)].value or 0.0 for name in ("malformed_fraction", "cut_fraction"))
        if malformed + cut > MOST:
            sentences.append(
                f"{subject.system}: most of its responses say nothing of where nodules are: {100 * malformed:.0f} % "
                f"cannot be read and {100 * cut:.0f} % were cut at max_new_tokens. Its numbers measure the prompt more "
                "than the model: try another prompt, or raise max_new_tokens."
            )
    return sentences


def across(study: Tables, sources: Sequence[SetSources]) -> list[str]:
    """A sentence for each way in which images with nodules and negative ones are from different sources.

    Args:
        study: The tables, with the cutoffs that were chosen.
        sources: Of the evaluation sets.
    """
    sets = [(one.subset, one.sources, one.localizer) for one in sources]
    sets += [("choosing", cutoff.sources, name) for name, cutoff in study.cutoff.items() if cutoff.sources is not None]
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for subset, found, localizer in sets:
        if found.across:
            groups[subset, _told(found.marked), _told(found.negative)].append(localizer)
    sentences = []
    for (subset, marked, negative), localizers in groups.items():
        images, what = ACROSS[subset]
        sentences.append(
            f"Across sources: of the {images}, those with marked nodules are from {marked}, the negative ones from "
            f"{negative}. {what} ({', '.join(localizers)})."
        )
    return sentences


def _told(counts: Mapping[str, int]) -> str:
    """Number of images of each source, as a phrase of a sentence."""
    return ", ".join(f"{source} ({n:,})" for source, n in counts.items())


def elsewhere(placement: Placement | None) -> list[str]:
    """A sentence about images on which the random-placement baseline could not be kept to the lungs."""
    if placement is None or not placement.body + placement.image:
        return []
    images = placement.lung_field + placement.body + placement.image
    why = "; ".join(f"{problem} ({n:,})" for problem, n in placement.problems.items()) or "no normalized image"
    return [
        f"The random-placement baseline throws points into the body instead of the lung field on {placement.body:,} of "
        f"{images:,} images with marked nodules, and anywhere on {placement.image:,}: {why}."
    ]


def leaks(study: Tables) -> list[str]:
    """A sentence for patients, one for images, and one for near-duplicates, that are in more than one split."""
    pixels = tables.mapping(study.manifest, "pixel_sha256")
    alike = tables.mapping(study.manifest, "duplicate_group")
    patients, images, groups_alike = defaultdict(set), defaultdict(set), defaultdict(set)
    for row in study.split.to_pylist():
        patients[row["patient_id"]].add(row["split"])
        if pixels[row["image_id"]] is not None:
            images[pixels[row["image_id"]]].add(row["split"])
        if alike[row["image_id"]] is not None:
            groups_alike[alike[row["image_id"]]].add(row["split"])
    sentences = []
    for what, groups in (
        ("patients", patients),
        ("images", images),
        ("groups of near-duplicates", groups_alike),
    ):
        shared = sum(len(splits) > 1 for splits in groups.values())
        if shared:
            sentences.append(
                f"LEAK: {what} are shared between splits: {shared} of {len(groups)} {what} are in more than one split, "
                "so the numbers flatter the model."
            )
    return sentences
