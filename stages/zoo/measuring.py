"""Measures of all rows: on validation and test, against the reference, at their cost, and what each alone finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from stages.lib.core import params
from stages.lib.core.errors import ParamsError, TableError, UndefinedMetricError
from stages.lib.metrics import binary_suite, choosing, curves, evaluation_sets, outcomes
from stages.lib.metrics.binary import Ranking
from stages.lib.metrics.binary_suite import Result, Scored
from stages.lib.metrics.bootstrap import Outcome, attempt, percentile, two_sided_p
from stages.lib.metrics.calibration import Calibration
from stages.lib.metrics.choosing import Priced
from stages.lib.metrics.cohort import CohortParams, OpenFraction
from stages.lib.metrics.comparison import holm
from stages.lib.metrics.curves import Curve
from stages.lib.metrics.measures import Estimate, Key, Measured, Subject, estimate
from stages.lib.metrics.outcomes import Row
from stages.zoo.choice import Choice
from stages.zoo.notes import Alone, RowNotes, Step
from stages.zoo.records import Embedded, Fit, Inferred
from stages.zoo.rows import BARS, Model, costs, failure

CLASSIFICATION, COMPARISON = "classification", "comparison"
VALIDATION, TEST = "val", "test"
PRECISION = Key("pr_auc")
LITTLE_MASS = 0.5  # of the two answers together, below which a model wants to say something else


@params.section
class MeasureParams:
    """How the rows are measured."""

    draws: params.Count  # resamples of patients for an interval
    # resamples behind the p values; after Holm none is below 2 * rows / (test_draws + 1)
    test_draws: params.Count
    seed: params.Seed  # of the resamples
    confidence: OpenFraction  # of the intervals
    ece_bins: params.Count  # bins of equal mass for the calibration error
    other_prevalence: OpenFraction  # fraction of images with a nodule that PPV and NPV are translated to
    reference: params.Text  # row of zoo.models that all others are compared with
    # threshold at which rows are compared image by image: each its own, chosen on validation
    agreement_at: Literal["half", "f1", "youden", "specificity_95"]
    step: params.PositiveFloat  # average precision that is priced along the front

    @property
    def of_scores(self) -> binary_suite.Settings:
        """How scores are measured."""
        return binary_suite.Settings(
            draws=self.draws,
            seed=self.seed,
            confidence=self.confidence,
            ece_bins=self.ece_bins,
            other_prevalence=self.other_prevalence,
        )


@params.section
class Params(MeasureParams, CohortParams):
    """How the rows are measured, and on images of which sources."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Everything that is measured.

    Attributes:
        rows: The rows, in their order.
        fits: Record of each row's fit.
        inferred: Record of each row's scores.
        embedded: Record of each features, by their name.
        choice: Outcome of the rule on validation.
        infer: Table `tables.INFER` of each row, calibrated.
        calibration: Calibration of each row.
        manifest: Table `tables.MANIFEST`.
        split: Table `tables.SPLIT`.
    """

    rows: Mapping[str, Model]
    fits: Mapping[str, Fit]
    inferred: Mapping[str, Inferred]
    embedded: Mapping[str, Embedded]
    choice: Choice
    infer: Mapping[str, pa.Table]
    calibration: Mapping[str, Calibration]
    manifest: pa.Table
    split: pa.Table


@dataclass(kw_only=True)
class Results:
    """Everything that was measured."""

    measures: dict[Subject, Measured] = field(default_factory=dict)
    curves: dict[Subject, list[Curve]] = field(default_factory=dict)
    outcomes: dict[Subject, Sequence[Row]] = field(default_factory=dict)
    rows: list[RowNotes] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    front: list[Step] = field(default_factory=list)
    off_the_front: list[str] = field(default_factory=list)
    alone: list[Alone] = field(default_factory=list)
    found_by: list[int] = field(default_factory=list)
    found_by_none: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Split:
    """Rows on the images of one split: their scores, and what was measured of them."""

    scored: Mapping[str, Scored]
    found: Mapping[str, Result]


def measure(study: Tables, how: Params) -> Results:
    """Measures, curves and outcomes of all rows that did not fail.

    Raises:
        ParamsError: If the reference is no row.
        TableError: If a row lacks an image, or its labels are not those of the split.
    """
    if how.reference not in study.rows:
        named = f"zoo.measure.reference: row {params.unknown(how.reference, [*study.rows])}"
        raise ParamsError("parameters of the rows:", [named])
    results = Results()
    failures = {name: failure(study.fits.get(name), study.inferred.get(name)) for name in study.rows}
    standing = [name for name in study.rows if failures[name] is None and name in study.infer]
    redrawn: dict[str, Mapping[str, choosing.Floats]] = {}
    splits = {name: _split(name, standing, study, how, results, redrawn) for name in evaluation_sets.MEASURED_SPLITS}
    test = splits[TEST]
    for name, split in splits.items():
        _compare(name, split, standing, how, results)
    _test(test, how, results)
    _front(test, study, how, results)
    _agree(test, study, how, results)
    told = costs(study.rows, study.fits, study.inferred, study.embedded)
    for name, model in study.rows.items():
        fit, inferred = study.fits.get(name), study.inferred.get(name)
        results.rows.append(
            RowNotes(
                model=name,
                kind=model.kind,
                failure=failures[name],
                random_weights=bool(fit and fit.random_weights),
                constant=name in test.scored and _constant(test.scored[name]),
                side_px=fit.side_px if fit else None,
                images=fit.images if fit else 0,
                chosen=fit.chosen if fit else "",
                tried=fit.tried if fit else (),
                notes=fit.notes if fit else (),
                answer_mass=inferred.answer_mass if inferred else None,
                cost=told.get(name) if failures[name] is None else None,
            )
        )
    results.warnings += warnings(study, results, how)
    return results


def _split(
    name: str,
    standing: Sequence[str],
    study: Tables,
    params: Params,
    results: Results,
    redrawn: dict[str, Mapping[str, choosing.Floats]],
) -> Split:
    """Measure the rows on one split; thresholds that were chosen anew on validation are kept for the test split."""
    settings = replace(params.of_scores, seed=params.seed + (name == VALIDATION))  # drawn apart from test patients
    images = evaluation_sets.classifier_images(study.split, study.manifest, params.sources, name)
    scored, found = {}, {}
    for row in standing:
        own = _own(row, study, params.sources, name, images)
        scored[row] = binary_suite.with_scores(own, study.calibration.get(row))
        if name == VALIDATION:
            redrawn[row] = binary_suite.redraw(scored[row], study.calibration.get(row), settings)
        found[row] = binary_suite.measure(scored[row], settings, redrawn[row])
        subject = Subject(CLASSIFICATION, row, name)
        results.measures[subject] = found[row].measured
        results.outcomes[subject] = outcomes.of_classifier(scored[row])
        results.curves[subject] = curves.of_classifier(scored[row], params.ece_bins, params.confidence)
    return Split(scored, found)


def _own(row: str, study: Tables, sources: Sequence[str], split: str, images: pa.Table) -> pa.Table:
    """A row's scores of the images of a split, in their order."""
    found = evaluation_sets.classifier_images(study.infer[row], study.manifest, sources, split).sort_by("image_id")
    wanted = images.sort_by("image_id")
    for column in ("image_id", "label"):
        if found[column].to_pylist() != wanted[column].to_pylist():
            raise TableError(
                f"{row}: {found.num_rows} images of the {split} split with another {column} than the {wanted.num_rows} "
                "of the split; wanted the same, run zoo_infer of this row again"
            )
    return found


