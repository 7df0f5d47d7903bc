"""The part on provenance: where the numbers come from, and how each comes out again."""

from collections.abc import Iterator
from typing import Any

from stages.lib.core import documents, provenance
from stages.lib.report.blocks import Block, Facts, Fold, Heading, Note, Part
from stages.lib.report.numbers import tree
from stages.nodules.page.study import Study

LONG = {"parameters": "Parameters", "versions": "Versions"}  # folded away
AGAIN = "make setup\nsnakemake --cores 2        # or: dvc repro"


def part(study: Study) -> Part:
    """Code, data, parameters, versions, base model and calibrations."""
    return Part(name="provenance", title="Provenance", short="Provenance", blocks=tuple(_blocks(study)))


def _blocks(study: Study) -> Iterator[Block]:
    facts = {key: value for key, value in study.notes.provenance.items() if key not in ("train", "git", *LONG)}
    git: dict[str, Any] = study.notes.provenance.get("git") or {}
    base = documents.as_mapping(study.fetch) if study.fetch else {}
    model = {f"base model, {key}": base[key] for key in ("base", "revision", "commit", "sha256") if key in base}
    revision = git.get("revision")
    yield Facts(facts=tree({"git revision": provenance.checkout(git), **facts, **model}))
    yield Heading(title="To see each number come out again")
    yield Note(text=(f"git checkout {revision}\n{AGAIN}" if revision else AGAIN,), style="code")
    again = (
        "With the parameters below, those of every stage that decides a number. The same parameters and seeds give the "
        "same bytes on a CPU."
    )
    yield Note(text=(again,))
    for key, title in LONG.items():
        yield Fold(title=title, blocks=(Facts(facts=tree(study.notes.provenance.get(key, {}))),))
    if base:
        yield Fold(title="Base model", blocks=(Facts(facts=tree(base)),))
    for classifier, fitted in study.calibration.items():
        title = f"Calibration and thresholds: {study.classifiers[classifier].label}"
        yield Fold(title=title, blocks=(Facts(facts=tree(documents.as_mapping(fitted))),))
