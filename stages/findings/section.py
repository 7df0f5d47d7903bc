"""Section: what the findings benchmark shows in the report, as blocks.

in   cases        case_tables.CASES
     case_images  case_tables.CASE_IMAGES; the images themselves are read for the case browser
     sample       case_tables.SAMPLE
     answers      case_tables.ANSWERS of each arm; the file's name is the arm's
     judgements   case_tables.JUDGEMENTS of each judge; the file's name is the judge's
     measures     tables.MEASURES
     findings     case_tables.FINDINGS
     notes        JSON of `findings measure`: warnings, verdicts, agreement, costs, provenance
out  section      JSON, see `blocks.Section`
"""

from collections.abc import Sequence
from pathlib import Path

from stages.findings.notes import CHAPTER, Notes
from stages.findings.page import arms, browser, conclusions, costs, data, failures, finding, judges, origin, strata
from stages.findings.page.study import Study
from stages.lib.core import case_tables, cli, documents, params, tables
from stages.lib.metrics import measures
from stages.lib.metrics.text import vocabulary
from stages.lib.report import blocks
from stages.lib.report.systems import ordered

TITLE = "Findings on CT and MR"


@params.section
class Params:
    """What the section shows beyond the numbers."""

    image_px: params.Count  # longer side of an image on the page, at most
    max_images: params.Count  # images of a case that are shown
    max_cases: params.NonNegativeInt  # cases that are shown, in the order of their ids


def section(study: Study, shown: Params, pixels: browser.Pixels) -> blocks.Section:
    """What the chapter has to show.

    Args:
        study: The artifacts.
        shown: How much of them.
        pixels: Returns the bytes of an image, given its path.
    """
    words = vocabulary.load(study.measured_by["vocabulary"])
    return blocks.Section(
        chapter=CHAPTER,
        title=TITLE,
        finding=finding.sentence(study),
        warnings=finding.warnings(study),
        tiles=finding.tiles(study),
        parts=(
            conclusions.part(study),
            arms.part(study),
            strata.part(study),
            judges.part(study),
            costs.part(study),
            browser.part(
                study, words, pixels, image_px=shown.image_px, max_images=shown.max_images, most=shown.max_cases
            ),
            failures.part(study),
            data.part(study),
            origin.part(study),
        ),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read the study, make its section, write it."""
    many = ("answers", "judgements")
    args = cli.parse(
        __doc__,
        argv,
        params={"findings.section": Params},
        reads=("cases", "case_images", "sample", *many, "measures", "findings", "notes"),
        writes=("section",),
        many=many,
    )
    answers = {Path(path).stem: tables.read(path, case_tables.ANSWERS) for path in args.answers}
    judgements = {Path(path).stem: tables.read(path, case_tables.JUDGEMENTS) for path in args.judgements}
    rows = args.document["findings"]
    study = Study(
        measures=measures.from_table(tables.read(args.measures, tables.MEASURES)).get(CHAPTER, {}),
        notes=documents.read(args.notes, Notes),
        cases=tables.read(args.cases, case_tables.CASES),
        case_images=tables.read(args.case_images, case_tables.CASE_IMAGES),
        sample=tables.read(args.sample, case_tables.SAMPLE),
        answers=answers,
        judgements=judgements,
        findings=tables.read(args.findings, case_tables.FINDINGS),
        arms=ordered(list(answers), rows.get("arms", {})),
        judges=ordered(list(judgements), rows.get("judges", {})),
        parameters=args.document,
    )
    documents.write(args.section, section(study, args.params.section, lambda path: Path(path).read_bytes()))


if __name__ == "__main__":
    cli.run(main)
