"""Section: what the chapter lofi shows in the report, as blocks.

in   manifest    tables.MANIFEST
     normalized  tables.NORMALIZED
     pairs       sentence_tables.PAIRS
     ranks       sentence_tables.RANKS of each encoder; the file's name is the encoder's
     grounded    sentence_tables.GROUNDED of each grounder; the file's name is the grounder's
     alike       sentence_tables.ALIKE of the nodule study, with its record (alike_record), its images as the encoder
                 saw them (alike_normalized) and its split (alike_split); or none of the four
     measures    tables.MEASURES
     notes       JSON of `lofi measure`: warnings, verdicts, provenance
     results     folder that the paths of normalized images are relative to
out  section     JSON, see `blocks.Section`
"""

from collections.abc import Sequence
from pathlib import Path

from stages.lib.core import cli, documents, params, tables
from stages.lib.core.sentence_tables import ALIKE, GROUNDED, PAIRS, RANKS
from stages.lib.metrics import measures
from stages.lib.report import blocks
from stages.lib.report.systems import ordered
from stages.lofi.alike import Alike
from stages.lofi.notes import CHAPTER, Notes
from stages.lofi.page import alike, conclusions, examples, finding, grounding, origin, retrieval
from stages.lofi.page.study import Pixels, Study

TITLE = "Representations that know where"


@params.section
class Params:
    """What the section shows beyond the numbers."""

    image_px: params.Count  # width and height of an image on the page
    queries: params.NonNegativeInt  # queries that are shown with what they found
    sentences: params.NonNegativeInt  # sentences of each grounder that are shown with their boxes
    seed: params.Seed  # of the draw of both


def section(study: Study, shown: Params, pixels: Pixels, cases: alike.Cases | None = None) -> blocks.Section:
    """What the chapter has to show.

    Args:
        study: The artifacts.
        shown: How much of them.
        pixels: Returns the PNG of a normalized image, given its path relative to the results folder.
        cases: Similar cases of the nodule study; None without any.
    """
    parts = [conclusions.part(study)]
    if study.encoders:
        parts += [
            retrieval.part(study),
            examples.queries(study, pixels, most=shown.queries, image_px=shown.image_px, seed=shown.seed),
        ]
    if study.grounders:
        parts += [
            grounding.part(study),
            examples.grounded(study, pixels, most=shown.sentences, image_px=shown.image_px, seed=shown.seed),
        ]
    if cases is not None:
        parts.append(alike.part(cases, pixels, most=shown.sentences, image_px=shown.image_px, seed=shown.seed))
    parts += [origin.data(study), origin.origin(study)]
    return blocks.Section(
        chapter=CHAPTER,
        title=TITLE,
        finding=finding.sentence(study),
        warnings=finding.warnings(study),
        tiles=finding.tiles(study),
        parts=tuple(parts),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read the study, make its section, write it."""
    many, similar = ("ranks", "grounded"), ("alike", "alike_record", "alike_normalized", "alike_split")
    args = cli.parse(
        __doc__,
        argv,
        params={"lofi.section": Params},
        reads=("manifest", "normalized", "pairs", *many, *similar, "measures", "notes", "results"),
        writes=("section",),
        many=many,
        optional=[*many, *similar],
    )
    ranks = {Path(path).stem: tables.read(path, RANKS) for path in args.ranks or ()}
    grounded = {Path(path).stem: tables.read(path, GROUNDED) for path in args.grounded or ()}
    rows = args.document["lofi"]
    encoders = ordered(list(ranks), rows.get("encoders", {}))
    study = Study(
        measures=measures.from_table(tables.read(args.measures, tables.MEASURES)).get(CHAPTER, {}),
        notes=documents.read(args.notes, Notes),
        manifest=tables.read(args.manifest, tables.MANIFEST),
        normalized=tables.read(args.normalized, tables.NORMALIZED),
        pairs=tables.read(args.pairs, PAIRS),
        ranks=ranks,
        grounded=grounded,
        encoders=encoders,
        grounders=ordered(list(grounded), rows.get("grounders", {}), len(encoders)),
        parameters=args.document,
    )
    cases = None
    if args.alike:
        cases = alike.Cases(
            alike=tables.read(args.alike, ALIKE),
            told=documents.read(args.alike_record, Alike),
            normalized=tables.read(args.alike_normalized, tables.NORMALIZED),
            split=tables.read(args.alike_split, tables.SPLIT),
        )
    results = Path(args.results)
    documents.write(args.section, section(study, args.params.section, lambda png: (results / png).read_bytes(), cases))


if __name__ == "__main__":
    cli.run(main)
