"""The part on the data: the sample, its strata, and what is odd about its texts and images."""

from collections import Counter
from collections.abc import Iterator

from stages.findings.page.study import Study
from stages.lib.core.case_tables import MODALITIES
from stages.lib.report.blocks import Block, Column, Facts, Fold, Heading, Note, Part, Row, Rows, Table
from stages.lib.report.numbers import tree

FLAGS = {
    "gold_points_at_caption": "Gold text points at captions or figures",
    "diagnosis_in_history": "History holds a long word of the diagnosis",
    "diagnosis_in_gold": "Gold text holds the diagnosis",
}


def part(study: Study) -> Part:
    """Strata of the test cases, roles, flags, and rejected cases."""
    return Part(name="data", title="Data", short="Data", blocks=tuple(_blocks(study)))


def _blocks(study: Study) -> Iterator[Block]:
    counts = study.notes.counts
    columns = tuple(Column(title=modality, count=True) for modality in MODALITIES)
    rows = tuple(
        Row(title=region.capitalize(), cells=tuple(f"{inside.get(modality, 0):,}" for modality in MODALITIES))
        for region, inside in counts.strata.items()
    )
    yield Table(name="strata", corner="Test cases", columns=columns, groups=(Rows(rows=rows),))
    yield Facts(facts=tree({"cases by role": counts.roles, "images of the test cases": counts.images}))
    yield Heading(title="What is odd about the test cases")
    flagged = [
        Row(
            title="Gold text speaks of studies that are not in the set",
            cells=(_of(study, "other_studies"), _words(study)),
        )
    ]
    test = [row for row in study.sample.to_pylist() if row["role"] == "test"]
    for flag, title in FLAGS.items():
        named = [row["case_id"] for row in test if flag in row["flags"]]
        flagged.append(Row(title=title, cells=(f"{len(named):,} of {len(test):,}", ", ".join(named))))
    yield Table(
        name="flags", columns=(Column(title="Cases"), Column(title="Which")), groups=(Rows(rows=tuple(flagged)),)
    )
    yield from _left_out(study)


def _of(study: Study, scope: str) -> str:
    return f"{study.notes.counts.gold_scope.get(scope, 0):,} of {study.n_cases:,}"


def _words(study: Study) -> str:
    test = {row["case_id"] for row in study.sample.to_pylist() if row["role"] == "test"}
    said = Counter(
        word
        for row in study.cases.to_pylist()
        if row["case_id"] in test
        for word in dict.fromkeys(row["other_studies"])
    )
    return ", ".join(f"{word} {n:,}" for word, n in sorted(said.items(), key=lambda pair: (-pair[1], pair[0])))


def _left_out(study: Study) -> Iterator[Block]:
    """Rejected cases and images, and images that are no slice."""
    cases = [row for row in study.cases.to_pylist() if row["status"] == "rejected"]
    images = [row for row in study.case_images.to_pylist() if row["status"] == "rejected"]
    shows = Counter(row["shows"] for row in study.case_images.to_pylist())
    yield Note(
        text=(
            f"Of {study.cases.num_rows:,} cases {len(cases):,} were rejected, of {study.case_images.num_rows:,} images "
            f"{len(images):,}. By their own descriptions the images are: "
            + ", ".join(f"{name} {n:,}" for name, n in sorted(shows.items()))
            + ".",
        )
    )
    if cases or images:
        rows = [Row(title=row["case_id"], cells=(row["problem"] or "",)) for row in cases]
        rows += [Row(title=f"{row['case_id']}/{row['number']}", cells=(row["problem"] or "",)) for row in images]
        table = Table(name="rejected", columns=(Column(title="Why"),), groups=(Rows(rows=tuple(rows)),), scroll=True)
        yield Fold(title="Rejected cases and images", blocks=(table,))
