"""Section of the audits of the judges: a line for each, and what was rated otherwise than expected.

in   measures    tables.MEASURES of audit_measure
     audits      JSON, see `audits.Audits`
     sample      case_tables.SAMPLE
     audited     case_tables.JUDGEMENTS of each judge, of its audit
out  section     JSON, see `blocks.Section`
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from stages.findings import audit, audit_measure, audits, ingest
from stages.findings.audit_measure import Ratings
from stages.findings.audits import Audit, Audits
from stages.findings.notes import CHAPTER
from stages.lib.core import cli, documents, kinds, shards, tables
from stages.lib.core.case_tables import JUDGEMENTS, SAMPLE
from stages.lib.metrics import judge_audits as metrics
from stages.lib.metrics import measures
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.metrics.text.extract import extractor
from stages.lib.models.judging.rating import NO_VARIANT
from stages.lib.report.blocks import Block, Column, Fold, Heading, Note, Part, Row, Rows, Section, Sentence, Table
from stages.lib.report.numbers import label, number
from stages.lib.report.systems import System, systems

TITLE = "Can the judges be trusted?"
OUTCOMES = {"pass": "pass", "fail": "FAIL", "null": "no outcome"}
PASSES = (audits.REPEAT, audits.RUBRIC, audits.JUDGES)
GROUPS: Mapping[str, tuple[tuple[str, ...], tuple[Key, ...]]] = {
    "Changed answers": (tuple(audit_measure.WRONG), (metrics.EXPECTED,)),
    "Two passes over the same answers": (PASSES, (metrics.AGREEMENT, metrics.KAPPA)),
    "Length": ((audits.PADDED,), (metrics.GRADE_CHANGE,)),
    "Length of the answers as they are": (
        (audits.LENGTH,),
        (metrics.LENGTH_EXCESS, metrics.LENGTH, metrics.LENGTH_RULES),
    ),
    "Family": ((audits.FAMILY,), (metrics.GOOD_DIFFERENCE,)),
}
SIGNED = (metrics.GRADE_CHANGE, metrics.LENGTH_EXCESS, metrics.LENGTH, metrics.LENGTH_RULES, metrics.GOOD_DIFFERENCE)
SHOWN = 3  # answers of an audit that fails


@dataclass(frozen=True, kw_only=True)
class Example:
    """A changed answer that was not rated as expected.

    Attributes:
        judge: Row of findings.judges.
        audit: Kind of audit.
        case_id: The case.
        gold: Its gold text.
        answer: The changed answer.
        rating: What it was rated, and where it is held against another one, that one's rating.
        rationale: The judge's reason.
    """

    judge: str
    audit: str
    case_id: str
    gold: str
    answer: str
    rating: str
    rationale: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is shown.

    Attributes:
        audits: The audits.
        measures: Their measures.
        judges: Judges by name.
        confidence: Of the intervals.
        examples: Answers that were not rated as expected.
        simulated: Whether the texts are drawn.
    """

    audits: Audits
    measures: Mapping[Subject, Mapping[Key, Estimate]]
    judges: Mapping[str, System]
    confidence: float
    examples: tuple[Example, ...]
    simulated: bool


def section(found: Found) -> Section:
    """What the page of the audits shows."""
    blocks = tuple(_tables(found))
    return Section(
        chapter=CHAPTER,
        title=TITLE,
        finding=finding(found),
        warnings=("The texts are drawn: a judge that reads these rightly may still misread a radiologist's.",)
        if found.simulated
        else (),
        tiles=(),
        parts=(
            Part(name="audits", title="Audits of the judges", short="Audits", blocks=blocks),
            Part(
                name="otherwise",
                title="What was rated otherwise than expected",
                short="Answers",
                blocks=tuple(_examples(found)),
            ),
        ),
    )


def finding(found: Found) -> Sentence:
    """How many audits pass and fail, and which judges fail in which."""
    counts = Counter(one.outcome for one in found.audits.audits)
    said = f"Of {len(found.audits.audits)} audits {counts['pass']} pass, {counts['fail']} fail, and {counts['null']} "
    failed: dict[str, list[str]] = {}
    for one in found.audits.audits:
        if one.outcome == "fail":
            failed.setdefault(one.judge, []).append(one.title.lower())
    named = "; ".join(f"{_label(found, judge)} ({', '.join(dict.fromkeys(names))})" for judge, names in failed.items())
    return (said + "have no outcome. " + (f"What fails: {named}." if failed else "No judge fails."),)


def _label(found: Found, judge: str) -> str:
    return found.judges[judge].label


def _tables(found: Found) -> Iterator[Block]:
    """A table for each way of measuring an audit, with a line per audit and judge."""
    yield Note(
        text=(
            f"Asked about: {found.audits.sample}. Values have their {100 * found.confidence:g} % intervals over cases.",
        )
    )
    for title, (wanted, keys) in GROUPS.items():
        lines = [one for one in found.audits.audits if one.audit in wanted]
        if lines:
            yield Heading(title=title)
            yield _table(found, lines, keys)


