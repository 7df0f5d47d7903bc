"""The part on the arms: every measure of each with its interval, and the comparisons that were declared."""

from collections.abc import Iterator, Mapping

from stages.findings.notes import Verdict
from stages.findings.page import sentences
from stages.findings.page.study import Study, number
from stages.lib.metrics import catalog
from stages.lib.metrics.measures import Estimate, Key
from stages.lib.report.blocks import Block, Column, Fold, Heading, Note, Number, Part, Row, Rows, Table
from stages.lib.report.numbers import DASH, decimal, label

JUDGED = ("good_fraction", "partial_fraction", "poor_fraction", "key_finding_rate")
TEXTS = (
    "finding_f1",
    "finding_precision",
    "finding_recall",
    "invented_per_case",
    "wrong_side_per_case",
    "rouge_l_f1",
    "rouge_l_precision",
    "rouge_l_recall",
)
ANSWERS = (
    "answered_fraction",
    "looping_fraction",
    "truncated_fraction",
    "empty_fraction",
    "refused_fraction",
    "failed_fraction",
    "words",
)
NAMES = {
    "good_fraction": "Good",
    "partial_fraction": "Partial",
    "poor_fraction": "Poor",
    "key_finding_rate": "Key finding found",
    "finding_f1": "Findings F1",
    "finding_precision": "Precision",
    "finding_recall": "Recall",
    "invented_per_case": "Invented per case",
    "wrong_side_per_case": "Wrong side per case",
    "rouge_l_f1": "ROUGE-L F1",
    "rouge_l_precision": "ROUGE-L precision",
    "rouge_l_recall": "ROUGE-L recall",
    "answered_fraction": "Answered",
    "looping_fraction": "Repeats itself",
    "truncated_fraction": "Cut at the limit",
    "empty_fraction": "Empty",
    "refused_fraction": "Refused",
    "failed_fraction": "Request failed",
    "words": "Words",
}  # heads of columns
RARE = ANSWERS[1:-1]  # columns that are shown if there is such an answer; the part on failures counts all
SHOWN = {*JUDGED, *TEXTS, *ANSWERS}
WITHOUT_LOOPING = "test/without_looping"


def part(study: Study) -> Part:
    """Table of the arms, and of the declared comparisons."""
    return Part(name="arms", title="Arms", short="Arms", blocks=tuple(_blocks(study)))


def _blocks(study: Study) -> Iterator[Block]:
    rounds = f"{study.measured_by['draws']:,}"
    yield Note(
        text=(
            f"{study.n_cases:,} cases. Below each number its {study.measured_by['confidence']:.0%} interval over "
            f"cases, from {rounds} resamples within the strata of the sample (Rao and Wu's). Graded by "
            f"{study.primary.label}, the judge that was declared primary before the run; its failures are no grade. "
            "\N{DOWNWARDS ARROW}: lower is better.",
        )
    )
    yield from _tables(study, "test", "arms")
    looping = any(one.get("looping") for one in study.notes.counts.statuses.values())
    if looping:
        without = tuple(_tables(study, WITHOUT_LOOPING, "arms.without_looping"))
        yield Fold(title="The same without answers that repeat themselves", blocks=without)
    others = [one for one in _keys(study) if one.metric not in SHOWN or one.at is not None]
    if others:
        columns = tuple(Column(title=arm.label, look=arm.look) for arm in study.arms.values())
        rows = tuple(_of_metric(study, key) for key in others)
        table = Table(name="arms.all", columns=columns, groups=(Rows(rows=rows),), style="measured")
        yield Fold(title="All other measures", blocks=(table,))
    yield from comparisons(study)


def _tables(study: Study, subset: str, name: str) -> Iterator[Table]:
    """A table for each kind of measures, with a row for each arm."""
    for part_, title, metrics in (
        ("ratings", f"By {study.primary.label}", JUDGED),
        ("texts", "By the words", TEXTS),
        ("answers", "What became of the answers", ANSWERS),
    ):
        counted = part_ == "ratings"
        shown = [metric for metric in metrics if metric not in RARE or _occurs(study, metric)]
        columns = [Column(title=NAMES[metric] + _direction(metric)) for metric in shown]
        rows = []
        for arm in study.arms.values():
            found = study.of(arm.name, subset)
            cells: list[str | Number] = [number(Key(metric), found.get(Key(metric))) for metric in shown]
            cells = [_rated(found), *cells] if counted else cells
            rows.append(Row(title=arm.label, look=arm.look, key=arm.name, cells=tuple(cells)))
        if counted:
            columns.insert(0, Column(title="Answers rated"))
        yield Table(
            name=f"{name}.{part_}",
            corner=title,
            columns=tuple(columns),
            groups=(Rows(rows=tuple(rows)),),
            style="systems",
        )


def _occurs(study: Study, metric: str) -> bool:
    """Whether any answer of any arm is such a one."""
    return any((found.value or 0.0) > 0 for arm in study.arms if (found := study.of(arm).get(Key(metric))))


