"""The parts on data and provenance: what there is of it, and how each number comes out again."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from stages.lib.core import provenance
from stages.lib.report.blocks import Block, Column, Facts, Fold, Heading, Note, Part, Row, Rows, Table
from stages.lib.report.numbers import tree
from stages.lofi.page.study import Study

AGAIN = "make setup\nsnakemake --cores 2 lofi"
SPLITS = ("train", "val", "test")


def data(study: Study) -> Part:
    """Images, patients, sentences and boxes of each split, and images that take no part."""
    return Part(name="data", title="Data", short="Data", blocks=tuple(_data(study)))


def _data(study: Study) -> Iterator[Block]:
    rows = study.pairs.to_pylist()
    counts = []
    for name, of in {
        "Images": lambda row: row["image_id"],
        "Patients": lambda row: row["patient_id"],
        "Sentences": lambda row: (row["image_id"], row["number"]),
        "Parts of reports": lambda row: None if row["part"] is None else (row["image_id"], row["part"]),
    }.items():
        cells = tuple(f"{len({of(row) for row in rows if row['split'] == split} - {None}):,}" for split in SPLITS)
        counts.append(Row(title=name, cells=cells))
    for name, column in {"Sentences with boxes": "boxes", "Of a second reader": "second"}.items():
        cells = tuple(f"{sum(bool(row[column]) for row in rows if row['split'] == split):,}" for split in SPLITS)
        counts.append(Row(title=name, cells=cells))
    columns = tuple(Column(title=split, count=True) for split in SPLITS)
    yield Table(name="data", columns=columns, groups=(Rows(rows=tuple(counts)),))
    rejected = [row for row in study.manifest.to_pylist() if row["status"] == "rejected"]
    if rejected:
        yield Heading(title=f"{len(rejected):,} images take no part")
        reasons = Counter(row["problem"] for row in rejected)
        lines = tuple(Row(title=str(reason), cells=(f"{count:,}",)) for reason, count in reasons.most_common())
        yield Table(
            name="rejected", columns=(Column(title="Images", count=True),), groups=(Rows(rows=lines),), scroll=True
        )


def origin(study: Study) -> Part:
    """Code, parameters, seeds and versions."""
    return Part(name="provenance", title="Provenance", short="Provenance", blocks=tuple(_origin(study)))


def _origin(study: Study) -> Iterator[Block]:
    notes = study.notes
    git: dict[str, Any] = notes.provenance.get("git") or {}
    revision = git.get("revision")
    facts = {
        "git revision": provenance.checkout(git),
        "seeds": provenance.seeds(study.parameters),
    }
    yield Facts(facts=tree(facts))
    yield Heading(title="To see each number come out again")
    yield Note(text=(f"git checkout {revision}\n{AGAIN}" if revision else AGAIN,), style="code")
    for title, found in (("Parameters", study.parameters), ("Versions", notes.provenance.get("versions", {}))):
        yield Fold(title=title, blocks=(Facts(facts=tree(found)),))
