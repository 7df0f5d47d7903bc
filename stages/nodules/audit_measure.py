"""Measure the audits: each change of images, prompt or labels with its effect, its interval, and whether it passes.

in   manifest     tables.MANIFEST
     normalized   tables.NORMALIZED
     split        tables.SPLIT
     scores       tables.AUDIT of each classifier; the file's name is the classifier's
     infer        tables.INFER of each classifier
     calibration  <classifier>_calibration.json of each classifier
     shuffled     tables.INFER of each classifier that was trained on shuffled labels
out  measures     tables.MEASURES
     curves       tables.CURVES: ROC AUC by severity of each corruption
     audits       JSON, see `audits.Audits`
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.lib.core import cli, documents, kinds, params, tables
from stages.lib.core.errors import CalibrationError, TableError
from stages.lib.core.log import LOG
from stages.lib.images.variants import (
    BLANK,
    BORDER,
    CORRUPTION,
    LUNG_FIELD,
    MARKER,
    NO_MARKER,
    NODULE,
    ORIGINAL,
    PROMPT,
    AuditParams,
)
from stages.lib.metrics import audits as metrics
from stages.lib.metrics import calibration, curves, evaluation_sets, measures, probe
from stages.lib.metrics.audits import Limits, Settings, Verdict
from stages.lib.metrics.calibration import Calibration
from stages.lib.metrics.cohort import CohortParams, OpenFraction
from stages.lib.metrics.curves import Curve
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.models import prompts
from stages.lib.models.prompts import PromptParams
from stages.nodules.audits import CHANGED, EVERYWHERE, PROBE, SHUFFLED, TASK, TITLES, Audit, Audits
from stages.nodules.notes import CHAPTER

Floats = NDArray[np.float64]
Variant = tuple[str, str, int | None]  # audit, variant, severity
IMAGES = {
    LUNG_FIELD: ("only", "what lies outside the lungs bears on the score, or the model is lost without it"),
    BORDER: ("only", ""),
    MARKER: ("removed", "a marker bears on the score"),
    BLANK: ("flat", ""),
}


@params.section
class Params:
    """How audits are measured, and what passes."""

    draws: params.Count  # resamples of patients for an interval
    seed: params.Seed  # of the resamples
    confidence: OpenFraction  # of the intervals
    max_chance_auc: params.Fraction  # an interval above 0.5 passes for chance if it ends below this
    max_auc_fall: params.Fraction  # a fall of the ROC AUC that is less is none
    min_images: params.Count  # of each class; with fewer an audit has no outcome
    min_agreement: params.Fraction  # of the calls under two prompts
    threshold: Literal["half", "f1", "youden", "specificity_95"]  # that calls an image positive

    @property
    def settings(self) -> Settings:
        """How they are measured."""
        return Settings(draws=self.draws, seed=self.seed, confidence=self.confidence)

    @property
    def limits(self) -> Limits:
        """What passes."""
        return Limits(
            max_chance_auc=self.max_chance_auc,
            max_auc_fall=self.max_auc_fall,
            min_images=self.min_images,
            min_agreement=self.min_agreement,
        )


@dataclass(frozen=True)
class Answers:
    """Scores of one classifier on the images of the audits.

    Attributes:
        labels: 0 or 1, shape (n,); images without a label are not asked about.
        patients: Patient of each image, shape (n,).
        margins: Scores by variant, shape (n,), NaN where there is none.
        problems: Why there is none, by variant: number of images by reason.
        asked: Images that a variant was wanted of, by variant: bool, shape (n,).
    """

    labels: NDArray[np.int64]
    patients: NDArray[Any]
    margins: Mapping[Variant, Floats]
    problems: Mapping[Variant, Mapping[str, int]]
    asked: Mapping[Variant, NDArray[np.bool_]]


@dataclass
class Results:
    """Everything that was measured."""

    measures: dict[Subject, Mapping[Key, Estimate]] = field(default_factory=dict)
    curves: dict[Subject, list[Curve]] = field(default_factory=dict)
    audits: list[Audit] = field(default_factory=list)

    def join(self, other: "Results") -> None:
        """Take over what another has."""
        self.measures |= other.measures
        self.curves |= other.curves
        self.audits += other.audits

    def add(
        self,
        system: str,
        kind: str,
        variant: str,
        measured: Mapping[Key, Estimate],
        verdict: Verdict,
        *,
        changed: str | None = None,
        n_changed: int = 0,
        problems: Mapping[str, int] | None = None,
    ) -> None:
        """Add one audit with its measures."""
        subset = f"test/{kind}/{variant}"
        if measured:
            self.measures[Subject(TASK, system, subset)] = measured
        self.audits.append(
            Audit(
                audit=kind,
                variant=variant,
                system=system,
                title=TITLES[kind],
                changed=changed or CHANGED[kind],
                subset=subset,
                n_changed=n_changed,
                problems=dict(problems or {}),
                outcome=verdict.outcome,
                reason=verdict.reason,
            )
        )


def answers(scores: pa.Table, manifest: pa.Table, split: pa.Table) -> Answers:
    """Scores of one classifier by variant.

    Raises:
        TableError: If an image is not in the manifest, or was not asked about as it is.
    """
    images = pa.table({"image_id": sorted(set(scores["image_id"].to_pylist()))})
    images = tables.lookup(tables.lookup(images, manifest, ["patient_id"]), split, ["label"])
    known = [row for row in images.to_pylist() if row["label"] is not None and row["patient_id"] is not None]
    if len(known) < images.num_rows:
        raise TableError(f"{images.num_rows - len(known)} audited images have no label or are not in the manifest")
    place = {row["image_id"]: number for number, row in enumerate(known)}
    margins: dict[Variant, Floats] = {}
    problems: dict[Variant, Counter[str]] = {}
    asked: dict[Variant, NDArray[np.bool_]] = {}
    for row in scores.to_pylist():
        key, number = (row["audit"], row["variant"], row["severity"]), place[row["image_id"]]
        asked.setdefault(key, np.zeros(len(known), bool))[number] = True
        here = margins.setdefault(key, np.full(len(known), np.nan))
        if row["problem"] is None:
            here[number] = row["logit_positive"] - row["logit_negative"]
        else:
            problems.setdefault(key, Counter())[row["problem"]] += 1
    original = margins.get((ORIGINAL, ORIGINAL, None), np.full(len(known), np.nan))
    if np.isnan(original).any():
        raise TableError(f"{int(np.isnan(original).sum())} audited images were not asked about as they are")
    return Answers(
        labels=np.array([row["label"] for row in known], np.int64),
        patients=np.array([row["patient_id"] for row in known], str),
        margins=margins,
        problems=problems,
        asked=asked,
    )


def audit(found: Answers, system: str, fitted: Calibration, prompts: Mapping[str, str], given: Params) -> Results:
    """Audits of one classifier's scores.

    Args:
        found: The scores.
        system: Name of the classifier.
        fitted: Its calibration, which has the threshold that calls an image.
        prompts: Texts of the other prompts, by variant.
        given: See `Params`.
    """
    results, before = Results(), found.margins[ORIGINAL, ORIGINAL, None]
    _nodule(results, found, system, before, given)
    after = _afters(found, before)
    areas = metrics.areas(found.labels, found.patients, before, after, given.settings)
    for kind, (variant, what) in IMAGES.items():
        key, measured = (kind, variant, None), areas.get(_name((kind, variant, None)), {})
        problems = found.problems.get(key, {})
        verdict = _verdict(kind, measured, problems, what, given)
        n_changed = int(np.isfinite(found.margins[key]).sum()) if key in found.margins else 0
        results.add(system, kind, variant, measured, verdict, n_changed=n_changed, problems=problems)
    _corruptions(results, found, system, areas, given)
    _prompts(results, found, system, fitted, prompts, areas, before, given)
    return results


def _afters(found: Answers, before: Floats) -> dict[str, Floats]:
    """Scores after each change; of an image without a marker those before."""
    after = {}
    for key, margins in found.margins.items():
        if key[0] in (ORIGINAL, NODULE):
            continue
        unchanged = found.asked[key] & np.isnan(margins) if key[0] == MARKER else np.zeros(len(before), bool)
        after[_name(key)] = np.where(unchanged & ~_lost(found), before, margins)
    return after


def _lost(found: Answers) -> NDArray[np.bool_]:
    """Images whose lung field was not found: of these it is not known what a marker is."""
    fields = found.margins.get((BORDER, "only", None))
    return np.zeros(len(found.labels), bool) if fields is None else np.isnan(fields)


def _name(key: Variant) -> str:
    audit, variant, severity = key
    return f"{audit}/{variant}" if severity is None else f"{audit}/{variant}/{severity}"


def _nodule(results: Results, found: Answers, system: str, before: Floats, given: Params) -> None:
    key, control = (NODULE, "filled", None), (NODULE, "control", None)
    if key not in found.margins:
        results.add(system, NODULE, "filled", {}, Verdict("null", "no test image has marked nodules"))
        return
    asked = found.asked[key]
    measured = metrics.drops(
        found.patients[asked],
        before[asked],
        found.margins[key][asked],
        found.margins[control][asked],
        given.settings,
    )
    verdict = metrics.attention(measured[metrics.EXCESS], given.limits)
    n_changed = measured[metrics.EXCESS].n or 0
    problems = found.problems.get(control, {})
    results.add(system, NODULE, "filled", measured, verdict, n_changed=n_changed, problems=problems)


def _verdict(
    kind: str, measured: Mapping[Key, Estimate], problems: Mapping[str, int], what: str, given: Params
) -> Verdict:
    if not measured:
        return Verdict("null", "no image was asked about")
    if kind in (BORDER, BLANK):
        return metrics.chance(measured[metrics.AFTER], given.limits)
    n_asked = measured[metrics.CHANGE].n or 0
    if kind == MARKER and problems.get(NO_MARKER, 0) >= n_asked:
        return Verdict("null", f"no marker was found on {n_asked} images")
    return metrics.fall(measured[metrics.CHANGE], given.limits, what=what)


def _corruptions(
    results: Results, found: Answers, system: str, areas: Mapping[str, Mapping[Key, Estimate]], given: Params
) -> None:
    """A curve of each corruption, and an outcome of its mildest severity."""
    names: dict[str, list[int]] = {}
    for audit, variant, severity in found.margins:
        if audit == CORRUPTION and severity is not None:
            names.setdefault(variant, []).append(severity)
    for name, severities in names.items():
        steps = [areas[f"{CORRUPTION}/{name}/{severity}"] for severity in sorted(severities)]
        for severity, measured in zip(sorted(severities), steps, strict=True):
            results.measures[Subject(TASK, system, f"test/{CORRUPTION}/{name}/{severity}")] = measured
        mild = steps[0]
        verdict = metrics.fall(
            mild[metrics.CHANGE], given.limits, what="the mildest severity already bears on the score"
        )
        changed = f"{CHANGED[name]}, severity 1 of {len(steps)}; the curve has all"
        n_changed = mild[metrics.AFTER].n or 0
        results.add(system, CORRUPTION, f"{name}", mild, verdict, changed=changed, n_changed=n_changed)
        points = [mild[metrics.BEFORE], *(measured[metrics.AFTER] for measured in steps)]
        if all(one.value is not None and one.low is not None and one.high is not None for one in points):
            values = np.array([[one.value, one.low, one.high] for one in points], np.float64)
            results.curves.setdefault(Subject(TASK, system, "test"), []).append(
                Curve(
                    curve="corruption",
                    at=name,
                    x=np.array([0, *sorted(severities)], np.float64),
                    y=values[:, 0],
                    low=values[:, 1],
                    high=values[:, 2],
                    n=np.array([one.n for one in points], np.int64),
                )
            )


def _prompts(
    results: Results,
    found: Answers,
    system: str,
    fitted: Calibration,
    prompts: Mapping[str, str],
    areas: Mapping[str, Mapping[Key, Estimate]],
    before: Floats,
    given: Params,
) -> None:
    """Agreement of the calls under the study's prompt and under each other."""
    for name, text in prompts.items():
        key = (PROMPT, name, None)
        changed = f"asked: {text}"
        problems = found.problems.get(key, {})
        kept = np.isfinite(found.margins.get(key, np.full(len(before), np.nan)))
        if not kept.any():
            reason = next(iter(problems), "no image was asked about")
            results.add(system, PROMPT, name, {}, Verdict("null", reason), changed=changed, problems=problems)
            continue
        try:
            first, second = (called(fitted, margins[kept], given.threshold) for margins in (before, found.margins[key]))
        except CalibrationError as error:
            results.add(system, PROMPT, name, areas[_name(key)], Verdict("null", str(error)), changed=changed)
            continue
        agreed = metrics.agreement(found.patients[kept], first, second, given.settings)
        verdict = metrics.consistency(agreed[metrics.AGREEMENT], agreed[metrics.KAPPA], given.limits)
        measured = {**areas[_name(key)], **agreed}
        results.add(
            system, PROMPT, name, measured, verdict, changed=changed, n_changed=int(kept.sum()), problems=problems
        )


