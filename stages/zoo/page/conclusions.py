"""What not to conclude: what the run itself says against its numbers."""

from collections.abc import Iterator

from stages.lib.report.blocks import Column, Note, Part, Row, Rows, Table
from stages.zoo.page.study import PRECISION, Study


def part(study: Study) -> Part:
    """A row for each conclusion that the run does not carry."""
    rows = tuple(Row(title=title, cells=(text,), key=f"not/{key}") for key, title, text in of(study))
    note = Note(text=("Written by the run, from its tables and parameters.",))
    table = Table(name="conclusions", columns=(Column(title="Because"),), groups=(Rows(rows=rows),))
    return Part(name="not", title="What not to conclude", short="Not to conclude", blocks=(note, table))


def of(study: Study) -> Iterator[tuple[str, str, str]]:
    """Key, conclusion and reason of each."""
    if study.simulated:
        yield (
            "patients",
            "Anything about patients, or about which model is better on them",
            "The images are drawn. The tower behind the demo's base was taught on nodules of the same simulator, and "
            "one of its patches is as wide as a nodule; neither holds of a real model.",
        )
    undecided = [
        study.label(name)
        for name in study.notes.compared
        if (gap := study.difference(name).get(PRECISION)) is not None
        and gap.low is not None
        and gap.high is not None
        and gap.low <= 0 <= gap.high
    ]
    if undecided:
        yield (
            "equal",
            f"That {'; '.join(undecided)} are as good as {study.label(study.notes.reference)}, or better, or worse",
            "The interval of the difference holds 0. Not to be told apart is not to be equal.",
        )
    yield (
        "best",
        "That the row with the highest test number is the best",
        f"The highest of {len(study.measured)} noisy numbers is high by luck too; the rule chose on validation.",
    )
    tied = [one for one in study.choice.rows if one.tied and one.model != study.choice.chosen]
    if tied:
        names = study.labels(one.model for one in tied)
        yield (
            "tied",
            f"That the chosen row beats {names}",
            "They are tied on validation; it is cheaper, or known to be.",
        )
    random = [study.label(one.model) for one in study.notes.rows if one.random_weights and one.failure is None]
    if random:
        yield (
            "random",
            f"That these architectures do not work: {'; '.join(random)}",
            "Their weights are random, not pretrained: the rows prove that their code runs.",
        )
    seen = [study.label(name) for name in study.measured if study.seen(name)]
    if seen:
        yield "seen", f"That {'; '.join(seen)} would do as well elsewhere", "Their weights have seen these images."
    unknown = [study.label(name) for name in study.measured if study.models[name].seen == "unknown"]
    if unknown:
        yield (
            "unknown",
            f"That the test images are new to {'; '.join(unknown)}",
            "Their makers do not tell whether ChestX-ray14 was in their training.",
        )
    yield (
        "cost",
        "That operations are seconds",
        "Operations are counted, and hardware does not run all of them equally fast; times are those of one machine.",
    )
    yield (
        "tuned",
        "That a row could not do better",
        "Each row was tried with the options that are listed, and no more.",
    )
