"""Measure: every number of the chapter with its n and its interval over patients, or the reason for none.

in   ranks     sentence_tables.RANKS of each encoder; the file's name is the encoder's
     records   record of each encoder's vectors, by embed
     grounded  sentence_tables.GROUNDED of each grounder; the file's name is the grounder's
     pairs     sentence_tables.PAIRS; true boxes of test images are read here alone
     manifest  tables.MANIFEST
out  measures  tables.MEASURES: tasks retrieval and grounding
     outcomes  tables.OUTCOMES: of each image whether a text of its own is among the first K
     notes     JSON, see `notes.Notes`: warnings, sizes of the pools, verdicts, provenance
     flat      CSV of the measures
"""

from collections.abc import Sequence
from pathlib import Path

from stages.lib.core import cli, documents, files, provenance, tables
from stages.lib.core.log import LOG
from stages.lib.core.sentence_tables import GROUNDED, PAIRS, RANKS
from stages.lib.metrics import measures, outcomes
from stages.lofi import measuring
from stages.lofi.embedded import Embedded
from stages.lofi.measuring import MeasureParams, Tables
from stages.lofi.notes import CHAPTER, Notes

Params = MeasureParams


def main(argv: Sequence[str] | None = None) -> None:
    """Read, measure, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"lofi.measure": MeasureParams},
        reads=("ranks", "records", "grounded", "pairs", "manifest"),
        writes=("measures", "outcomes", "notes", "flat"),
        many=("ranks", "records", "grounded"),
        optional=("ranks", "records", "grounded", "flat"),
    )
    records = [documents.read(path, Embedded) for path in args.records or ()]
    found = Tables(
        ranks={Path(path).stem: tables.read(path, RANKS) for path in args.ranks or ()},
        records={one.encoder: one for one in records},
        grounded={Path(path).stem: tables.read(path, GROUNDED) for path in args.grounded or ()},
        pairs=tables.read(args.pairs, PAIRS),
        manifest=tables.read(args.manifest, tables.MANIFEST),
    )
    results = measuring.measure(found, args.params.measure)
    for sentence in results.warnings:
        LOG.warning("%s", sentence)
    made = measures.table(CHAPTER, results.measures)
    examples, test = measuring.counted(found.pairs)
    tables.write(args.measures, made, tables.MEASURES)
    tables.write(args.outcomes, outcomes.table(CHAPTER, results.outcomes), tables.OUTCOMES)
    if args.flat:
        files.write_bytes(args.flat, measures.flat(made))
    notes = Notes(
        warnings=tuple(results.warnings),
        pools=tuple(results.pools),
        blind=tuple(results.blind),
        statuses=results.statuses,
        examples=examples,
        test=test,
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