def _table(found: Found, lines: Sequence[Audit], keys: Sequence[Key]) -> Table:
    groups: dict[str, list[Audit]] = {}
    for one in lines:
        groups.setdefault(one.audit, []).append(one)
    return Table(
        name=f"audit.{lines[0].audit}",
        style="measured",
        columns=(Column(title="Outcome"), *(Column(title=label(key.metric)) for key in keys), Column(title="Why")),
        groups=tuple(
            Rows(
                title=members[0].title,
                note=members[0].changed,
                rows=tuple(_row(found, one, keys) for one in members),
            )
            for members in groups.values()
        ),
    )


def _row(found: Found, one: Audit, keys: Sequence[Key]) -> Row:
    measured = found.measures.get(Subject(audits.TASK, one.judge, one.subset), {})
    cells = [number(key, measured.get(key), signed=key in SIGNED) if measured else "" for key in keys]
    beside = f", {found.judges[one.other].label if one.other in found.judges else one.other}" if one.other else ""
    return Row(
        title=f"{_label(found, one.judge)}{beside}",
        key=f"{one.audit}.{one.judge}.{one.other or ''}",
        cells=(OUTCOMES[one.outcome], *cells, why(one)),
    )


def why(one: Audit) -> str:
    """Reason of an outcome, with what it is about and what it leaves out."""
    about = f"{one.n:,} judgements" if one.n else ""
    unrated = f"{one.unrated:,} without a rating left out" if one.unrated else ""
    return ". ".join(part for part in (one.reason, about, unrated) if part) + "."


def _examples(found: Found) -> Iterator[Block]:
    """Of each audit of changed answers that fails, some answers."""
    if not found.examples:
        yield Note(text=("No audit of changed answers fails.",))
        return
    yield Note(text=(f"Of each audit that fails, {SHOWN} answers at most, in the order of their cases.",))
    groups: dict[tuple[str, str], list[Example]] = {}
    for one in found.examples:
        groups.setdefault((one.judge, one.audit), []).append(one)
    for (judge, kind), members in groups.items():
        columns = tuple(Column(title=title) for title in ("Gold text", "Answer", "Rating", "The judge's reason"))
        rows = tuple(Row(title=one.case_id, cells=(one.gold, one.answer, one.rating, one.rationale)) for one in members)
        yield Fold(
            title=f"{_label(found, judge)}: {audits.TITLES[kind].lower()}",
            blocks=(Table(name=f"examples.{kind}.{judge}", columns=columns, groups=(Rows(rows=rows),)),),
        )


def examples(audited: Sequence[Ratings], made: Audits, sample: pa.Table, given: audits.Params) -> Iterator[Example]:
    """Of each audit of changed gold texts that fails, answers that were not rated as expected.

    Args:
        audited: Ratings of each judge, of its audit.
        made: The audits.
        sample: Table of `case_tables.SAMPLE`.
        given: What the judges were asked.
    """
    failed = {(one.judge, one.audit) for one in made.audits if one.outcome == "fail"}
    gold = audit.chosen(sample, given)
    asked = {(one.item, one.variant): one for one in audit.of_gold(gold, extractor(given.vocabulary), given.seed)}
    for one in audited:
        for kind in audit_measure.WRONG:
            if (one.judge, kind) not in failed:
                continue
            pair = audit_measure.against_original(one, kind)
            wrong = [place for place, ok in zip(pair.places, audit_measure.right(kind, pair), strict=True) if not ok]
            for place in sorted(wrong)[:SHOWN]:
                row, question = one.of(kind)[place], asked[place[1], kind]
                before = one.of(audits.original(kind)).get(place) if audits.original(kind) != NO_VARIANT else None
                beside = f" (before: {before['rating']})" if before else ""
                yield Example(
                    judge=one.judge,
                    audit=kind,
                    case_id=question.case_id,
                    gold=question.gold or "",
                    answer=question.answer or "(empty)",
                    rating=f"{row['rating']}{beside}",
                    rationale=row["rationale"] or "",
                )


def main(argv: Sequence[str] | None = None) -> None:
    """Read, make the section, write it."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "findings.audit": audits.Params,
            "findings.audit_measure": audit_measure.Params,
            "findings.judges": kinds.rows(kinds.JUDGES),
            "findings.ingest": ingest.Params,
        },
        reads=("measures", "audits", "sample", "audited"),
        writes=("section",),
        many=("audited",),
    )
    made = documents.read(args.audits, Audits)
    table = shards.gather([tables.read(path, JUDGEMENTS) for path in args.audited], JUDGEMENTS)
    audited = audit_measure.ratings(table, args.params.judges)
    rows = args.document["findings"]["judges"]
    found = Found(
        audits=made,
        measures=measures.from_table(tables.read(args.measures, tables.MEASURES)).get(CHAPTER, {}),
        judges=systems(list(rows), rows),
        confidence=args.params.audit_measure.confidence,
        simulated=Path(args.params.ingest.root).parts[:3] == ("results", "findings", "simulate"),
        examples=tuple(examples(audited, made, tables.read(args.sample, SAMPLE), args.params.audit)),
    )
    documents.write(args.section, section(found))


if __name__ == "__main__":
    cli.run(main)
