"""The first sentence of the page, what a reader has to know before it, and the numbers to remember."""

from collections.abc import Iterator

from stages.lib.report.blocks import Number, Sentence, Tile
from stages.lib.report.numbers import number
from stages.zoo.page.study import PRECISION, Study, amount


def warnings(study: Study) -> tuple[str, ...]:
    """What a reader has to know before any number."""
    more = []
    if study.simulated:
        more.append(
            "The images are simulated, and every number here with them: this page shows that the chapter works, and "
            "nothing about any patient."
        )
    return (*study.notes.warnings, *more)


def sentence(study: Study) -> Sentence:
    """The answer: what the rule takes, what it reaches on test images, and how far the reference is from it."""
    return tuple(part for part in _sentence(study) if part != "")


def _sentence(study: Study) -> Iterator[str | Number]:
    chosen, reference = study.choice.chosen, study.notes.reference
    if chosen is None:
        yield study.choice.outcome
        return
    yield f"The rule takes {study.label(chosen)}: average precision "
    yield number(PRECISION, study.of(chosen).get(PRECISION))
    yield f" on {study.behind}"
    yield _operations(study, chosen)
    if chosen == reference:
        yield ". It is the reference."
        return
    found = study.of(reference).get(PRECISION)
    if found is not None:
        yield f". {study.label(reference)}, the reference, reaches "
        yield number(PRECISION, found)
        yield _operations(study, reference)
    gap = study.difference(chosen).get(PRECISION)
    if gap is not None:
        yield "; the difference is "
        yield number(PRECISION, gap, signed=True)
    yield "."


def _operations(study: Study, name: str) -> str:
    cost = study.rows[name].cost if name in study.rows else None
    if cost is None or cost.whole is None:
        return ", its operations not counted"
    return f", {amount(cost.whole, 'FLOP')} an image"


def tiles(study: Study) -> tuple[Tile, ...]:
    """The numbers to remember: the chosen row, the reference, and their difference."""
    made = []
    chosen, reference = study.choice.chosen, study.notes.reference
    for name, role in ((chosen, "chosen"), (reference, "reference")):
        if name is None or (name == chosen and role == "reference") or PRECISION not in study.of(name):
            continue
        title = f"Average precision, {study.label(name)} ({role})"
        more = _operations(study, name).removeprefix(", ")
        made.append(Tile(title=title, number=number(PRECISION, study.of(name)[PRECISION]), more=more))
    gap = study.difference(chosen).get(PRECISION) if chosen else None
    if gap is not None:
        made.append(
            Tile(title="Chosen less reference", number=number(PRECISION, gap, signed=True), more="paired over patients")
        )
    failed = sum(one.failure is not None for one in study.notes.rows)
    counted = Number(
        text=str(len(study.models)), interval="", value=float(len(study.models)), low=None, high=None, note=""
    )
    more = f"{study.notes.tried:,} options tried on validation" + (f"; {failed} failed" if failed else "")
    made.append(Tile(title="Rows", number=counted, more=more))
    return tuple(made)