def _constant(scored: Scored) -> bool:
    return len(scored.evidence) > 0 and bool((scored.evidence == scored.evidence[0]).all())


def _compare(name: str, split: Split, standing: Sequence[str], params: Params, results: Results) -> None:
    """Each row minus the reference."""
    reference = params.reference
    if reference not in split.found:
        return
    settings = replace(params.of_scores, seed=params.seed + (name == VALIDATION))
    for row in standing:
        if row != reference:
            both = (split.scored[row], split.scored[reference])
            compared = binary_suite.compare(split.found[row], split.found[reference], both, settings)
            results.measures[Subject(COMPARISON, row, name, reference)] = compared


def _test(test: Split, params: Params, results: Results) -> None:
    """Tests of the average precisions on test images against the reference's, corrected for the number of rows."""
    reference = params.reference
    if reference not in test.found:
        return
    results.compared = [row for row in test.found if row != reference]
    first = test.scored[reference]
    try:
        rankings = [Ranking(one.labels, one.evidence) for one in test.scored.values()]
    except UndefinedMetricError as reason:
        p: dict[str, Outcome] = dict.fromkeys(results.compared, reason)
    else:
        drawn = choosing.resampled_precision(first.patients, rankings, draws=params.test_draws, seed=params.seed)
        of_row = dict(zip(test.scored, drawn.T, strict=True))
        p = {row: attempt(two_sided_p, of_row[row] - of_row[reference]) for row in results.compared}
    known = {row: value for row, value in p.items() if not isinstance(value, UndefinedMetricError)}
    corrected: dict[str, Outcome] = {**p, **dict(zip(known, holm([*known.values()]), strict=True))}
    for row in results.compared:
        subject = Subject(COMPARISON, row, TEST, reference)
        area = results.measures[subject][PRECISION]
        facts = {"n": area.n, "n_positive": area.n_positive, "n_patients": area.n_patients}
        results.measures[subject] = {
            **results.measures[subject],
            Key("pr_auc_p"): estimate(p[row], **facts),
            Key("pr_auc_p_holm"): estimate(corrected[row], **facts),
        }


