"""The part on provenance: where the numbers come from, the rubrics, the prices, and how each comes out again."""

from collections.abc import Iterator
from typing import Any

from stages.findings.page.study import Study
from stages.lib.core import provenance
from stages.lib.core.errors import NoduleflowError
from stages.lib.models.judging import rubric
from stages.lib.report.blocks import Block, Column, Facts, Fold, Heading, Note, Part, Row, Rows, Table
from stages.lib.report.numbers import DASH, tree

AGAIN = "make setup\nsnakemake --cores 2 findings"


def part(study: Study) -> Part:
    """Code, sample, ledger, prices, rubrics, parameters and versions."""
    return Part(name="provenance", title="Provenance", short="Provenance", blocks=tuple(_blocks(study)))


def _blocks(study: Study) -> Iterator[Block]:
    notes = study.notes
    git: dict[str, Any] = notes.provenance.get("git") or {}
    revision = git.get("revision")
    facts = {
        "git revision": provenance.checkout(git),
        "sample, SHA-256": notes.sample_sha256,
        "vocabulary": notes.vocabulary,
        "seeds": provenance.seeds(study.parameters),
    }
    yield Facts(facts=tree(facts))
    yield Heading(title="Ledgers and prices")
    yield _ledgers(study)
    yield Heading(title="Rubrics")
    yield from _rubrics(study)
    yield Heading(title="To see each number come out again")
    yield Note(text=(f"git checkout {revision}\n{AGAIN}" if revision else AGAIN,), style="code")
    again = "With the ledger, findings.client.network: replay opens no connection, and gives the same tables."
    yield Note(text=(again,))
    for title, found in (("Parameters", study.parameters), ("Versions", notes.provenance.get("versions", {}))):
        yield Fold(title=title, blocks=(Facts(facts=tree(found)),))


def _ledgers(study: Study) -> Table:
    names = {**study.arms, **study.judges}
    rows = []
    for cost in study.notes.costs:
        if cost.ledger_sha256 is None and cost.price is None:
            continue
        price = ", ".join(f"{key} {value}" for key, value in (cost.price or {}).items() if value is not None)
        label = names[cost.name].label if cost.name in names else cost.name
        rows.append(Row(title=label, cells=(price or "not known", cost.ledger_sha256 or DASH)))
    columns = (Column(title="Price"), Column(title="Ledger, SHA-256"))
    return Table(name="ledgers", columns=columns, groups=(Rows(rows=tuple(rows)),), scroll=True)


def _rubrics(study: Study) -> Iterator[Block]:
    """Text of each rubric that a judge has."""
    users: dict[str, list[str]] = {}
    for judge in study.judges.values():
        if judge.row.get("rubric") and judge.row.get("kind") != "rules":
            users.setdefault(str(judge.row["rubric"]), []).append(judge.label)
    if not users:
        yield Note(text=("The judges are rules, which read no rubric.",))
    for name, judges in users.items():
        try:
            found = rubric.read(name)
        except NoduleflowError as error:
            yield Note(text=(f"{', '.join(judges)}: {error}",))
            continue
        text = f"{found.system}\n\n{found.instructions}"
        title = f"{found.label}, of {', '.join(judges)}"
        yield Fold(title=title, blocks=(Note(text=(text,), style="code"), Note(text=(f"SHA-256 {found.sha256}",))))
