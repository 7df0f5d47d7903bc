"""The part on the judges: whether two passes of ratings agree, and how the headline moves between them."""

from collections.abc import Iterator

from stages.findings.notes import Agreement
from stages.findings.page.sentences import percent
from stages.findings.page.study import AGREEMENT, Study, number, spoken
from stages.lib.core.case_tables import RATINGS
from stages.lib.metrics.measures import Key, Subject
from stages.lib.report.blocks import (
    Block,
    Column,
    Heading,
    Matrices,
    Matrix,
    MatrixCell,
    MatrixRow,
    Note,
    Part,
    Row,
    Rows,
    Table,
)
from stages.lib.report.numbers import label

KINDS = {"judges": "Two judges", "repeats": "The same judge again", "human": "A person and the primary judge"}
METRICS = (
    "rating_agreement",
    "rating_kappa",
    "rating_kappa_linear",
    "rating_kappa_quadratic",
    "rating_alpha",
    "rating_alpha_ordinal",
)


def part(study: Study) -> Part:
    """Agreement of judges, of repeats and with people; what became of the ratings."""
    return Part(name="judges", title="Would a second judge agree?", short="Judges", blocks=tuple(_blocks(study)))


def _blocks(study: Study) -> Iterator[Block]:
    yield _statuses(study)
    if not study.notes.agreements:
        yield Note(text=("There is one pass of ratings alone, so nothing is known of their agreement.",))
        return
    rows = [(one, study.measures.get(Subject(AGREEMENT, one.first, "test", one.second), {})) for one in _found(study)]
    columns = tuple(Column(title=label(metric)) for metric in METRICS)
    groups = tuple(
        Rows(
            title=title,
            rows=tuple(
                Row(
                    title=_title(study, one),
                    cells=tuple(number(Key(metric), made.get(Key(metric))) for metric in METRICS),
                    key=f"{one.first}/{one.second}",
                    hint=f"{sum(map(sum, one.confusion)):,} answers rated by both; "
                    f"{one.only_first + one.only_second:,} by one alone, {one.neither:,} by neither",
                )
                for one, made in rows
                if one.kind == kind
            ),
        )
        for kind, title in KINDS.items()
        if any(one.kind == kind for one, _ in rows)
    )
    yield Heading(title="Agreement")
    yield Note(
        text=(
            "Kappa is of answers that both rated. Krippendorff's alpha is of all answers: a missing rating is missing, "
            "and no grade. A failure that is written down as poor looks like an unreliable judge.",
        )
    )
    yield Table(name="agreement", corner="Passes", columns=columns, groups=groups, style="plain")
    yield Matrices(matrices=tuple(_matrix(study, one, look) for look, one in enumerate(_found(study))))
    yield Heading(title="How the headline moves")
    yield _headline(study)


def _found(study: Study) -> list[Agreement]:
    return sorted(study.notes.agreements, key=lambda one: list(KINDS).index(one.kind))


def _title(study: Study, one: Agreement) -> str:
    return f"{_name(study, one.first)} · {_name(study, one.second)}"


def _name(study: Study, name: str) -> str:
    judge, _, again = name.partition("_again_")
    label_ = study.judges[judge].label if judge in study.judges else spoken(name)
    return f"{label_}, pass {int(again) + 1}" if again else label_


def _statuses(study: Study) -> Table:
    found = study.notes.counts.judgements
    statuses = sorted({status for counted in found.values() for status in counted})
    rows = tuple(
        Row(
            title=study.judges[judge].label,
            hint="primary" if judge == study.primary.name else "",
            key=judge,
            cells=(
                str(study.judges[judge].row.get("rubric", "")),
                ", ".join(study.notes.counts.judged_by.get(judge, {})),
                *(f"{found[judge].get(status, 0):,}" for status in statuses),
            ),
        )
        for judge in study.judges
        if judge in found
    )
    columns = (Column(title="Rubric"), Column(title="Answered as"))
    counted = tuple(Column(title=status, count=True) for status in statuses)
    return Table(name="judgements", corner="Judge", columns=(*columns, *counted), groups=(Rows(rows=rows),))


def _matrix(study: Study, one: Agreement, look: int) -> Matrix:
    rows = []
    for place, counts in enumerate(one.confusion):
        total = sum(counts)
        cells = tuple(
            MatrixCell(
                name=f"{100 * n / total:.0f} %" if total else "",
                count=n,
                fraction=n / total if total else 0.0,
                right=column == place,
            )
            for column, n in enumerate(counts)
        )
        rows.append(MatrixRow(title=RATINGS[place], cells=cells))
    return Matrix(
        title=_name(study, one.first),
        note=f"rows; columns: {_name(study, one.second)}",
        look=look,
        columns=RATINGS,
        rows=tuple(rows),
    )


def _headline(study: Study) -> Table:
    columns = tuple(Column(title=arm.label, look=arm.look) for arm in study.arms.values())
    groups = []
    for one in _found(study):
        rows = []
        for name, first in ((one.first, 0), (one.second, 2)):
            cells = []
            for arm in study.arms:
                counted = one.good.get(arm)
                good, rated = (0, 0) if counted is None else counted[first : first + 2]
                cells.append(f"{percent(good, rated)} good, {good} of {rated}" if rated else "none rated")
            rows.append(Row(title=_name(study, name), cells=tuple(cells)))
        groups.append(Rows(title=KINDS[one.kind], rows=tuple(rows)))
    return Table(name="headline", columns=columns, groups=tuple(groups), style="measured")