def _direction(metric: str) -> str:
    return " \N{DOWNWARDS ARROW}" if catalog.metric(metric).higher_is_better is False else ""


def _rated(found: Mapping[Key, Estimate]) -> str:
    """Answers that the primary judge rated, of all."""
    rated, every = found.get(Key("good_fraction")), found.get(Key("unrated_fraction"))
    return f"{rated.n or 0:,} of {every.n or 0:,}" if rated and every else DASH


def _of_metric(study: Study, key: Key) -> Row:
    title = label(key.metric)
    if key.at is not None:
        judge = study.judges.get(key.at)
        title = f"{title}, by {judge.label if judge else key.at}"
    cells = tuple(number(key, study.of(arm).get(key)) for arm in study.arms)
    return Row(title=title, cells=cells, key=key.text)


def _keys(study: Study) -> list[Key]:
    found = {key for arm in study.arms for key in study.of(arm)}
    return sorted(found, key=lambda key: key.order)


def comparisons(study: Study) -> Iterator[Block]:
    """Verdicts of the declared comparisons, and what each rests on."""
    if not study.notes.verdicts:
        yield Heading(title="Comparisons")
        yield Note(text=("No comparison was declared.",))
        return
    yield Heading(title="Comparisons", note="declared before the run")
    alpha = 1 - study.measured_by["confidence"]
    yield Note(
        text=(
            "First less second, on the same cases. Failures of the judge are read three ways, side by side: only cases "
            "rated for both; failures as poor; and the bounds that any rating of them could give. A difference is "
            f"called one only if its bounds leave 0 out and both tests give p below {alpha:.2g}, after Holm over the "
            "comparisons.",
        )
    )
    for judge in [study.primary, *(one for one in study.judges.values() if one != study.primary)]:
        mine = [one for one in study.notes.verdicts if one.judge == judge.name]
        if not mine:
            continue
        table = _verdicts(study, mine)
        if judge == study.primary:
            yield table
            for one in mine:
                yield Note(text=(sentence(study, one),), style="plain")
        else:
            yield Fold(title=f"By {judge.label}", blocks=(table,))


def sentence(study: Study, one: Verdict) -> str:
    """A verdict as a sentence."""
    names = {name: arm.label for name, arm in study.arms.items()}
    return sentences.verdict(one, names[one.first], names[one.second], names.get(one.better or "", ""))


def _verdicts(study: Study, found: list[Verdict]) -> Table:
    columns = tuple(Column(title=f"{study.arms[v.first].label} - {study.arms[v.second].label}") for v in found)
    judge = found[0].judge
    measured = [study.between(v.first, v.second) for v in found]

    def row(title: str, metric: str, at: str | None, *, signed: bool = False) -> Row:
        key = Key(metric, at)
        cells: tuple[str | Number, ...] = tuple(number(key, one.get(key), signed=signed) for one in measured)
        return Row(title=title, cells=cells, key=key.text)

    def words(title: str, cells: list[str]) -> Row:
        return Row(title=title, cells=tuple(cells))

    called = [study.arms[v.better].label + " is better" if v.better else sentences.UNDECIDED for v in found]
    bounds = [f"{decimal(v.low, signed=True)} to {decimal(v.high, signed=True)}" for v in found]
    needed = [f"{v.cases_needed:,}" if v.cases_needed else DASH for v in found]
    power = f"Cases for {study.measured_by['power']:.0%} power, at this difference"
    groups = (
        Rows(rows=(Row(title="Verdict", cells=tuple(called), selected=True),)),
        Rows(
            title="Cases rated for both",
            rows=(
                row("Rated good, difference", "good_fraction", judge, signed=True),
                row("First alone good", "only_first_good", judge),
                row("Second alone good", "only_second_good", judge),
                row("McNemar, exact, p", "mcnemar_good_p", judge),
                row("p after Holm", "mcnemar_good_p_holm", judge),
                row("Rated better", "better_fraction", judge),
                row("Rated equal", "equal_fraction", judge),
                row("Rated worse", "worse_fraction", judge),
                row("Better less worse", "ordinal_effect", judge, signed=True),
                row("Sign test, p", "sign_test_p", judge),
                row("Key finding found, difference", "key_finding_rate", judge, signed=True),
            ),
        ),
        Rows(
            title="All cases",
            rows=(
                row("Rated good, difference, failures as poor", "good_failures_poor", judge, signed=True),
                row("McNemar, failures as poor, p", "mcnemar_good_failures_poor_p", judge),
                row("p after Holm", "mcnemar_good_failures_poor_p_holm", judge),
                words("Bounds over any rating of the failures", bounds),
                row("Findings F1, difference", "finding_f1", None, signed=True),
                row("ROUGE-L F1, difference", "rouge_l_f1", None, signed=True),
                words(power, needed),
            ),
        ),
    )
    return Table(name=f"comparisons.{judge}", columns=columns, groups=groups, style="systems")
