"""The part on the rule: what it says, what it came to on validation, and where each row stands there."""

from stages.lib.metrics.measures import Estimate
from stages.lib.report.blocks import Column, Note, Part, Row, Rows, Table
from stages.lib.report.numbers import DASH, decimal
from stages.zoo.choice import Standing
from stages.zoo.page.study import PRECISION, Study, amount, shown


def part(study: Study) -> Part:
    """The rule and its outcome."""
    choice = study.choice
    behind = (
        f"{choice.images:,} validation images of {choice.patients:,} patients, {choice.positive_images:,} with a "
        "nodule. Models, strengths, wordings and checkpoints were chosen on these images too, so these numbers "
        "flatter; F1 chooses nothing."
    )
    columns = (
        "Average precision",
        "Behind the best",
        "Standard error of this",
        "Operations of an image",
        "F1 at 0.5",
        "Verdict",
    )
    rows = tuple(_row(study, one) for one in choice.rows)
    table = Table(
        name="zoo.rule",
        corner="Model",
        columns=tuple(Column(title=title, count=1 <= place <= 4) for place, title in enumerate(columns)),
        groups=(Rows(rows=rows),),
        style="systems",
    )
    blocks = (Note(text=(choice.rule,)), Note(text=(choice.outcome,), style="strong"), Note(text=(behind,)), table)
    return Part(name="rule", title="The rule, and what it came to", short="Rule", blocks=blocks)


def _row(study: Study, one: Standing) -> Row:
    choice = study.choice
    behind = study.rows.get(one.model)
    estimate = Estimate(
        value=one.average_precision,
        low=one.low,
        high=one.high,
        n=choice.images,
        n_positive=choice.positive_images,
        n_patients=choice.patients,
        reason=one.reason if one.average_precision is None else None,
    )
    words = ["best"] if one.model == choice.best else ["tied with the best"] if one.tied else ["behind"]
    words += ["chosen"] if one.model == choice.chosen else []
    verdict = ", ".join(words) if one.choosable else f"not to be chosen: {one.reason}"
    failed = ""
    if behind is not None and behind.failure is not None:
        failed = f"{behind.failure.stage}: {behind.failure.reason}"
    return Row(
        title=study.label(one.model),
        look=study.systems[one.model].look if one.model in study.systems else None,
        key=one.model,
        selected=one.model == choice.chosen,
        failed=failed,
        cells=()
        if failed
        else (
            shown(PRECISION, estimate),
            _decimal(one.behind, signed=True),
            _decimal(one.standard_error),
            "not counted" if one.operations is None else amount(one.operations, "FLOP"),
            _decimal(one.f1),
            verdict,
        ),
    )


def _decimal(value: float | None, *, signed: bool = False) -> str:
    return DASH if value is None else decimal(value, signed=signed)
