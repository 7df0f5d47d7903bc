"""Report: sections and measures of whatever chapters, joined into one page and two JSON files.

in   sections    section.json of each chapter, in the order of the page
     measures    tables.MEASURES of each chapter
     notes       JSON of each chapter that stands beside its measures
     over_seeds  tables.MEASURES of each chapter that has several seeds: their means
out  report    one HTML file without font or address
     pages     the page of a chapter alone, by the name of its folder; of any of the chapters
     metrics   JSON: the measures of each chapter, nested, with its notes
     summary   JSON: the headline metrics, for `dvc metrics` and `dvc exp show`
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from stages.lib.core import cli, documents, files, params, tables
from stages.lib.core.errors import DocumentError
from stages.lib.core.log import LOG
from stages.lib.metrics import measures
from stages.lib.report import page
from stages.lib.report.blocks import Section


@params.section
class Params:
    """What the page says beyond its sections."""

    title: params.Text  # of the page


def _notes(path: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DocumentError(f"{path}: not readable as JSON ({error}); run measure again") from error
    return document


def _chapter(path: str, known: Collection[str]) -> str:
    """The chapter whose page is to be written."""
    name = Path(path).parent.name
    if name not in known:
        raise DocumentError(f"{path}: found the folder {name}, wanted one of {', '.join(known)}, whose page it is")
    return name


def main(argv: Sequence[str] | None = None) -> None:
    """Read the sections, draw the pages, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"report": Params},
        reads=("sections", "measures", "notes", "over_seeds"),
        writes=("report", "pages", "metrics", "summary"),
        many=("sections", "measures", "notes", "over_seeds", "pages"),
        optional=("over_seeds", "pages"),
    )
    sections = [documents.read(path, Section) for path in args.sections]
    metrics: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for path in args.measures:
        for chapter, found in measures.from_table(tables.read(path, tables.MEASURES)).items():
            metrics[chapter] = measures.nested(found)
            summary[chapter] = measures.headline(found)
    for path in args.over_seeds or ():
        over = tables.read(path, tables.MEASURES)
        for chapter in set(over["chapter"].to_pylist()):
            means = measures.by_seed(over, chapter)[None]
            metrics.setdefault(chapter, {})["over_seeds"] = measures.nested(means)
    for path, section in zip(args.notes, sections, strict=True):
        metrics.setdefault(section.chapter, {}).update(_notes(path))
    html = page.render(args.params.report.title, sections).encode()
    files.write_bytes(args.report, html)
    alone = {section.chapter: section for section in sections}
    for path in args.pages or ():
        section = alone[_chapter(path, alone)]
        files.write_bytes(path, page.render(section.title, [section]).encode())
    files.write_json(args.metrics, metrics)
    files.write_json(args.summary, summary)
    LOG.info("report: %s, %.1f MB", args.report, len(html) / 1e6)


if __name__ == "__main__":
    cli.run(main)