def called(fitted: Calibration, margins: Floats, name: str) -> NDArray[np.bool_]:
    """Images that a threshold calls positive, bool, shape (n,).

    Args:
        fitted: Calibration of the classifier.
        margins: Scores, shape (n,).
        name: Name of the threshold.

    Raises:
        CalibrationError: If the threshold was not chosen.
    """
    threshold = fitted.threshold(name)
    probability = fitted.probability(margins) if threshold.column == "score_calibrated" else None
    return (calibration.sigmoid(margins) if probability is None else probability) >= threshold.value


def audit_training(
    infer: Mapping[str, pa.Table],
    shuffled: Mapping[str, pa.Table],
    bases: Mapping[str, str],
    wanted: bool,
    images: pa.Table,
    given: Params,
) -> Results:
    """Audit of each classifier that was trained again, on shuffled labels, on all test images of the cohort.

    Args:
        infer: Table `tables.INFER` of each classifier.
        shuffled: The same of those that were trained on shuffled labels.
        bases: Classifier that is the untuned base of another one, by the other's name.
        wanted: Whether training on shuffled labels was asked for.
        images: Test images, as `evaluation_sets.classifier_images` gives them.
        given: See `Params`.
    """
    results = Results()
    labels = images["label"].to_numpy().astype(np.int64)
    patients = np.array(images["patient_id"].to_pylist(), str)
    ids = images["image_id"].to_pylist()
    for system in infer:
        if system not in shuffled:
            why = "this study does not train it" if wanted else "nodules.audit.shuffled_training is off"
            results.add(system, SHUFFLED, "retrained", {}, Verdict("null", why))
            continue
        after = {"retrained": _margins(shuffled[system], ids)}
        measured = metrics.areas(labels, patients, _margins(infer[system], ids), after, given.settings)["retrained"]
        base = None
        if system in bases:
            before = _margins(infer[bases[system]], ids)
            base = metrics.areas(labels, patients, before, after, given.settings)["retrained"]
            results.measures[Subject(TASK, system, f"test/{SHUFFLED}/base")] = base
        verdict = metrics.shuffled(measured, base, given.limits)
        results.add(system, SHUFFLED, "retrained", measured, verdict, n_changed=len(ids))
    return results


