"""The part on provenance: what decided the numbers, and how each comes out again."""

from collections.abc import Iterator
from typing import Any

from stages.lib.core import provenance
from stages.lib.report.blocks import Block, Facts, Fold, Heading, Note, Part
from stages.lib.report.numbers import tree
from stages.zoo.page.study import Study

AGAIN = "make setup\nsnakemake --cores 2 zoo"


def part(study: Study) -> Part:
    """Code, parameters, seeds and versions."""
    return Part(name="provenance", title="Provenance", short="Provenance", blocks=tuple(_of(study)))


def _of(study: Study) -> Iterator[Block]:
    found = study.notes.provenance
    git: dict[str, Any] = found.get("git") or {}
    revision = git.get("revision")
    yield Facts(facts=tree({"git revision": provenance.checkout(git), "seeds": provenance.seeds(study.parameters)}))
    yield Heading(title="To see each number come out again")
    yield Note(text=(f"git checkout {revision}\n{AGAIN}" if revision else AGAIN,), style="code")
    for title, told in (("Parameters", study.parameters), ("Versions", found.get("versions", {}))):
        yield Fold(title=title, blocks=(Facts(facts=tree(told)),))