def _front(test: Split, study: Tables, params: Params, results: Results) -> None:
    """Rows on the front, and what each step along it costs."""
    told = costs(study.rows, study.fits, study.inferred, study.embedded)
    free = [one.model for one in study.choice.rows if one.choosable and one.model in test.found]
    values = {row: test.found[row].measured[PRECISION].value for row in free}
    whole = {row: told[row].whole if row in told else None for row in free}
    results.off_the_front = [row for row in free if whole[row] is None]
    priced = [
        Priced(name=row, operations=operations, value=value)
        for row in free
        if (operations := whole[row]) is not None and (value := values[row]) is not None
    ]
    before: Priced | None = None
    for one in choosing.front(priced):
        gain = low = high = price = None
        reason: str | None = "the cheapest row has none before it"
        if before is not None:
            drawn = test.found[one.name].draws[PRECISION] - test.found[before.name].draws[PRECISION]
            gain = one.value - before.value
            low, high, _ = percentile(drawn, params.confidence)
            price, reason = choosing.price(before, one, params.step), None
            if low is None or low <= 0:
                reason = "the gain's interval holds 0: it may cost any number of operations"
        results.front.append(
            Step(
                model=one.name,
                operations=one.operations,
                average_precision=one.value,
                gain=gain,
                gain_low=low,
                gain_high=high,
                price=price,
                reason=reason,
            )
        )
        before = one


def _agree(test: Split, study: Tables, params: Params, results: Results) -> None:
    """Which positive test images each row calls positive at its threshold, and which of them no other row does.

    Rows that have seen the images are left out, ensembles, which would find with their members, and constants.
    """
    called = {}
    for row, scored in test.scored.items():
        at, model = binary_suite.calls(scored), study.rows[row]
        if params.agreement_at in at and not (_constant(scored) or model.seen in BARS or model.members):
            called[row] = at[params.agreement_at]
    if not called:
        return
    first = test.scored[next(iter(called))]
    positive = first.labels == 1
    table = np.stack([one.positive for one in called.values()])  # (rows, n)
    by = table.sum(axis=0)
    results.found_by = np.bincount(by[positive], minlength=len(called) + 1).tolist()
    results.found_by_none = [
        name for name, hit, count in zip(first.ids, positive, by, strict=True) if hit and not count
    ]
    for row, one in called.items():
        alone = one.positive & positive & (by == 1)
        images = tuple(name for name, inside in zip(first.ids, alone, strict=True) if inside)
        results.alone.append(
            Alone(
                model=row,
                threshold=one.threshold,
                found=int((one.positive & positive).sum()),
                false_alarms=int((one.positive & ~positive).sum()),
                images=images,
            )
        )
        subject, area = Subject(CLASSIFICATION, row, TEST), results.measures[Subject(CLASSIFICATION, row, TEST)]
        facts = area[PRECISION]
        count = Estimate(
            value=float(len(images)),
            n=facts.n,
            n_positive=facts.n_positive,
            n_patients=facts.n_patients,
            threshold=one.threshold,
        )
        results.measures[subject] = {**area, Key("found_alone", params.agreement_at): count}


def warnings(study: Tables, results: Results, params: Params) -> list[str]:
    """What a reader must know before any number."""
    found = []
    label = {name: model.label for name, model in study.rows.items()}
    failed = [label[one.model] for one in results.rows if one.failure]
    if failed:
        found.append(
            f"{len(failed)} of {len(results.rows)} rows failed and have no number: {'; '.join(failed)}. zoo_check "
            "tells why, and the command that tries each again."
        )
    if params.reference not in {one.model for one in results.rows if not one.failure}:
        found.append(f"The reference {label[params.reference]} failed, so no row is compared with it.")
    random = [label[one.model] for one in results.rows if one.random_weights and not one.failure]
    if random:
        found.append(
            f"Random weights, not pretrained: {'; '.join(random)}. These rows show that their code runs, and nothing "
            "about their architectures."
        )
    for one in results.rows:
        if one.answer_mass is not None and one.answer_mass < LITTLE_MASS:
            found.append(
                f"{label[one.model]} gives its two answers {one.answer_mass:.2f} of the probability together: it wants "
                "to say something else."
            )
    return found