def audit_data(rows: pa.Table, sources: Sequence[str], given: Params) -> Results:
    """Audits of the data alone: what the label and the source are told by that is no anatomy.

    Args:
        rows: As `probe.images` gives them.
        sources: Sources of the cohort.
        given: See `Params`.
    """
    results = Results()
    settings = probe.Settings(draws=given.draws, seed=given.seed, confidence=given.confidence)
    measured = probe.measure(rows, sources, settings)
    source = measured[Subject(probe.TASK, probe.GREY, probe.ALL)][probe.SOURCE_AUC]
    found = {"source": (source, source_verdict(source, sources, given.limits))}
    for name in (probe.GREY, probe.METADATA):
        area = measured[Subject(probe.TASK, name, probe.COHORT)][probe.LABEL_AUC]
        found[name] = (area, metrics.chance(area, given.limits))
    for name, (area, verdict) in found.items():
        results.add(EVERYWHERE, PROBE, name, {metrics.AFTER: area}, verdict, changed=CHANGED[name])
    return results


def source_verdict(area: Estimate, sources: Sequence[str], limits: Limits) -> Verdict:
    """Whether a classifier could take the source for the label: it is trained on several, and they can be told apart.

    Args:
        area: ROC AUC of the source.
        sources: Sources of the cohort.
        limits: See `Limits`.
    """
    if area.value is None or area.low is None:
        return Verdict("null", area.reason or "not measured")
    if len(sources) == 1:
        return Verdict("pass", f"classifiers are trained and measured on one source, {sources[0]}")
    if metrics.chance(area, limits).outcome == "fail":
        return Verdict("fail", f"classifiers are trained on {' and '.join(sources)}, and these can be told apart")
    return Verdict("pass", "the sources of the cohort cannot be told apart")


