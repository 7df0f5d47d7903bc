"""Probes on the page: how much of source and label is told without any anatomy."""

from collections.abc import Iterator

from stages.lib.metrics.probe import ALL, COHORT, GREY, LABEL_AUC, METADATA, SOURCE_AUC, TASK
from stages.lib.report.blocks import Block, Column, Heading, Note, Row, Rows, Table
from stages.lib.report.numbers import number
from stages.nodules.page.study import Study

SEEN = {
    GREY: "Histogram of grey values, size, bit depth",
    METADATA: "No pixel: size, bit depth, and sex, age and view where known",
}
COLUMNS = (
    (SOURCE_AUC, ALL, "Source"),
    (LABEL_AUC, ALL, "Label, images of all sources"),
    (LABEL_AUC, COHORT, "Label, images that classifiers are measured on"),
)


def blocks(study: Study) -> Iterator[Block]:
    """A row for each probe, and what a high number means."""
    if not study.of(TASK, GREY, ALL):
        return
    yield Heading(title="Probes of source and label", note="ROC AUC of a logistic regression on test images")
    rows = tuple(
        Row(
            title=title,
            key=system,
            cells=tuple(number(key, study.of(TASK, system, subset).get(key)) for key, subset, _ in COLUMNS),
        )
        for system, title in SEEN.items()
    )
    columns = tuple(Column(title=title) for _, _, title in COLUMNS)
    yield Table(name="probes", corner="What it sees", columns=columns, groups=(Rows(rows=rows),), style="measured")
    meaning = (
        "A probe sees no anatomy. Where it tells the label well from grey values alone, so can a model, and its score "
        "may measure how an image was made instead of whether it shows a nodule."
    )
    yield Note(text=(meaning,))
