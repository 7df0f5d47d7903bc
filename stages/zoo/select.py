"""Choose the row of the zoo that is worth its cost, on validation images alone; no label of a test image is read.

in   manifest  tables.MANIFEST
     split     tables.SPLIT
     infer     tables.INFER of each row, not calibrated; the file's name is the row's. Empty of a row that failed
     fits      records.Fit of each row; the file's name is the row's
     inferred  records.Inferred of each row, likewise
     embedded  records.Embedded of the features: features/<name>.json, or tokens/<name>/<purpose>.json
out  choice    JSON, see `choice.Choice`
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from stages.lib.core import cli, documents, params, tables
from stages.lib.core.errors import MetricInputError, TableError, UndefinedMetricError
from stages.lib.core.log import LOG
from stages.lib.metrics import binary, calibration, choosing, evaluation_sets
from stages.lib.metrics.bootstrap import attempt
from stages.lib.metrics.choosing import Candidate
from stages.lib.metrics.cohort import CohortParams, OpenFraction
from stages.lib.metrics.thresholds import HALF
from stages.zoo import record_files
from stages.zoo.choice import Choice, Standing
from stages.zoo.records import Embedded, Failure, Fit, Inferred
from stages.zoo.rows import Model, barred, costs, failure, models

NUMBERS = {0.0: "no paired standard error", 1.0: "one paired standard error"}


@params.section
class SelectParams:
    """The rule that chooses a row."""

    by: Literal["average_precision"]  # on validation images; the row with the most is the best
    standard_errors: params.NonNegativeFloat  # rows no more paired standard errors than this behind the best are tied
    prefer: Literal["operations"]  # of tied rows the one with the fewest floating-point operations per image is taken
    draws: params.Count  # resamples of validation patients for the standard errors
    seed: params.Seed  # of the resamples
    confidence: OpenFraction  # of the intervals that are shown

    @property
    def text(self) -> str:
        """The rule as sentences."""
        errors = NUMBERS.get(self.standard_errors, f"{self.standard_errors:g} paired standard errors")
        return (
            "The row with the highest average precision on validation images is the best of those that may be chosen. "
            f"Rows at most {errors} (over patients, {self.draws:,} resamples) behind it are tied with it. Of these the "
            "one with the fewest floating-point operations per image in all its passes is taken; a row whose "
            "operations are not known counts as dearer than any other. A row that failed, whose weights have seen "
            "ChestX-ray14, whose licence the study may not use, or that gives all images one score is shown and not "
            "chosen."
        )


def select(
    rows: Mapping[str, Model],
    fits: Mapping[str, Fit],
    inferred: Mapping[str, Inferred],
    embedded: Mapping[str, Embedded],
    infer: Mapping[str, pa.Table],
    manifest: pa.Table,
    split: pa.Table,
    params: SelectParams,
    *,
    sources: Sequence[str],
    commercial: bool,
) -> Choice:
    """The row that the rule takes, and where the others stand.

    Args:
        rows: The rows, in their order.
        fits: Record of each row's fit.
        inferred: Record of each row's scores.
        embedded: Record of each features, by their name.
        infer: Table `tables.INFER` of each; only its scores of validation images are looked at.
        manifest: Table `tables.MANIFEST`.
        split: Table `tables.SPLIT`: which images are validation images, and their labels.
        params: The rule.
        sources: Of the cohort.
        commercial: Whether the study is commercial.

    Raises:
        TableError: If a row that did not fail lacks a validation image, or has a score that is not finite.
    """
    images = evaluation_sets.classifier_images(split, manifest, sources, "val")
    labels = images["label"].to_numpy().astype(np.int64)
    patients = np.array(images["patient_id"].to_pylist(), str)
    failed = {name: failure(fits.get(name), inferred.get(name)) for name in rows}
    of_images = _of_images(failed, infer, images)
    evidence = {name: calibration.evidence(table) for name, table in of_images.items()}
    told = costs(rows, fits, inferred, embedded)
    candidates = []
    for name, found in evidence.items():
        constant = bool(len(found)) and bool((found == found[0]).all())
        candidates.append(
            Candidate(
                name=name,
                scores=found,
                operations=told[name].whole if name in told else None,
                barred=barred(rows[name], commercial=commercial, failed=None, constant=constant),
            )
        )
    why = ""
    try:
        chosen = choosing.choose(
            labels,
            patients,
            candidates,
            standard_errors=params.standard_errors,
            draws=params.draws,
            seed=params.seed,
            confidence=params.confidence,
        )
    except UndefinedMetricError as reason:
        why, chosen = f"on validation {reason}", choosing.Chosen(None, None, ())
    except MetricInputError as error:
        raise TableError(f"{error}; wanted a finite score of every image, run zoo_infer of this row again") from error
    standings = {one.name: one for one in chosen.standings}
    made = []
    for name, row in rows.items():
        one = standings.get(name)
        bar = one.barred if one else barred(row, commercial=commercial, failed=failed[name], constant=False)
        bar = bar or (why if one is None else "") or ("it has no scores" if one is None else "")
        f1 = attempt(_f1, labels, of_images[name]["score"].to_numpy()) if name in of_images else None
        made.append(
            Standing(
                model=name,
                average_precision=one.average_precision if one else None,
                low=one.low if one else None,
                high=one.high if one else None,
                f1=f1 if isinstance(f1, float) else None,
                behind=one.behind if one else None,
                standard_error=one.standard_error if one else None,
                tied=bool(one and one.tied),
                operations=told[name].whole if name in told else None,
                choosable=not bar,
                reason=bar or None,
            )
        )
    return Choice(
        rule=params.text,
        outcome=_outcome(made, chosen, rows, why),
        images=len(labels),
        positive_images=int(labels.sum()),
        patients=len(np.unique(patients)),
        best=chosen.best,
        chosen=chosen.chosen,
        rows=tuple(made),
    )


def _of_images(
    failed: Mapping[str, Failure | None], infer: Mapping[str, pa.Table], images: pa.Table
) -> dict[str, pa.Table]:
    """Rows of the validation images in the table of each row that did not fail, in their order."""
    found = {}
    for name, reason in failed.items():
        table = infer.get(name)
        if table is None or reason is not None or not table.num_rows:
            continue
        place = {image: number for number, image in enumerate(table["image_id"].to_pylist())}
        missing = [image for image in images["image_id"].to_pylist() if image not in place]
        if missing:
            raise TableError(
                f"{name}: {len(missing)} of {images.num_rows} validation images have no score: "
                f"{', '.join(missing[:5])}; wanted all of them, run zoo_infer of this row again"
            )
        found[name] = table.take([place[image] for image in images["image_id"].to_pylist()])
    return found


def _f1(labels: Any, scores: Any) -> float:
    return float(binary.f1(binary.confusion(labels, scores >= HALF)))


def _outcome(standings: Sequence[Standing], chosen: choosing.Chosen, rows: Mapping[str, Model], why: str) -> str:
    """What the rule came to, in a sentence."""
    found = {one.model: one for one in standings}
    if chosen.chosen is None or chosen.best is None:
        return f"No row is chosen: {why or 'none of them may be'}."
    best, taken = found[chosen.best], found[chosen.chosen]
    tied = [one for one in standings if one.tied]
    said = f"{rows[best.model].label} has the highest average precision on validation, {best.average_precision:.3f}"
    if len(tied) == 1:
        return f"{said}, no row is tied with it, and it is chosen."
    others = "one row is" if len(tied) == 2 else f"{len(tied) - 1} rows are"
    if taken.model == best.model:
        fewer = "not" if len(tied) == 2 else "none of them"
        return f"{said}; {others} tied with it, {fewer} with fewer operations, and it is chosen."
    known = (
        ", with the fewest operations of these,"
        if taken.operations is not None
        else ", as the operations of none of them are known, by its average precision,"
    )
    return (
        f"{said}; {others} tied with it, and of these {rows[taken.model].label} (average precision "
        f"{taken.average_precision:.3f}){known} is chosen."
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read, choose, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"zoo.select": SelectParams, "nodules.cohort": CohortParams},
        reads=("manifest", "split", "infer", "fits", "inferred", "embedded"),
        writes=("choice",),
        many=("infer", "fits", "inferred", "embedded"),
        optional=("inferred", "embedded"),
    )
    found = select(
        models(args.document),
        {Path(path).stem: documents.read(path, Fit) for path in args.fits},
        {Path(path).stem: documents.read(path, Inferred) for path in args.inferred or ()},
        record_files.embedded(args.embedded or ()),
        {Path(path).stem: tables.read(path, tables.INFER) for path in args.infer},
        tables.read(args.manifest, tables.MANIFEST),
        tables.read(args.split, tables.SPLIT),
        args.params.select,
        sources=args.params.cohort.sources,
        commercial=record_files.commercial(args.document),
    )
    LOG.info("select: %s", found.outcome)
    documents.write(args.choice, found)


if __name__ == "__main__":
    cli.run(main)
