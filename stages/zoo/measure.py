"""Measure: every row on validation and test images, once; test labels are read here alone.

in   manifest     tables.MANIFEST
     split        tables.SPLIT
     infer        tables.INFER of each row, calibrated; the file's name is the row's
     calibration  <row>_calibration.json of each row
     fits         records.Fit of each row; the file's name is the row's
     inferred     records.Inferred of each row, likewise
     embedded     records.Embedded of the features: features/<name>.json, or tokens/<name>/<purpose>.json
     choice       JSON, see `choice.Choice`
out  measures     tables.MEASURES: tasks classification and comparison
     curves       tables.CURVES
     outcomes     tables.OUTCOMES
     notes        JSON, see `notes.Notes`
"""

from collections.abc import Sequence
from pathlib import Path

from stages.lib.core import cli, documents, provenance, tables
from stages.lib.core.log import LOG
from stages.lib.metrics import curves, measures, outcomes
from stages.lib.metrics.calibration import Calibration
from stages.lib.metrics.cohort import CohortParams
from stages.zoo import measuring, record_files
from stages.zoo.choice import Choice
from stages.zoo.measuring import MeasureParams, Params, Tables
from stages.zoo.notes import CHAPTER, Notes
from stages.zoo.records import Fit, Inferred
from stages.zoo.rows import models


def main(argv: Sequence[str] | None = None) -> None:
    """Read, measure, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"zoo.measure": MeasureParams, "nodules.cohort": CohortParams},
        reads=("manifest", "split", "infer", "calibration", "fits", "inferred", "embedded", "choice"),
        writes=("measures", "curves", "outcomes", "notes"),
        many=("infer", "calibration", "fits", "inferred", "embedded"),
        optional=("embedded",),
    )
    study = Tables(
        rows=models(args.document),
        fits={Path(path).stem: documents.read(path, Fit) for path in args.fits},
        inferred={Path(path).stem: documents.read(path, Inferred) for path in args.inferred},
        embedded=record_files.embedded(args.embedded or ()),
        choice=documents.read(args.choice, Choice),
        infer={Path(path).stem: tables.read(path, tables.INFER) for path in args.infer},
        calibration={
            Path(path).stem.removesuffix("_calibration"): documents.read(path, Calibration) for path in args.calibration
        },
        manifest=tables.read(args.manifest, tables.MANIFEST),
        split=tables.read(args.split, tables.SPLIT),
    )
    how = Params(**vars(args.params.measure), sources=args.params.cohort.sources)
    results = measuring.measure(study, how)
    for sentence in results.warnings:
        LOG.warning("%s", sentence)
    tables.write(args.measures, measures.table(CHAPTER, results.measures), tables.MEASURES)
    tables.write(args.curves, curves.table(CHAPTER, results.curves), tables.CURVES)
    tables.write(args.outcomes, outcomes.table(CHAPTER, results.outcomes), tables.OUTCOMES)
    notes = Notes(
        warnings=tuple(results.warnings),
        rows=tuple(results.rows),
        reference=how.reference,
        compared=tuple(results.compared),
        tried=sum(len(one.tried) for one in results.rows),
        front=tuple(results.front),
        step=how.step,
        off_the_front=tuple(results.off_the_front),
        agreement_at=how.agreement_at,
        alone=tuple(results.alone),
        found_by=tuple(results.found_by),
        found_by_none=tuple(results.found_by_none),
        provenance={
            "git": provenance.revision(),
            "parameters": dict(args.document),
            "seeds": provenance.seeds(args.document),
            "versions": provenance.versions(),
        },
    )
    documents.write(args.notes, notes)


if __name__ == "__main__":
    cli.run(main)
