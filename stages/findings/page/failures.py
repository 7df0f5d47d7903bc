"""The part on failures: what became of every request and rating, and why."""

from collections import Counter
from collections.abc import Iterator

from stages.findings.page.study import Study
from stages.lib.core.case_tables import STATUSES
from stages.lib.report.blocks import Block, Column, Note, Part, Row, Rows, Table

MOST = 200  # rows of the list
GIVEN = ("ok", "repaired")
UNANSWERED = ("error", "timeout")
AGAIN = "snakemake --cores 2 --forcerun findings_answer_shard findings_judge_shard -- findings"


def part(study: Study) -> Part:
    """Counts of the statuses of answers, and each answer and rating that is not plain, with its reason."""
    return Part(name="failures", title="Failures", short="Failures", blocks=tuple(_blocks(study)))


def _blocks(study: Study) -> Iterator[Block]:
    counted = study.notes.counts.statuses
    columns = tuple(Column(title=status, count=True) for status in STATUSES)
    rows = tuple(
        Row(
            title=arm.label,
            look=arm.look,
            key=arm.name,
            cells=tuple(f"{counted[arm.name].get(status, 0):,}" for status in STATUSES),
        )
        for arm in study.arms.values()
        if arm.name in counted
    )
    yield Table(name="statuses", corner="Answers of", columns=columns, groups=(Rows(rows=rows),))
    listed = [*_answers(study), *_ratings(study)]
    if not listed:
        yield Note(text=("No request and no rating failed.",))
        return
    kinds = Counter((who, status) for who, _, status, _ in listed)
    shown = listed[:MOST]
    yield Note(text=(f"{len(listed):,} in all, {len(shown):,} listed: " + "; ".join(_said(kinds)) + ".",))
    if any(status in UNANSWERED for _, _, status, _ in listed):
        yield Note(text=(f"What had no answer is asked again, and nothing else, by: {AGAIN}",))
    yield Table(
        name="failures",
        corner="About",
        columns=(Column(title="Whose"), Column(title="What"), Column(title="Why")),
        groups=(
            Rows(rows=tuple(Row(title=item, cells=(who, status, problem)) for who, item, status, problem in shown)),
        ),
        scroll=True,
    )


def _said(kinds: Counter[tuple[str, str]]) -> list[str]:
    return [f"{who} {status} {n:,}" for (who, status), n in sorted(kinds.items())]


def _answers(study: Study) -> Iterator[tuple[str, str, str, str]]:
    for name, arm in study.arms.items():
        for row in study.answers[name].to_pylist():
            if row["final"] and row["status"] != "ok":
                yield arm.label, row["item"], row["status"], row["problem"] or ""


def _ratings(study: Study) -> Iterator[tuple[str, str, str, str]]:
    for name, judge in study.judges.items():
        for row in study.judgements[name].to_pylist():
            if row["variant"] == "none" and row["status"] not in GIVEN:
                arm = study.arms[row["arm"]].label if row["arm"] in study.arms else row["arm"]
                again = f", pass {row['repeat'] + 1}" if row["repeat"] else ""
                yield (
                    judge.label,
                    f"{row['item']}, {arm}{again}",
                    row["status"],
                    row["problem"] or row["judged_by"] or "",
                )