def _margins(table: pa.Table, ids: Sequence[str]) -> Floats:
    negative, positive = (tables.mapping(table, name) for name in ("logit_negative", "logit_positive"))
    return np.array([positive[image] - negative[image] for image in ids], np.float64)


def _bases(rows: Mapping[str, params.Row]) -> dict[str, str]:
    """The row of the untuned base of each row that names an adapter."""
    plain = {row.kind: name for name, row in rows.items() if getattr(row.params, "adapter", None) == "none"}
    return {
        name: plain[row.kind]
        for name, row in rows.items()
        if row.kind in plain and getattr(row.params, "adapter", "none") != "none"
    }


def sample(scores: pa.Table, found: Answers) -> str:
    """What the images of the audits are, as a sentence."""
    whole = found.asked.get((BLANK, "flat", None), np.zeros(len(found.labels), bool))
    patients = len(np.unique(found.patients[whole]))
    positive, more = int(found.labels[whole].sum()), int((~whole).sum())
    text = f"{int(whole.sum()):,} test images of {patients:,} patients, {positive:,} with a nodule"
    return (
        f"{text}, a seeded sample by patient; {more:,} more test images have marked nodules and are asked about these"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read, measure, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "nodules.audit_measure": Params,
            "nodules.audit": AuditParams,
            "nodules.cohort": CohortParams,
            "nodules.prompt": PromptParams,
            "nodules.classifiers": kinds.rows(kinds.CLASSIFIERS),
        },
        reads=("manifest", "normalized", "split", "scores", "infer", "calibration", "shuffled"),
        writes=("measures", "curves", "audits"),
        many=("scores", "infer", "calibration", "shuffled"),
        optional=("shuffled",),
    )
    given, asked = args.params.audit_measure, args.params.audit
    manifest, split = tables.read(args.manifest, tables.MANIFEST), tables.read(args.split, tables.SPLIT)
    others = prompts.others(args.params.prompt, asked.questions, asked.answers)
    texts = {name: f"{one.question} ({one.answers})" for name, one in others.items()}
    whole, said = Results(), ""
    for path in args.scores:
        scores = tables.read(path, tables.AUDIT)
        found = answers(scores, manifest, split)
        said = sample(scores, found)
        fitted = documents.read(_beside(args.calibration, f"{Path(path).stem}_calibration"), Calibration)
        whole.join(audit(found, Path(path).stem, fitted, texts, given))
    infer = {Path(path).stem: tables.read(path, tables.INFER) for path in args.infer}
    shuffled = {Path(path).stem: tables.read(path, tables.INFER) for path in args.shuffled or ()}
    test = evaluation_sets.classifier_images(split, manifest, args.params.cohort.sources, "test")
    bases = _bases(args.params.classifiers)
    not_asked = tuple(name for name in args.params.classifiers if name not in infer)
    whole.join(audit_training(infer, shuffled, bases, asked.shuffled_training, test, given))
    seen = probe.images(split, manifest, tables.read(args.normalized, tables.NORMALIZED))
    whole.join(audit_data(seen.filter(pc.is_valid(seen["label"])), args.params.cohort.sources, given))
    for one in whole.audits:
        LOG.info("audit: %s, %s: %s: %s", one.system, one.subset, one.outcome, one.reason)
    tables.write(args.measures, measures.table(CHAPTER, whole.measures), tables.MEASURES)
    tables.write(args.curves, curves.table(CHAPTER, whole.curves), tables.CURVES)
    documents.write(args.audits, Audits(sample=said, not_asked=not_asked, audits=tuple(whole.audits)))


def _beside(paths: Sequence[str], stem: str) -> str:
    found = next((path for path in paths if Path(path).stem == stem), None)
    if found is None:
        raise TableError(f"found no {stem}.json among {list(paths)}")
    return found


if __name__ == "__main__":
    cli.run(main)
