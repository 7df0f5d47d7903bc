"""Section: what the chapter zoo shows in the report, as blocks.

in   measures  tables.MEASURES
     curves    tables.CURVES
     notes     JSON of `zoo measure`: warnings, rows, costs, agreement, provenance
     choice    JSON of `zoo select`
     learning  tables.MEASURES of `zoo curve`, one of each row: task learning_curve, subset test/<training patients>, a
               seed per draw
out  section   JSON, see `blocks.Section`
"""

from collections.abc import Sequence

import pyarrow as pa

from stages.lib.core import cli, documents, params, tables
from stages.lib.metrics import curves, measures
from stages.lib.report import blocks
from stages.lib.report.systems import systems
from stages.zoo.choice import Choice
from stages.zoo.notes import CHAPTER, Notes
from stages.zoo.page import agreement, conclusions, costs, curve, differences, finding, origin, rule, table, tried
from stages.zoo.page.study import Study
from stages.zoo.rows import models

TITLE = "Which model?"


@params.section
class Params:
    """What the section shows beyond the numbers."""

    images: params.NonNegativeInt  # images that are named for each row, of those that it alone finds
    card: params.Text  # graphics card that times are computed for
    card_tflops: params.PositiveFloat  # its dense bfloat16 operations per second, 1e12, as its maker names them


def section(study: Study, shown: Params) -> blocks.Section:
    """What the chapter has to show.

    Args:
        study: The artifacts.
        shown: How much of them.
    """
    return blocks.Section(
        chapter=CHAPTER,
        title=TITLE,
        finding=finding.sentence(study),
        warnings=finding.warnings(study),
        tiles=finding.tiles(study),
        parts=(
            table.part(study),
            rule.part(study),
            costs.part(study, costs.Card(shown.card, shown.card_tflops * 1e12)),
            differences.part(study),
            agreement.part(study, shown.images),
            *curve.parts(study),
            *tried.learning(study),
            tried.part(study),
            conclusions.part(study),
            origin.part(study),
        ),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read the measurement, make its section, write it."""
    args = cli.parse(
        __doc__,
        argv,
        params={"zoo.section": Params},
        reads=("measures", "curves", "notes", "choice", "learning"),
        writes=("section",),
        many=("learning",),
        optional=("learning",),
    )
    rows = models(args.document)
    drawn = [tables.read(path, tables.MEASURES) for path in args.learning or ()]
    learning = measures.by_seed(pa.concat_tables(drawn), CHAPTER) if drawn else {}
    study = Study(
        measures=measures.from_table(tables.read(args.measures, tables.MEASURES)).get(CHAPTER, {}),
        curves=curves.from_table(tables.read(args.curves, tables.CURVES)),
        notes=documents.read(args.notes, Notes),
        choice=documents.read(args.choice, Choice),
        models=rows,
        systems=systems(list(rows), {name: model.row for name, model in rows.items()}),
        parameters=args.document,
        learning=learning,
    )
    documents.write(args.section, section(study, args.params.section))


if __name__ == "__main__":
    cli.run(main)
