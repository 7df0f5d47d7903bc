"""The part on the judges: whether two passes of ratings agree, and how the headline moves between them."""

from collections.abc import Callable, Iterator

from stages.findings.notes import Agreement
from stages.findings.page.sentences import percent
from stages.findings.page.study import AGREEMENT, Study, number
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
from stages.lib.report.numbers import DASH, label
from stages.lib.report.systems import System, spoken

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
    found = _found(study)
    made = [study.measures.get(Subject(AGREEMENT, one.first, "test", one.second), {}) for one in found]

    def counted(title: str, count: Callable[[Agreement], int]) -> Row:
        return Row(title=title, cells=tuple(f"{count(one):,}" for one in found))

    groups = (
        Rows(
            rows=(
                Row(title="Passes", cells=tuple(KINDS[one.kind] for one in found)),
                counted("Answers rated by both", lambda one: sum(map(sum, one.confusion))),
                counted("by one alone", lambda one: one.only_first + one.only_second),
                counted("by neither", lambda one: one.neither),
            )
        ),
        Rows(
            title="Agreement",
            rows=tuple(
                Row(
                    title=label(metric),
                    key=metric,
                    cells=tuple(number(Key(metric), one.get(Key(metric))) for one in made),
                )
                for metric in METRICS
            ),
        ),
    )
    columns = tuple(Column(title=_title(study, one)) for one in found)
    yield Heading(title="Agreement")
    yield Note(
        text=(
            "Kappa is of answers that both rated. Krippendorff's alpha is of all answers: a missing rating is missing, "
            "and no grade. A failure that is written down as poor looks like an unreliable judge.",
        )
    )
    yield Table(name="agreement", columns=columns, groups=groups, style="measured")
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
                _rubric(study.judges[judge]),
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


def _rubric(judge: System) -> str:
    """Rubric of a judge; rules read none."""
    return DASH if judge.row.get("kind") == "rules" else str(judge.row.get("rubric", DASH))


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
    """What is called good by each pass, arm by arm."""
    found = _found(study)
    passes: dict[str, tuple[Agreement, int]] = {}
    for one in found:
        beside = f", on what {_name(study, one.first)} rated" if one.kind == "human" else ""
        passes.setdefault(_name(study, one.first), (one, 0))
        passes.setdefault(_name(study, one.second) + beside, (one, 2))
    columns = [Column(title=title) for title in passes]
    rows = []
    for arm in study.arms.values():
        cells = []
        for one, first in passes.values():
            good, rated = one.good.get(arm.name, (0, 0, 0, 0))[first : first + 2]
            cells.append(f"{percent(good, rated)}, {good} of {rated}" if rated else "none rated")
        rows.append(Row(title=arm.label, look=arm.look, cells=tuple(cells)))
    return Table(
        name="headline", corner="Rated good", columns=tuple(columns), groups=(Rows(rows=tuple(rows)),), style="systems"
    )
